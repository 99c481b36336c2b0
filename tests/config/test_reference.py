"""The example and the reference page say what the schema says."""

from __future__ import annotations

import shutil
from pathlib import Path

import yaml

from vya_backupd.config import reference
from vya_backupd.config.load import load, show
from vya_backupd.config.mistakes import group_of, key_paths, model_at
from vya_backupd.config.schema import Config

ROOT = Path(__file__).parents[2]


def test_both_files_are_current() -> None:
    hint = "run: python -m vya_backupd.config.reference"
    assert (ROOT / reference.EXAMPLE).read_text() == reference.example(), hint
    page = (ROOT / reference.PAGE).read_text()
    assert page == reference.page(page), hint


def test_the_example_loads_and_is_the_defaults(tmp_path: Path) -> None:
    shutil.copy(ROOT / reference.EXAMPLE, tmp_path / "config.yaml")
    (tmp_path / "empty.yaml").write_text("")
    assert show(load(tmp_path / "config.yaml", {})) == show(load(tmp_path / "empty.yaml", {}))


def test_every_key_stands_in_both(tmp_path: Path) -> None:
    example = (ROOT / reference.EXAMPLE).read_text()
    uncommented = example.replace("# hostname:", "hostname:")
    data = yaml.safe_load(uncommented)
    assert list(data) == list(Config.model_fields)
    page = (ROOT / reference.PAGE).read_text()
    for path in key_paths(Config):
        assert f"{path[-1]}:" in example
        group = model_at(path[:-1], Config)
        assert group is not None
        field = group.model_fields[str(path[-1])]
        assert field.description, path
        assert group_of(field.annotation) or f"| `{path[-1]}` |" in page


def test_the_small_configuration_of_the_page_loads(tmp_path: Path) -> None:
    page = (ROOT / reference.PAGE).read_text()
    (tmp_path / "config.yaml").write_text(page.split("```yaml\n")[1].split("```")[0])
    assert load(tmp_path / "config.yaml", {}).application.environment == "dev"


def test_the_command_rewrites_both_files(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "config").mkdir()
    (tmp_path / "docs/configuration.md").write_text(f"before\n{reference.BEGIN}\nold\n{reference.END}\nafter\n")
    reference.main(tmp_path)
    page = (tmp_path / "docs/configuration.md").read_text()
    assert page.startswith("before\n")
    assert page.endswith("\nafter\n")
    assert "`compression_level`" in page
    assert "old" not in page.splitlines()
