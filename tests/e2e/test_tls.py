"""TLS to servers through the whole product: every mode, client certificates, and certificates that must be refused."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import StartServer, _labels
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

USER = "certbird"


class Authority:
    """A certificate authority of a test."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._certificate = self._signed("An authority of a test", self._key, days=10, is_authority=True)
        self.ca = self._save("ca", self._certificate)

    def issue(self, name: str, *, days: int = 10) -> tuple[Path, Path]:
        """A certificate and its key; ``localhost`` is also 127.0.0.1. Negative ``days``: it has expired."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._save(name, self._signed(name, key, days=days))
        key_file = self._folder / f"{name}.key"
        key_file.touch(mode=0o600)
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        key_file.write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
        return certificate, key_file

    def _save(self, name: str, certificate: x509.Certificate) -> Path:
        path = self._folder / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _signed(
        self, name: str, key: ec.EllipticCurvePrivateKey, *, days: int, is_authority: bool = False
    ) -> x509.Certificate:
        now, subject = dt.datetime.now(dt.UTC), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names: list[x509.GeneralName] = [x509.DNSName(name.replace(" ", "-"))]
        if name == "localhost":
            names.append(x509.IPAddress(ipaddress.ip_address("127.0.0.1")))
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if is_authority else self._certificate.subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=20))
            .not_valid_after(now + dt.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        return builder.sign(self._key, hashes.SHA256())


@dataclass
class Protected:
    """A server that takes no connection without TLS, and the authority that signs its certificate."""

    server: PrivateServer
    authority: Authority

    def present(self, name: str, *, days: int = 10) -> None:
        """Let the server present a certificate for this name."""
        given = self.server.certificates
        assert given is not None
        certificate, key = self.authority.issue(name, days=days)
        given.ca_cert.write_bytes(self.authority.ca.read_bytes())
        given.server_cert.write_bytes(certificate.read_bytes())
        given.server_key.write_bytes(key.read_bytes())
        self.server.restart()


def _tls_labels() -> list[str]:
    known = {spec.label: spec.offers_tls for spec in find_servers()}
    return [label for label in _labels("postgresql", "mariadb", "mysql") if known.get(label, True)]


@pytest.fixture(params=_tls_labels())
def protected(request: pytest.FixtureRequest, start_server: StartServer, tmp_path: Path) -> Protected:
    server = start_server(request.param, require_tls=True)
    there = Protected(server, Authority(tmp_path / "authority"))
    there.present("localhost")
    server.create_database("shop")
    server.sql("create table t (a int); insert into t values (42)", "shop")
    if server.kind == "postgresql":
        rules = server.data_dir / "pg_hba.conf"
        rules.write_text(f"hostssl all {USER} all cert\n" + rules.read_text())
        server.sql(f"create role {USER} superuser login")
        server.restart()  # a reload takes effect at some later time
    else:
        server.sql(f"create user {USER}@'%' require x509; grant all on *.* to {USER}@'%' with grant option")
    return there


def _outcomes(product: Product) -> dict[str, str]:
    """How each instance's backup ended: ``ok`` or the error's code."""
    steps = product.ctl("backup", "--output", "json").json["steps"]
    found: dict[str, set[str]] = {}
    for step in steps:
        if step["database"] == "@globals":
            continue  # the probe's own work where the tools have no part in it
        found.setdefault(step["instance"], set()).add(step["error"]["code"] if step["error"] else "ok")
    return {name: codes.pop() if len(codes) == 1 else str(codes) for name, codes in found.items()}


def test_every_mode_serves_probe_dump_and_restore(protected: Protected, tmp_path: Path) -> None:
    server, authority = protected.server, protected.authority
    ours, stranger = str(authority.ca), str(Authority(tmp_path / "stranger").ca)
    certificate, key = authority.issue(USER)

    def entry(name: str, mode: str, **ssl: str) -> dict[str, Any]:
        host = ssl.pop("host", "localhost")
        return instance(server, name, host=host, database=["shop"], ssl={"mode": mode, **ssl})

    client = {"client_cert": str(certificate), "client_key": str(key), "ca_cert": ours}
    entries = [
        entry("require", "require"),
        entry("prefer", "prefer"),
        entry("verify-ca", "verify-ca", ca_cert=ours),
        entry("verify-full", "verify-full", ca_cert=ours),
        entry("verify-full-ip", "verify-full", ca_cert=ours, host="127.0.0.1"),
        entry("client", "verify-full", **client) | {"username": USER, "password": ""},
        entry("no-client", "verify-full", ca_cert=ours) | {"username": USER, "password": ""},
        entry("stranger-ca", "verify-ca", ca_cert=stranger),
        entry("stranger-full", "verify-full", ca_cert=stranger),
        entry("disable", "disable"),
    ]
    good = {"require", "prefer", "verify-ca", "verify-full", "verify-full-ip", "client"}
    with Product(tmp_path / "product", entries, servers=[server]) as product:
        seen = _outcomes(product)
        assert {name for name, code in seen.items() if code == "ok"} == good, seen
        assert (seen["stranger-ca"], seen["stranger-full"]) == ("tls_failed", "tls_failed")
        assert seen["no-client"] in {"login_refused", "tls_failed"}, [each["message"] for each in _errors(product)]
        assert seen["disable"] in {"login_refused", "tls_failed"}
        for name in ("verify-full", "client"):
            target = ("--target-instance", name, "--target-database", f"copy_{name}")
            product.ok("restore", "--instance", "require", "--database", "shop", "--latest", *target)
            assert server.sql("select a from t", f"copy_{name}") == [("42",)]

        protected.present("elsewhere.example")
        seen = _outcomes(product)
        # MariaDB's tools cannot check a certificate without its name; never less than was asked for.
        assert seen["verify-ca"] == ("tls_failed" if server.kind == "mariadb" else "ok"), seen
        assert (seen["require"], seen["verify-full"], seen["verify-full-ip"]) == ("ok", "tls_failed", "tls_failed")

        protected.present("localhost", days=-1)
        seen = _outcomes(product)
        assert (seen["require"], seen["verify-ca"], seen["verify-full"]) == ("ok", "tls_failed", "tls_failed")
        assert all(error["hint"] for error in _errors(product))


def _errors(product: Product) -> list[dict[str, Any]]:
    tested = product.ctl("config", "test-connections", "--output", "json").json["connections"]
    return [each["error"] for each in tested if each["error"]]


def test_a_server_without_tls_serves_those_who_do_not_ask_for_it(server: PrivateServer, tmp_path: Path) -> None:
    authority = str(Authority(tmp_path / "authority").ca)
    modes: dict[str, dict[str, Any]] = {
        "disable": {"mode": "disable"},
        "prefer": {"mode": "prefer"},
        "require": {"mode": "require"},
        "verify-full": {"mode": "verify-full", "ca_cert": authority},
    }
    entries = [instance(server, name, ssl=ssl) for name, ssl in modes.items()]
    with Product(tmp_path / "product", entries, servers=[server]) as product:
        tested = product.ctl("config", "test-connections", "--output", "json").json["connections"]
    codes = {each["instance"]: each["error"]["code"] if each["error"] else "ok" for each in tested}
    assert codes == {"disable": "ok", "prefer": "ok", "require": "tls_failed", "verify-full": "tls_failed"}
