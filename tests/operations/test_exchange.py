"""An exchange of databases whose server stops answering amid it: the original is found again, whatever took place."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from tests.engines.rig import Rig
from tests.engines.test_swap import make_mysql, picture
from vya_backupd.errors import ServerError, TargetError
from vya_backupd.model.instance import Instance
from vya_backupd.operations import swapping
from vya_backupd.operations.belongings import Notebook, read_all
from vya_backupd.operations.site import Site
from vya_backupd.operations.swapping import Exchange
from vya_backupd.operations.targets import Target
from vya_backupd.probe import Probe
from vya_backupd.probe.connect import session
from vya_backupd.testing.servers import PrivateServer


class LosingProbe(Probe):
    """A probe that does everything, and hears no answer to what ``is_lost`` says yes to."""

    is_lost: Callable[[str], bool] = staticmethod(lambda _: False)

    async def execute(self, instance: Instance, statements: Sequence[str], database: str | None = None) -> None:
        """See ``Probe``."""
        await super().execute(instance, statements, database)
        if any(map(self.is_lost, statements)):
            self.is_lost = lambda _: False
            raise ServerError("no answer", code="server_lost")


class Scene:
    """Two databases of a server that are to change places."""

    def __init__(self, rig: Rig, folder: Path, original: str) -> None:
        self.rig = rig
        self.folder = folder
        self.probe = LosingProbe()
        self.original, self.restored, self.aside = original, f"{original}_r", f"{original}_a"
        self.notebook = Notebook(folder, "operation", rig.instance.id, original)

    def exchange(self) -> Exchange:
        application = SimpleNamespace(state_dir=self.folder)
        site = cast("Site", SimpleNamespace(probe=self.probe, config=SimpleNamespace(application=application)))
        rig = self.rig
        target = Target(rig.instance, rig.facts, rig.tools, rig.engine, self.original, exists=True, objects=1)
        return Exchange(site, target, self.notebook, self.restored, self.aside)

    async def refused(self) -> str:
        """Run it; the refusal's code, which nothing may be left of."""
        with pytest.raises(TargetError) as caught:
            await self.exchange().run(disconnect=False)
        assert caught.value.hint.startswith("The original is in place, as it was.")
        assert self.left() == []
        assert self.aside not in await self.rig.probe.all_databases(self.rig.instance)
        return caught.value.code

    def left(self) -> list[Path]:
        """What a person would still be told of."""
        return [path for path, _ in read_all(self.folder)] + sorted(self.folder.glob("undo-*"))


@pytest.fixture
async def scene(mysql_family: PrivateServer, tmp_path: Path, fresh_name: str) -> Scene:
    found = Scene(await Rig(mysql_family, tmp_path).ready(), tmp_path, fresh_name)
    await make_mysql(found.rig, fresh_name, "old")
    await make_mysql(found.rig, found.restored, "new")
    return found


@pytest.mark.parametrize("begins", ["CREATE OR REPLACE", "DROP TRIGGER", "RENAME"])
async def test_a_step_that_took_place_unheard_is_taken_back(scene: Scene, begins: str) -> None:
    before = [await picture(scene.rig, name) for name in (scene.original, scene.restored)]
    scene.probe.is_lost = lambda statement: statement.startswith(begins)
    assert await scene.refused() == "swap_refused"
    assert await picture(scene.rig, scene.original) == before[0]
    await scene.rig.drop(scene.original, scene.restored)


async def test_a_cancelled_exchange_comes_to_its_end(scene: Scene) -> None:
    wanted = await picture(scene.rig, scene.restored)
    begun = asyncio.Event()

    def is_lost(_: str) -> bool:
        begun.set()
        return False

    scene.probe.is_lost = is_lost
    running = asyncio.ensure_future(scene.exchange().run(disconnect=False))
    await begun.wait()
    running.cancel()
    assert await running == []
    assert await picture(scene.rig, scene.original) == wanted
    assert not {scene.restored, scene.aside} & set(await scene.rig.probe.all_databases(scene.rig.instance))
    assert scene.left() == []
    await scene.rig.drop(scene.original)


async def test_whoever_uses_a_table_for_long_stops_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(swapping, "_LOCK_SECONDS", 1)
    before = await picture(scene.rig, scene.original)
    async with session(scene.rig.instance, scene.original, "using a table") as other:
        await other.run("START TRANSACTION")
        await other.run("SELECT * FROM child")
        assert await scene.refused() == "target_in_use"
    assert await picture(scene.rig, scene.original) == before
    await scene.rig.drop(scene.original, scene.restored)
