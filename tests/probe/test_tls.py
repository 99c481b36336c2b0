"""TLS modes against real servers with a certificate: what probe, dump and client each accept and refuse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.engines.rig import Rig, instance_of
from vya_backupd.errors import VyaError
from vya_backupd.model.instance import Instance, Tls, TlsMode
from vya_backupd.testing.certificates import Certificates
from vya_backupd.testing.servers import PrivateServer

StartServer = Callable[..., PrivateServer]


async def outcomes(rig: Rig, instance: Instance) -> set[str]:
    """How probe, dump and client fare: ``ok`` or an error's code."""
    found = set()
    try:
        await rig.probe.server(instance)
        found.add("ok")
    except VyaError as error:
        found.add(error.code)
    database = rig.engine.maintenance_database or "mysql"
    client = rig.engine.client_command(instance, database, rig.tools, rig.facts)
    dump = rig.engine.dump_command(instance, "postgres" if database == "postgres" else "sys", rig.tools, rig.facts)
    for command in (client, dump):
        done = await rig.spawner.run(command, b"SELECT 1;\n")
        ended = done.exit
        if ended.ok:
            found.add("ok")
        else:
            found.add(rig.engine.classify("tool", ended.returncode, ended.signal, ended.stderr).code)
    return found


@pytest.fixture
async def tls_rig(server: PrivateServer, start_server: StartServer, tmp_path: Path) -> Rig:
    both = "127.0.0.1,127.0.0.2"  # the second is not in the certificate
    settings = {"listen_addresses": both} if server.kind == "postgresql" else {"bind_address": both}
    return await Rig(start_server(server.spec.label, require_tls=True, settings=settings), tmp_path).ready()


async def test_each_mode_accepts_and_refuses_the_same_everywhere(tls_rig: Rig, tmp_path: Path) -> None:
    rig = tls_rig
    stranger = Certificates.make(tmp_path / "stranger", rig.server.account, "x").ca_cert
    ours = rig.server.ca_cert
    for mode, host, ca, wanted in (
        (TlsMode.PREFER, "127.0.0.1", None, {"ok"}),
        (TlsMode.REQUIRE, "127.0.0.1", None, {"ok"}),
        (TlsMode.REQUIRE, "127.0.0.1", stranger, {"ok"}),
        (TlsMode.VERIFY_CA, "127.0.0.1", ours, {"ok"}),
        (TlsMode.VERIFY_CA, "127.0.0.1", stranger, {"tls_failed"}),
        (TlsMode.VERIFY_FULL, "localhost", ours, {"ok"}),
        (TlsMode.VERIFY_FULL, "localhost", stranger, {"tls_failed"}),
        (TlsMode.VERIFY_FULL, "127.0.0.2", ours, {"tls_failed"}),
    ):
        seen = await outcomes(rig, instance_of(rig.server, host=host, tls=Tls(mode, ca)))
        assert seen == wanted, (mode, host, ca, seen)
    refused = await outcomes(rig, instance_of(rig.server, tls=Tls(TlsMode.DISABLE)))
    assert "ok" not in refused


async def test_a_server_without_tls_is_refused_where_tls_is_required(rig: Rig) -> None:
    required = instance_of(rig.server, tls=Tls(TlsMode.REQUIRE))
    with pytest.raises(VyaError) as raised:
        await rig.probe.server(required)
    assert raised.value.code == "tls_failed"
    if rig.server.kind != "mariadb":  # its programs do not insist: the probe, which comes first, does
        assert await outcomes(rig, required) == {"tls_failed"}
    assert await outcomes(rig, instance_of(rig.server, tls=Tls(TlsMode.PREFER))) == {"ok"}
    assert await outcomes(rig, instance_of(rig.server, tls=Tls(TlsMode.DISABLE))) == {"ok"}
    socket = instance_of(rig.server, host=None, socket=rig.server.socket)
    assert await outcomes(rig, socket) == {"ok"}
