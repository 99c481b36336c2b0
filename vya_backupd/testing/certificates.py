"""A throw-away certificate authority with a server's and a client's certificate, for TLS on loopback."""

from __future__ import annotations

import datetime as dt
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from vya_backupd.testing.account import Account


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files of one private server. The server's name is ``localhost`` and 127.0.0.1; the client's its user name."""

    ca_cert: Path
    server_cert: Path
    server_key: Path
    client_cert: Path
    client_key: Path

    @staticmethod
    def make(directory: Path, account: Account, client_name: str) -> Certificates:
        """Write a new authority and two certificates, valid for ten days, keys 0600 and the server's owned by it."""
        directory.mkdir(parents=True, exist_ok=True)
        paths = Certificates(*(directory / f"{name}.pem" for name in _FILES))
        authority_key = ec.generate_private_key(ec.SECP256R1())
        authority = _certificate("VYA test authority", authority_key, None, authority_key)
        _write(paths.ca_cert, authority)
        for name, cert, key in (
            ("localhost", paths.server_cert, paths.server_key),
            (client_name, paths.client_cert, paths.client_key),
        ):
            private = ec.generate_private_key(ec.SECP256R1())
            _write(cert, _certificate(name, private, authority, authority_key))
            _write_key(key, private)
        account.own(paths.server_key)
        return paths


_FILES = ("ca-cert", "server-cert", "server-key", "client-cert", "client-key")


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _certificate(
    common: str,
    key: ec.EllipticCurvePrivateKey,
    issuer: x509.Certificate | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.Certificate:
    now = dt.datetime.now(dt.UTC)
    is_authority = issuer is None
    builder = (
        x509.CertificateBuilder()
        .subject_name(_name(common))
        .issuer_name(_name(common) if issuer is None else issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=10))
        .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
    )
    if common == "localhost":
        loopback = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        builder = builder.add_extension(x509.SubjectAlternativeName(loopback), critical=False)
    return builder.sign(issuer_key, hashes.SHA256())


def _write(path: Path, certificate: x509.Certificate) -> None:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))


def _write_key(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    path.touch(mode=0o600)
    path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
