"""Servers in containers, for machines with a Docker engine: other versions than the machine's own.

``VYA_CONTAINERS="postgres:17,mariadb:11.8,mysql:8.4"`` names official images. They have no Unix socket, no data
directory and no TLS for us; the tools are those of a server found on the machine, at least as new as the image.
This module runs in the GitHub workflow only: it has been type-checked, but machines without Docker cannot try it.
"""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from testcontainers.core.container import DockerContainer

from vya_backupd.errors import ServerError, ToolError
from vya_backupd.testing.mysql_family import MysqlFamilyServer
from vya_backupd.testing.postgresql import PostgresqlServer
from vya_backupd.testing.servers import Kind, PrivateServer, ServerOptions, ServerSpec

_START_SECONDS = 180.0
_KINDS: dict[str, Kind] = {"postgres": "postgresql", "mariadb": "mariadb", "mysql": "mysql"}


class _ContainerServer(PrivateServer):
    """The life of a server in a container. Its reaper removes the container when this process dies."""

    inner_port: int
    password_variable: str

    def __init__(self, spec: ServerSpec, tmpdir: Path | None, options: ServerOptions) -> None:
        super().__init__(spec, tmpdir, options)
        self._container: Any = None

    @property
    def socket(self) -> str:
        """None: the socket is inside the container."""
        return ""

    @property
    def running(self) -> bool:
        """Whether the container runs."""
        if self._container is None:
            return False
        inner = self._container.get_wrapped_container()
        inner.reload()
        return bool(inner.status == "running")

    def start(self) -> None:
        """Start the container and wait for a login through its published port."""
        if self.running:
            return
        if self._container is None:
            self._container = (
                DockerContainer(self.spec.daemon.as_posix())
                .with_bind_ports(self.inner_port, self.port)
                .with_env(self.password_variable, self.admin_password)
                .with_command(self._settings())
            )
            self._container.start()
        else:
            self._container.get_wrapped_container().start()
        deadline = time.monotonic() + _START_SECONDS
        while not self.can_login(self.admin_user, self.admin_password):
            if time.monotonic() > deadline:
                raise ServerError(f"container {self.spec.daemon} lets nobody in")
            time.sleep(0.2)

    def stop(self) -> None:
        """Stop the container; its data stays."""
        if self.running:
            self._container.get_wrapped_container().stop()

    def kill(self) -> None:
        """SIGKILL everything in the container; its data stays."""
        if self.running:
            self._container.get_wrapped_container().kill()

    def discard(self) -> None:
        """Remove the container."""
        if self._container is not None:
            self._container.stop()
        super().discard()

    @abstractmethod
    def _settings(self) -> list[str]:
        """What the image's own program is called with."""


class PostgresqlContainer(_ContainerServer, PostgresqlServer):
    """The image ``postgres``."""

    inner_port = 5432
    password_variable = "POSTGRES_PASSWORD"

    def _settings(self) -> list[str]:
        return [part for name, value in self.options.settings.items() for part in ("-c", f"{name}={value}")]


class MysqlFamilyContainer(_ContainerServer, MysqlFamilyServer):
    """The images ``mysql`` and ``mariadb``."""

    inner_port = 3306
    password_variable = "MYSQL_ROOT_PASSWORD"

    def _settings(self) -> list[str]:
        return [f"--{name}={value}" for name, value in self.options.settings.items()]

    def _make_template(self, data_dir: Path) -> None:
        """Nothing: the image fills its own folder."""


def container_specs(images: str, local: list[ServerSpec]) -> Iterator[ServerSpec]:
    """One spec for each image of a comma-separated list.

    Raises:
        ToolError: no server among ``local`` has tools that are new enough, or the image is not one we know.
    """
    for image in filter(None, (part.strip() for part in images.split(","))):
        name, _, tag = image.partition(":")
        kind = _KINDS.get(name)
        if kind is None:
            raise ToolError(f"VYA_CONTAINERS: {image} is none of {', '.join(_KINDS)}")
        yield ServerSpec(
            kind=kind,
            version=tag,
            daemon=Path(image),
            tools=_tools(kind, tag, local),
            origin="container",
            offers_tls=False,
            factory=PostgresqlContainer if kind == "postgresql" else MysqlFamilyContainer,
        )


def _tools(kind: Kind, version: str, local: list[ServerSpec]) -> Mapping[str, Path]:
    fitting = [spec for spec in local if spec.kind == kind]
    if kind == "postgresql":  # pg_dump refuses newer servers; the others' tools do not
        fitting = [spec for spec in fitting if int(spec.series) >= int(version.split(".", maxsplit=1)[0])]
    if not fitting:
        raise ToolError(f"no tools of {kind} {version} or newer for its container", hint="run: make servers")
    return fitting[-1].tools
