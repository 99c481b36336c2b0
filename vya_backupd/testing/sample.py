"""Sample data for the demonstration and the tour: a small shop, with what makes dumps interesting.

Everything is made by the servers themselves from row numbers, so that each run has the same data and none of it is
shipped. Identity columns, enumerations, JSON, binary columns, generated columns, indexes of several kinds, views,
functions, triggers, large objects, events, comments, and a role that owns nothing but may read.
"""

from __future__ import annotations

from vya_backupd.testing.servers import PrivateServer

SHOP = "shop"
NOTES = "field notes"
"""A second database, whose name has a space."""

CUSTOMERS = 12_000
ORDERS = 40_000

_POSTGRESQL = f"""
CREATE TYPE mood AS ENUM ('happy', 'patient', 'cross');
CREATE DOMAIN email AS text CHECK (VALUE LIKE '%@%');
CREATE TABLE customers (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL,
    mail email UNIQUE,
    mood mood NOT NULL,
    born date,
    profile jsonb NOT NULL,
    key bytea NOT NULL,
    tags text[] NOT NULL
);
COMMENT ON TABLE customers IS 'people who buy; it''s "quoted", has a \\ and a ☂';
CREATE TABLE orders (
    id bigint PRIMARY KEY,
    customer bigint NOT NULL REFERENCES customers,
    at timestamptz NOT NULL,
    cents integer NOT NULL CHECK (cents >= 0),
    tax integer GENERATED ALWAYS AS (cents / 5) STORED,
    note text
) PARTITION BY RANGE (id);
CREATE TABLE orders_low PARTITION OF orders FOR VALUES FROM (0) TO ({ORDERS // 2});
CREATE TABLE orders_high PARTITION OF orders FOR VALUES FROM ({ORDERS // 2}) TO (MAXVALUE);
CREATE TABLE changes (id bigserial PRIMARY KEY, what text NOT NULL, at timestamptz NOT NULL DEFAULT now());
INSERT INTO customers (name, mail, mood, born, profile, key, tags)
SELECT 'Customer ' || n || CASE n % 4 WHEN 0 THEN E' \\\\ back' WHEN 1 THEN E'\\ttab' WHEN 2 THEN ' Ünï 東京' ELSE '' END,
       'c' || n || '@example.org', (enum_range(NULL::mood))[1 + n % 3],
       CASE WHEN n % 7 > 0 THEN date '1950-01-01' + n % 20000 END,
       jsonb_build_object('n', n, 'likes', jsonb_build_array(n % 10, n % 11), 'address',
                          jsonb_build_object('city', 'City ' || n % 300, 'lines', repeat(md5(n::text), 2))),
       sha256(n::text::bytea), ARRAY['t' || n % 5, NULL, 'a,b', '"']
FROM generate_series(1, {CUSTOMERS}) n;
INSERT INTO orders (id, customer, at, cents, note)
SELECT n, 1 + n * 7919 % {CUSTOMERS}, timestamptz '2026-01-01 00:00+00' + n * interval '7 minutes', n * 31 % 100000,
       CASE n % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN '\\.' WHEN 3 THEN '-- PostgreSQL database dump complete'
       ELSE repeat(md5(n::text) || ' ', 1 + n % 4) END
FROM generate_series(1, {ORDERS}) n;
CREATE INDEX orders_by_customer ON orders (customer, at DESC);
CREATE INDEX customers_by_profile ON customers USING gin (profile);
CREATE INDEX customers_cross ON customers (lower(name)) WHERE mood = 'cross';
CREATE VIEW sales AS SELECT c.name, count(*) AS orders, sum(o.cents) AS cents
    FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id;
CREATE MATERIALIZED VIEW best AS SELECT * FROM sales ORDER BY cents DESC, name LIMIT 100;
CREATE FUNCTION owed(who bigint) RETURNS bigint LANGUAGE sql STABLE AS
    $$ SELECT coalesce(sum(cents + tax), 0) FROM orders WHERE customer = who $$;
CREATE FUNCTION note_change() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    -- a comment, a ; and a '$$' in a body
    INSERT INTO changes (what) VALUES (format('%s of %s', TG_OP, NEW.id));
    RETURN NEW;
END $body$;
CREATE TRIGGER note_change AFTER INSERT OR UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION note_change();
UPDATE customers SET mood = 'happy' WHERE id % 1000 = 1;
SELECT lo_from_bytea(0, decode(repeat('c0ffee00', 20000), 'hex'));
GRANT SELECT ON sales TO shop_reader;
"""

_POSTGRESQL_PROPERTIES = f"""
COMMENT ON DATABASE {SHOP} IS 'the shop';
ALTER DATABASE {SHOP} SET statement_timeout = '5min';
"""

