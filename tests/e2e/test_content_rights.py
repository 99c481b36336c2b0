"""Accounts that lack one right each: what that costs is refused or said, with the statement that helps, and it helps."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from vya_backupd.testing.product import Product, instance
from vya_backupd.testing.servers import PrivateServer

PASSWORD = "weak but long 1A"
CONFIG: dict[str, dict[str, Any]] = {"backup": {"parallel_per_database": 2, "parallel_piece_size": 1 << 16}}

MYSQL = """
    CREATE TABLE things (id INT PRIMARY KEY, what VARCHAR(9));
    INSERT INTO things VALUES (4711, 'a');
    CREATE TABLE loose (id INT) ENGINE = MyISAM;
    CREATE TABLE quick (id INT) ENGINE = MEMORY;
    CREATE TABLE sheet (id INT NOT NULL) ENGINE = CSV;
    INSERT INTO loose VALUES (111001); INSERT INTO quick VALUES (111002); INSERT INTO sheet VALUES (111003);
    CREATE VIEW seen AS SELECT what FROM things;
    CREATE TRIGGER watched BEFORE INSERT ON things FOR EACH ROW SET NEW.what = 'b';
    CREATE PROCEDURE forgive() SELECT 'the body';
    CREATE EVENT tidy ON SCHEDULE EVERY 1 YEAR STARTS '2036-01-01' DO DELETE FROM things;
"""
MYSQL_RIGHTS = {
    "SELECT": "4711",
    "SHOW VIEW": "VIEW `seen`",
    "TRIGGER": "watched",
    "EVENT": "EVENT `tidy`",
    "routines": "the body",
    "accounts": "CREATE USER",
    "PROCESS": "",
    "RELOAD": "",
}
"""Each right, with the text that a backup has thanks to it."""
POSTGRESQL = """
    CREATE SCHEMA inner_room;
    CREATE TABLE inner_room.things (id serial PRIMARY KEY, what text);
    CREATE SEQUENCE counted START 4711;
    CREATE TABLE guarded (id int);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    CREATE TABLE parts (id int) PARTITION BY RANGE (id);
    CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (9);
    ALTER TABLE parts ENABLE ROW LEVEL SECURITY;
    INSERT INTO guarded VALUES (4711);
    SELECT lo_from_bytea(0, 'large');
    CREATE FOREIGN DATA WRAPPER nothing;
    CREATE SERVER elsewhere FOREIGN DATA WRAPPER nothing;
    CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (password 'elsewhere');
    CREATE SUBSCRIPTION never CONNECTION 'host=nowhere.invalid' PUBLICATION p
        WITH (connect = false, enabled = false, create_slot = false, slot_name = NONE);
