"""The backup accounts that the operator's guide proposes are enough."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

from vya_backupd.testing import sample
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

PAGE = (Path(__file__).parents[2] / "docs/operations.md").read_text()


def _proposed(kind: str) -> str:
    """The SQL under the line that begins with the server's name."""
    found = re.search(rf"^{kind} [^\n]*:\n\n```sql\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL | re.IGNORECASE)
    assert found is not None
    return found[1]


def test_the_proposed_account_makes_whole_backups(server: PrivateServer, tmp_path: Path) -> None:
    with server.spec.start(tmp_path) as own:
        sample.fill(own)
        own.sql(_proposed(own.kind))
        account = instance(own, "one", username="backup", password="change me")
        with Product(tmp_path / "p", [account], servers=[own]) as product:
            ran = product.ok("backup")
            assert [step["error"] for step in ran["steps"]] == [None, None, None]
            warnings = {step["database"]: step["detail"]["warnings"] for step in ran["steps"]}
            assert warnings[sample.SHOP] == []
            shop = next(Path(each["file"]) for each in ran["backups"] if each["database"] == sample.SHOP)
            text = gzip.decompress(shop.read_bytes()).decode()
            events = [] if own.kind == "postgresql" else ["EVENT `tidy`", "PROCEDURE `forgive`"]
            for each in ("owed", "note_change", "VIEW", "RETURN", *events):
                assert each in text
            assert product.ctl("verify", "--instance", "one").code == 0