_MYSQL_FAMILY = f"""
CREATE TABLE customers (
    id bigint unsigned PRIMARY KEY AUTO_INCREMENT,
    name varchar(200) CHARACTER SET utf8mb4 NOT NULL,
    mood enum('happy', 'patient', 'cross') NOT NULL,
    born date,
    profile json NOT NULL,
    secret varbinary(64) NOT NULL,
    flags bit(5) NOT NULL,
    UNIQUE KEY by_name (name)
) ENGINE=InnoDB COMMENT='people who buy; it''s "quoted" and has a ☂';
CREATE TABLE orders (
    id bigint unsigned PRIMARY KEY,
    customer bigint unsigned NOT NULL,
    at datetime(3) NOT NULL,
    cents decimal(12,2) NOT NULL,
    tax decimal(12,2) AS (cents / 5) STORED,
    note text CHARACTER SET utf8mb4,
    KEY by_customer (customer, at),
    FULLTEXT KEY by_note (note),
    CONSTRAINT buyer FOREIGN KEY (customer) REFERENCES customers (id)
) ENGINE=InnoDB;
CREATE TABLE changes (id int PRIMARY KEY AUTO_INCREMENT, what varchar(100) NOT NULL);
CREATE TABLE digits (d int PRIMARY KEY);
INSERT INTO digits VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
CREATE VIEW numbers AS
    SELECT 1 + a.d + 10 * b.d + 100 * c.d + 1000 * e.d + 10000 * f.d AS n FROM digits a, digits b, digits c, digits e, digits f;
INSERT INTO customers (id, name, mood, born, profile, secret, flags)
SELECT n, concat('Customer ', n, elt(1 + n % 4, ' \\\\ back', '\\ttab', ' Ünï 東京', '')), 1 + n % 3,
       if(n % 7 > 0, date_add('1950-01-01', interval n % 20000 day), NULL),
       json_object('n', n, 'likes', json_array(n % 10, n % 11), 'address', repeat(sha2(n, 224), 2)),
       unhex(sha2(n, 256)), n % 32
FROM numbers WHERE n <= {CUSTOMERS} ORDER BY n;
INSERT INTO orders (id, customer, at, cents, note)
SELECT n, 1 + n * 7919 % {CUSTOMERS}, date_add('2026-01-01', interval n * 7 minute), n * 31 % 100000 / 100,
       elt(1 + n % 5, NULL, '', 'it''s; `a` "note"', '-- Dump completed', repeat(concat(sha2(n, 224), ' '), 1 + n % 4))
FROM numbers WHERE n <= {ORDERS} ORDER BY n;
CREATE VIEW sales AS SELECT c.name, count(*) AS orders, sum(o.cents) AS total
    FROM customers c JOIN orders o ON o.customer = c.id GROUP BY c.id, c.name;
DELIMITER //
CREATE FUNCTION owed(who bigint) RETURNS decimal(14,2) READS SQL DATA
BEGIN
    -- a comment; and a semicolon
    RETURN (SELECT coalesce(sum(cents + tax), 0) FROM orders WHERE customer = who);
END //
CREATE PROCEDURE forgive(IN who bigint) MODIFIES SQL DATA BEGIN UPDATE orders SET cents = 0 WHERE customer = who; END //
CREATE TRIGGER note_change AFTER UPDATE ON customers FOR EACH ROW
    INSERT INTO changes (what) VALUES (concat('update of ', NEW.id)) //
CREATE EVENT tidy ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 00:00:00' DO DELETE FROM changes WHERE id < 0 //
DELIMITER ;
UPDATE customers SET mood = 'happy' WHERE id % 1000 = 1;
GRANT SELECT ON {SHOP}.sales TO shop_reader@localhost;
"""

_NOTES = (
    "CREATE TABLE notes (id int PRIMARY KEY, text varchar(200)); INSERT INTO notes VALUES (1, 'rain'), (2, 'wind');"
)


def fill(server: PrivateServer) -> None:
    """Make the databases ``SHOP`` and ``NOTES`` and the role ``shop_reader`` on a new server.

    Raises:
        ServerError: the server refused a statement.
    """
    postgresql = server.kind == "postgresql"
    for name in (SHOP, NOTES):
        server.create_database(name, "" if postgresql else "CHARACTER SET utf8mb4")
    if postgresql:
        server.sql(f"CREATE ROLE shop_reader LOGIN PASSWORD '{server.admin_password}'")
        server.sql(_POSTGRESQL, SHOP)
        server.sql(_POSTGRESQL_PROPERTIES)
    else:
        server.sql(f"CREATE USER shop_reader@localhost IDENTIFIED BY '{server.admin_password}'")
        server.sql(_MYSQL_FAMILY, SHOP)
    server.sql(_NOTES, NOTES)