"""
POSTGRESQL_RIGHTS = {
    "reading": "GRANT pg_read_all_data TO {};",
    "bypassing": "ALTER ROLE {} BYPASSRLS;",
    "large": "ALTER ROLE {} SET lo_compat_privileges = on;",
}


def account(kind: str, right: str) -> str:
    return f"{kind[:2]}_lacks_{right.replace(' ', '_').lower()}"


def give(server: PrivateServer, name: str, lacking: str) -> None:
    """An account with every right that a backup needs, but for one."""
    if server.kind == "postgresql":
        server.sql(f"CREATE ROLE {name} LOGIN PASSWORD '{PASSWORD}'")
        given = [sql.format(name) for right, sql in POSTGRESQL_RIGHTS.items() if right != lacking]
    else:
        server.sql(f"CREATE USER {name}@'%' IDENTIFIED BY '{PASSWORD}'")
        rights = {right for right in MYSQL_RIGHTS if right.isupper()} - {lacking}
        rights -= {"SELECT"} if lacking in ("routines", "accounts") else set()
        given = [f"GRANT {', '.join(sorted(rights))} ON *.* TO {name}@'%'"]
        # A right on everything would be one on the tables of accounts and routines as well.
        routines = "SELECT ON mysql.proc" if server.kind == "mariadb" else "SHOW_ROUTINE ON *.*"
        given += [f"GRANT {routines} TO {name}@'%'"] * (lacking != "routines")
        given += [f"GRANT SELECT ON mysql.user TO {name}@'%'"] * (lacking == "routines")
    for statement in given:
        server.sql(statement)


def lacking(server: PrivateServer, database: str, rights: list[str]) -> list[dict[str, Any]]:
    """An instance for each right, whose account has all of them but this one."""
    entries = []
    for right in rights:
        name = account(server.kind, right)
        give(server, name, right)
        if right in ("routines", "accounts"):
            server.sql(f"GRANT SELECT ON `{database}`.* TO {name}@'%'")
        entries.append(instance(server, right.replace(" ", "_"), username=name, password=PASSWORD, database=[database]))
    return entries


def steps(record: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["instance"], each["database"]): each for each in record["steps"]}


def warnings(step: dict[str, Any]) -> str:
    return "\n".join(step["detail"].get("warnings", []))


def help_in(product: Product, server: PrivateServer) -> None:
    """Run what the doctor proposes."""
    record = product.ctl("doctor", "--output", "json").json
    for statement in dict.fromkeys(sql for each in record["findings"] for sql in each.get("sql", ())):
        server.sql(statement)


def test_each_right_of_mysql_and_mariadb(mysql_family: PrivateServer, fresh_name: str, tmp_path: Path) -> None:
    server = mysql_family
    server.create_database(fresh_name)
    server.sql(MYSQL, fresh_name)
    server.sql("CREATE TABLE large (id INT PRIMARY KEY, v TEXT)", fresh_name)
    server.sql(f"INSERT INTO large VALUES {','.join(f'({n}, repeat(0x61, 500))' for n in range(900))}", fresh_name)
    entries = lacking(server, fresh_name, list(MYSQL_RIGHTS))
    with Product(tmp_path, entries, servers=[server], config=CONFIG) as product:
        done = steps(product.ctl("backup", "--output", "json").json)
        for right, text in MYSQL_RIGHTS.items():
            where = (right.replace(" ", "_"), "@globals" if right == "accounts" else fresh_name)
            step = done[where]
            said = step["error"]["hint"] if step["error"] else warnings(step)
            code = step["error"]["code"] if step["error"] else "warned"
            assert code in ("insufficient_privilege", "warned"), (right, step)
            wanted = {"accounts": "GRANT SELECT ON `mysql`.*", "routines": "GRANT S"}.get(right, right)
            assert wanted in said, f"{right}: {step}"
            assert account(server.kind, right) not in str(step), "names in full are for the doctor's readers"
            print(f"\n{server.kind}: without {right}: {code}: {said}")
            assert code != "warned" or not text or text not in content(product, *where), "what is warned of is missing"
        help_in(product, server)
        done = steps(product.ctl("backup", "--output", "json").json)
        assert [(key, each["error"]) for key, each in done.items() if each["error"]] == []
        assert [(key, warnings(each)) for key, each in done.items() if "lacks" in warnings(each)] == []
        for right, text in MYSQL_RIGHTS.items():
            where = (right.replace(" ", "_"), "@globals" if right == "accounts" else fresh_name)
            assert text in content(product, *where)
        first = ("SELECT", fresh_name)
        assert "not transactional, may change while being dumped: loose, quick, sheet" in warnings(done[first])
        assert [row for row in ("111001", "111002", "111003") if row not in content(product, *first)] == []
    server.drop_database(fresh_name)
    for right in MYSQL_RIGHTS:
        server.sql(f"DROP USER {account(server.kind, right)}@'%'")


def content(product: Product, instance_id: str, database: str) -> str:
    """The newest backup of a database, as text."""
    listed = product.ok("restore", "--list", "--instance", instance_id, "--database", database)["backups"]
    return gzip.decompress(Path(listed[0]["file"]).read_bytes()).decode()


def test_each_right_of_postgresql(postgresql: PrivateServer, fresh_name: str, tmp_path: Path) -> None:
    """What pg_dump would stop at is refused before it starts; what it leaves out without a word is warned of."""
    server = postgresql
    server.create_database(fresh_name)
    server.sql(POSTGRESQL, fresh_name)
    entries = lacking(server, fresh_name, list(POSTGRESQL_RIGHTS))
    config = {"backup": CONFIG["backup"] | {"include_globals": False}}
    with Product(tmp_path, entries, servers=[server], config=config) as product:
        done = steps(product.ctl("backup", "--output", "json").json)
        for right, sql in POSTGRESQL_RIGHTS.items():
            error = done[(right, fresh_name)]["error"]
            assert error["code"] == "insufficient_privilege"
            assert sql.format('"po_l***"') in error["hint"]
            assert "pg_dump" not in error["message"], "said before the tool is started"
        assert "public.guarded" in done[("bypassing", fresh_name)]["error"]["message"]
        assert "public.parts" not in done[("bypassing", fresh_name)]["error"]["message"], "rows lie in partitions"
        for sequence in ("public.counted", "inner_room.things_id_seq"):
            assert sequence in done[("reading", fresh_name)]["error"]["message"]
        help_in(product, server)
        done = steps(product.ctl("backup", "--output", "json").json)
        assert [each["error"] for each in done.values() if each["error"]] == []
        said = warnings(done[("reading", fresh_name)])
        assert "subscriptions are shown to a superuser alone (1 of them)" in said
        assert "options of user mappings" in said
        text = content(product, "reading", fresh_name)
        assert [each for each in ("4711", "6c61726765") if each not in text] == []
        assert [each for each in ("CREATE SUBSCRIPTION", "'elsewhere'") if each in text] == []
    server.sql("DROP SUBSCRIPTION never", fresh_name)
    server.drop_database(fresh_name)
    for right in POSTGRESQL_RIGHTS:
        server.sql(f"DROP ROLE {account(server.kind, right)}")
