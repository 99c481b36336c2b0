"""Somebody on the wire, with real servers: every program that connects refuses him by itself, as the probe does.

The rig's probe is asked apart from the tools, so that none of them can hide behind the refusal of another.
"""

from __future__ import annotations

import contextlib
import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.conftest import _labels, require_spec
from tests.engines.rig import Rig, instance_of
from tests.security.middleman import Middleman, between
from vya_backupd.errors import ServerError
from vya_backupd.model.command import Command
from vya_backupd.model.instance import EngineKind, Instance, Tls, TlsMode
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.servers import PrivateServer

_KEY = ec.generate_private_key(ec.SECP256R1())
_DAY = dt.timedelta(days=1)


def _certificate(
    folder: Path, name: str, issuer: str, *, begins: int = -1, ends: int = 9, host: str = "localhost"
) -> Path:
    """A certificate of this common name, signed as the issuer; all share one key, since only names and dates matter."""
    now, key = dt.datetime.now(dt.UTC), _KEYS.setdefault(issuer, ec.generate_private_key(ec.SECP256R1()))
    is_authority = name == issuer
    own = key if is_authority else _KEY
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(own.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + begins * _DAY)
        .not_valid_after(now + ends * _DAY)
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
    )
    path = folder / f"{name} of {issuer} for {host} {begins} {ends}.pem"
    path.write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    return path


_KEYS: dict[str, ec.EllipticCurvePrivateKey] = {}


