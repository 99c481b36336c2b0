"""Makes the seeds that lie in files, from real servers: ``python -m tests.fuzz.gather``. Run when formats change."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.fuzz.target import SEEDS
from vya_backupd.testing.discover import find_servers
from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

_POSTGRESQL = """
create type mood as enum ('so', 'it''s');
create table parent (i int primary key, at timestamptz default now());
create table "odd ""one" (id serial primary key, p int references parent, t text, m mood, b bytea, check (t <> ');'));
create index on "odd ""one" (t);
insert into parent values (1), (2);
insert into "odd ""one" (p, t, m, b) values (1, E'a\\tb\\nc\\\\.', 'it''s', '\\x00ff'), (2, null, 'so', null);
create view v as select i from parent;
create function f() returns int language plpgsql as $fn$ begin return 1; /* ; */ end $fn$;
create function g(x int) returns int language sql begin atomic select case when x > 0 then 1 else 2 end; end;
create trigger g before insert on parent for each row execute function suppress_redundant_updates_trigger();
comment on table parent is E'--\\n-- Name: x; Type: TABLE; Schema: public; Owner: o\\n--';
grant select on parent to public;
create materialized view mv as select 1 as x;
select lo_from_bytea(0, '\\x0102');
"""
_MYSQL = """
create table parent (i int primary key, at datetime);
create table `odd ``one` (id int auto_increment primary key, p int, t text, b varbinary(9), e enum('a','KEY `x` (`a`)'),
  key k (p), unique key u (b, e), fulltext key ft (t), constraint c foreign key (p) references parent (i));
insert into parent values (1, null), (2, now());
insert into `odd ``one` (p, t, b, e) values (1, 'a\\'b\\n);\\nINSERT', x'00ff27', 'a'), (2, null, null, null);
create view v as select i from parent;
create trigger g before insert on parent for each row set @x = 'a;b';
create procedure p() begin select ';;' as `x``y`; -- ;;
end;
create event e on schedule every 1 day do select 1;
"""


def main() -> None:
    """Two small databases on each server: as the vendor's tool dumps them, and as the product keeps them."""
    with tempfile.TemporaryDirectory() as folder:
        for spec in find_servers():
            server = spec.start(Path(folder))
            try:
                _gather(server, Path(folder) / spec.label)
            finally:
                server.discard()


def _gather(server: PrivateServer, root: Path) -> None:
    server.create_database("shop")
    if server.kind == "postgresql":
        server.sql(_POSTGRESQL, "shop")
    else:
        # The client splits at semicolons: bodies go through another delimiter.
        plain, _, bodies = _MYSQL.partition("create trigger")
        server.sql(plain, "shop")
        server.sql(
            "delimiter //\ncreate trigger" + bodies.replace(";\nend;", ";\nend//").replace("b';", "b'//") + "\n", "shop"
        )
    for codec in ("gzip", "zstd"):
        config = {"backup": {"codec": codec}}
        with Product(
            root / codec, [instance(server, "one", database=["shop"])], servers=[server], config=config
        ) as product:
            product.ok("backup")
            for path in product.files():
                _keep(path, server.spec.label, is_globals="globals" in path.name)


def _keep(path: Path, label: str, *, is_globals: bool) -> None:
    label = f"globals-{label}" if is_globals else label
    if path.suffix == ".gz":
        shutil.copyfile(path, SEEDS / f"{label}.gz")
        text = subprocess.run(["zcat", str(path)], capture_output=True, check=True).stdout
        if not is_globals or "postgresql" in label:
            (SEEDS / f"{label}.sql").write_bytes(text)
    elif not is_globals:
        shutil.copyfile(path, SEEDS / f"{label}.zst")
        shutil.copyfile(f"{path}.metadata.json", SEEDS / f"{label}.metadata.json")


if __name__ == "__main__":
    main()