class Presented:
    """The certificates that a middleman may show; ``ca`` is the one that instances trust."""

    def __init__(self, folder: Path) -> None:
        self.ca = _certificate(folder, "ours", "ours")
        self.key = folder / "key.pem"
        self.key.touch(mode=0o600)
        form = (serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        self.key.write_bytes(_KEY.private_bytes(*form))
        self.good = _certificate(folder, "server", "ours"), self.key
        self.elsewhere = _certificate(folder, "server", "ours", host="elsewhere.example"), self.key
        own_key = folder / "own.pem"
        lone = _certificate(folder, "localhost", "localhost")
        own_key.touch(mode=0o600)
        own_key.write_bytes(_KEYS["localhost"].private_bytes(*form))
        self.bad = {
            "expired": (_certificate(folder, "server", "ours", begins=-9, ends=-1), self.key),
            "not valid yet": (_certificate(folder, "server", "ours", begins=2), self.key),
            "of a foreign authority": (_certificate(folder, "server", "theirs"), self.key),
            "signed by itself": (lone, own_key),
        }


class Endangered(Rig):
    """A real server that offers TLS, and every way that we have of connecting to it."""

    def through(self, middle: Middleman, mode: TlsMode, ca: Path) -> Instance:
        return instance_of(self.server, host="localhost", port=middle.port, tls=Tls(mode, ca))

    def commands(self, instance: Instance) -> dict[str, Command]:
        database = self.engine.maintenance_database
        found = {
            "dump": self.engine.dump_command(instance, database or "there", self.tools, self.facts),
            "client": self.engine.client_command(instance, database, self.tools, self.facts),
            "globals": self.engine.globals_command(instance, self.tools),
            "properties": self.engine.properties_command(instance, database or "there", self.tools, self.facts),
        }
        return {name: command for name, command in found.items() if command is not None}

    async def codes(self, instance: Instance) -> dict[str, str]:
        """How each way ends: ``ok``, or the code of its error."""
        codes = {"probe": "ok"}
        try:
            await self.probe.server(instance)
        except ServerError as error:
            codes["probe"] = error.code
        for name, command in self.commands(instance).items():
            done = await self.spawner.run(command, b"SELECT 1;\n")
            end = done.exit
            codes[name] = "ok" if end.ok else self.engine.classify(name, end.returncode, end.signal, end.stderr).code
        return codes


def _offering_tls() -> list[str]:
    known = {spec.label: spec.offers_tls for spec in find_servers()}
    return [label for label in _labels("postgresql", "mariadb", "mysql") if known.get(label, True)]


@pytest.fixture(scope="module", params=_offering_tls())
def offering(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateServer]:
    with require_spec(request.param).start(tmp_path_factory.mktemp("tls"), tls=True) as server:
        server.create_database("there")
        yield server


@pytest.fixture
async def endangered(offering: PrivateServer, tmp_path: Path) -> Endangered:
    rig = Endangered(offering, tmp_path)
    await rig.ready()
    return rig


@pytest.fixture(scope="module")
def presented(tmp_path_factory: pytest.TempPathFactory) -> Presented:
    return Presented(tmp_path_factory.mktemp("presented"))


async def test_a_false_certificate_is_refused_by_everything_that_connects(
    endangered: Endangered, presented: Presented
) -> None:
    everything = {"probe", *endangered.commands(endangered.instance)}
    with between(endangered.server, presented.good) as middle:
        codes = await endangered.codes(endangered.through(middle, TlsMode.VERIFY_FULL, presented.ca))
        if endangered.instance.kind is EngineKind.POSTGRESQL:
            # His certificate is good, and yet the server finds him out: passwords are bound to what the client saw.
            assert set(codes.values()) == {"tls_failed"}, codes
        else:
            assert set(codes.values()) == {"ok"}, codes
        assert endangered.instance.username.encode() in middle.heard
    for what, certificate in presented.bad.items():
        with between(endangered.server, certificate) as middle:
            for mode in (TlsMode.VERIFY_FULL, TlsMode.VERIFY_CA):
                codes = await endangered.codes(endangered.through(middle, mode, presented.ca))
                assert codes == dict.fromkeys(everything, "tls_failed"), (what, mode)
            assert middle.heard == b"", what


async def test_the_name_in_the_certificate_counts_where_it_shall(endangered: Endangered, presented: Presented) -> None:
    with between(endangered.server, presented.elsewhere) as middle:
        codes = await endangered.codes(endangered.through(middle, TlsMode.VERIFY_FULL, presented.ca))
        assert set(codes.values()) == {"tls_failed"}, codes
        assert middle.heard == b""
        codes = await endangered.codes(endangered.through(middle, TlsMode.VERIFY_CA, presented.ca))
        assert endangered.instance.username.encode() in middle.heard
        # MariaDB's programs cannot check the one without the other.
        strict = {"mariadb": {"dump", "client"}, "mysql": set(), "postgresql": set(codes)}[endangered.server.kind]
        assert {name for name, code in codes.items() if code != "ok"} == strict, codes


async def test_nobody_goes_on_without_tls_who_wants_it(endangered: Endangered, presented: Presented) -> None:
    user = endangered.instance.username.encode()
    with between(endangered.server) as middle:
        for mode in (TlsMode.VERIFY_FULL, TlsMode.VERIFY_CA):
            codes = await endangered.codes(endangered.through(middle, mode, presented.ca))
            assert set(codes.values()) == {"tls_failed"}, (mode, codes)
        assert user not in middle.heard
        # What docs/security.md says of MariaDB's programs: they do not insist, and the probe before them does.
        lax = {"dump", "client"} if endangered.instance.kind is EngineKind.MARIADB else set()
        codes = await endangered.codes(endangered.through(middle, TlsMode.REQUIRE, presented.ca))
        # MySQL's and MariaDB's driver begins TLS whatever it is told, and so reaches the server itself.
        insists = {"probe"} if endangered.instance.kind is not EngineKind.POSTGRESQL else set()
        assert {name for name, code in codes.items() if code != "tls_failed"} == lax | insists, codes
        assert (user in middle.heard) == bool(lax)
        codes = await endangered.codes(endangered.through(middle, TlsMode.PREFER, presented.ca))
        assert set(codes.values()) == {"ok"}, codes
    with between(endangered.server) as middle:
        with contextlib.suppress(ServerError):
            await endangered.probe.server(endangered.through(middle, TlsMode.REQUIRE, presented.ca))
        assert user not in middle.heard
