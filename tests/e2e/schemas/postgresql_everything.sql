-- One of everything that PostgreSQL stores, made hard to copy where it can be. Run by psql, connected to an empty
-- database, after postgresql_roles.sql.
SELECT current_setting('server_version_num')::int >= 140000 AS v14,
       current_setting('server_version_num')::int >= 150000 AS v15,
       current_setting('server_version_num')::int >= 160000 AS v16,
       current_setting('server_version_num')::int >= 170000 AS v17,
       current_setting('server_version_num')::int >= 180000 AS v18,
       EXISTS (SELECT FROM pg_collation WHERE collname = 'de-x-icu') AS has_icu,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'hstore') AS has_hstore,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'citext') AS has_citext,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'btree_gist') AS has_btree_gist,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_trgm') AS has_trgm,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'postgres_fdw') AS has_fdw,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'ltree') AS has_ltree,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pgcrypto') AS has_pgcrypto
\gset
SET client_min_messages = warning;

-- Schemas, owners, names that need care
CREATE SCHEMA app AUTHORIZATION app_owner;
CREATE SCHEMA "Odd ""schema"".x" AUTHORIZATION "Weird ""role"".é; -- x";
COMMENT ON SCHEMA app IS E'the app''s\n--\n-- Name: fake; Type: TABLE; Schema: app; Owner: nobody\n--\n\\.\nCOPY app.fake (a) FROM stdin;';
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA app TO app_reader, PUBLIC;
GRANT CREATE ON SCHEMA app TO app_admin WITH GRANT OPTION;
SET search_path = app, pg_catalog;

-- Types
CREATE TYPE mood AS ENUM ('sad', 'ok', 'it''s "fine"', 'glücklich');
ALTER TYPE mood ADD VALUE 'meh' BEFORE 'ok';
CREATE TYPE pair AS (a integer, b text COLLATE "C");
COMMENT ON COLUMN pair.b IS 'the second';
CREATE DOMAIN positive AS integer DEFAULT 1 NOT NULL CONSTRAINT "more than 0" CHECK (VALUE > 0);
CREATE DOMAIN email AS text COLLATE "C" CHECK (VALUE ~ '^[^@]+@[^@]+$');
ALTER DOMAIN email ADD CONSTRAINT short CHECK (length(VALUE) < 100) NOT VALID;
CREATE FUNCTION float_distance(double precision, double precision) RETURNS double precision
    LANGUAGE sql IMMUTABLE STRICT AS 'SELECT $2 - $1';
CREATE TYPE floatrange AS RANGE (subtype = double precision, subtype_diff = float_distance,
                                 multirange_type_name = floatmulti);
CREATE TYPE shell_type;
CREATE FUNCTION shell_in(cstring) RETURNS shell_type LANGUAGE internal IMMUTABLE STRICT AS 'textin';
CREATE FUNCTION shell_out(shell_type) RETURNS cstring LANGUAGE internal IMMUTABLE STRICT AS 'textout';
CREATE TYPE shell_type (INPUT = shell_in, OUTPUT = shell_out, LIKE = text, CATEGORY = 'X', DEFAULT = 'none');
CREATE TYPE forgotten;
ALTER TYPE mood OWNER TO app_owner;
GRANT USAGE ON TYPE mood TO app_reader;
REVOKE USAGE ON TYPE pair FROM PUBLIC;

-- Collations
CREATE COLLATION posix_copy (provider = libc, locale = 'C');
\if :has_icu
CREATE COLLATION german_phone (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION careless (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
CREATE TABLE collated (a text COLLATE german_phone, b text COLLATE careless UNIQUE);
INSERT INTO collated VALUES ('Ärger', 'abc'), ('Zoo', 'ABD');
\endif
\if :v17
CREATE COLLATION built_in (provider = builtin, locale = 'C.UTF-8');
\endif

-- Functions, whose bodies look like the dump that they lie in
CREATE FUNCTION hostile() RETURNS text LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = app, pg_temp COST 3
AS $body$
--
-- Name: hostile; Type: TABLE; Schema: app; Owner: postgres
--
BEGIN
    -- COPY app.hostile (a) FROM stdin;
    RETURN 'a;b' || $inner$
\.
--
-- PostgreSQL database dump complete
--
\restrict x
\unrestrict x
\! echo owned
$inner$;
END
$body$;
CREATE FUNCTION crlf() RETURNS text LANGUAGE sql AS E'SELECT ''one\r\ntwo\r\n''::text;\r\n';
CREATE FUNCTION atomic(x integer, VARIADIC rest text[] DEFAULT ARRAY['a;b', 'c''d']) RETURNS integer
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
BEGIN ATOMIC
    SELECT x + cardinality(rest);
    SELECT CASE WHEN x > 1 THEN x ELSE -x END;
END;
CREATE FUNCTION one_more(a integer) RETURNS integer LANGUAGE sql RETURN a + 1;
CREATE FUNCTION numbers(OUT n integer, OUT "the text" text) RETURNS SETOF record LANGUAGE sql ROWS 7
    AS $$ SELECT g, 'n' || g FROM generate_series(1, 3) g $$;
CREATE PROCEDURE "do; it"(INOUT a integer) LANGUAGE plpgsql AS $_$ BEGIN a := a + 1; COMMIT; END $_$;
CREATE FUNCTION backslashes() RETURNS text LANGUAGE sql AS E'SELECT E''\\\\ \\n'' || ''\\''::text';
COMMENT ON FUNCTION hostile() IS 'odd; $body$ --';
REVOKE ALL ON FUNCTION hostile() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION hostile() TO app_reader WITH GRANT OPTION;
ALTER FUNCTION hostile() OWNER TO app_owner;

-- Aggregates, operators, casts, text search
CREATE FUNCTION plus(pair, pair) RETURNS pair LANGUAGE sql IMMUTABLE
    AS $$ SELECT ROW(($1).a + ($2).a, ($1).b || ($2).b)::pair $$;
CREATE OPERATOR + (FUNCTION = plus, LEFTARG = pair, RIGHTARG = pair, COMMUTATOR = +);
CREATE AGGREGATE total(pair) (SFUNC = plus, STYPE = pair, INITCOND = '(0,"")', PARALLEL = SAFE);
CREATE AGGREGATE middle(double precision ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE FUNCTION pair_of(integer) RETURNS pair LANGUAGE sql IMMUTABLE AS $$ SELECT ROW($1, $1::text)::pair $$;
CREATE CAST (integer AS pair) WITH FUNCTION pair_of(integer) AS ASSIGNMENT;
CREATE CAST (mood AS varchar) WITH INOUT;
CREATE FUNCTION pair_cmp(pair, pair) RETURNS integer LANGUAGE sql IMMUTABLE AS $$ SELECT coalesce(($1).a - ($2).a, 0) $$;
CREATE FUNCTION pair_less(pair, pair) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$ SELECT ($1).a < ($2).a $$;
CREATE OPERATOR <<< (FUNCTION = pair_less, LEFTARG = pair, RIGHTARG = pair);
CREATE OPERATOR FAMILY pair_family USING btree;
CREATE OPERATOR CLASS pair_ops FOR TYPE pair USING btree FAMILY pair_family
    AS OPERATOR 1 <<<, FUNCTION 1 pair_cmp(pair, pair);
CREATE TEXT SEARCH DICTIONARY plain_words (TEMPLATE = simple, stopwords = english);
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR asciiword WITH plain_words, english_stem;
CREATE ACCESS METHOD heap_again TYPE TABLE HANDLER heap_tableam_handler;
CREATE TRANSFORM FOR integer LANGUAGE sql (FROM SQL WITH FUNCTION prsd_lextype(internal));

-- Sequences
CREATE SEQUENCE "odd.sequence" AS smallint INCREMENT BY -3 MAXVALUE 100 MINVALUE -300 START 50 CACHE 5 CYCLE;
SELECT nextval('"odd.sequence"'), nextval('"odd.sequence"');
CREATE SEQUENCE never_used;
CREATE UNLOGGED SEQUENCE light;

-- Tables: all types, values at the edges
CREATE TABLE everything (
    id bigint GENERATED ALWAYS AS IDENTITY (START WITH 10 INCREMENT BY 5) PRIMARY KEY,
    other integer GENERATED BY DEFAULT AS IDENTITY UNIQUE,
    old_serial serial,
    doubled bigint GENERATED ALWAYS AS (coalesce(i4, 0) * 2::bigint) STORED,
    i2 smallint, i4 integer, i8 bigint, num numeric, num2 numeric(30, 10), f4 real, f8 double precision, cash money,
    flag boolean, c5 char(5), vc varchar(40), t text DEFAULT E'def\t''ault''', b bytea, one "char", nm name,
    d date, tm time(3), tmz timetz, ts timestamp, tsz timestamptz, iv interval,
    u uuid, j json, jb jsonb, jp jsonpath, x xml, bits bit(7), vbits bit varying,
    ip inet, net cidr, mac macaddr, mac8 macaddr8, pt point, ln line, seg lseg, bx box, pth path, pol polygon, circ circle,
    tsv tsvector, tsq tsquery, ia integer[], ta text[][], pa pair[], m mood, ma mood[], p pair, e email, pos positive,
    ir int4range, nr numrange, tr tstzrange, dr daterange, im int8multirange, fr floatrange, fm floatmulti,
    sh shell_type, lsn pg_lsn, oi oid, rc regclass, rt regtype, snap pg_snapshot, "Odd ""column"".x" integer
);
ALTER TABLE everything OWNER TO app_owner;
INSERT INTO everything (i2, i4, i8, num, num2, f4, f8, cash, flag, c5, vc, t, b, one, nm, d, tm, tmz, ts, tsz, iv, u, j,
    jb, jp, bits, vbits, ip, net, mac, mac8, pt, ln, seg, bx, pth, pol, circ, tsv, tsq, ia, ta, pa, m, ma, p, e, pos, ir,
    nr, tr, dr, im, fr, fm, sh, lsn, oi, rc, rt, snap, "Odd ""column"".x") VALUES
 (-32768, -2147483648, -9223372036854775808, 'NaN', -12345678901234567890.0123456789, '-Infinity', 'NaN', -12.34,
  true, 'ab', 'héllo', E'tab\there\nnewline\\backslash\r\b\f\v', '\x00ff0a5c2e0d', 'x', 'a name', '-infinity', '24:00:00',
  '12:00:00+05:30', 'infinity', '4713-01-01 00:00:00+00 BC', '-178000000 years 3 mons -4 days 05:06:07.000001',
  'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '{"a" :  1, "a":2}', '{"b": [1, null, "\u00e9", 1e400], "": {}}',
  '$.a[*] ? (@ > 1)', B'1010101', B'', '::1/64', '10.0.0.0/8', '08:00:2b:01:02:03', '08:00:2b:01:02:03:04:05',
  '(1.1,-2e300)', '{1,2,3}', '[(0,0),(1,1)]', '((0,0),(1,1))', '[(0,0),(1,1)]', '((0,0),(1,1),(1,0))', '<(0,0),1>',
  $$'it''s':1A 'b\\':2$$, $$'a' & !'b''c'$$, '{1,NULL,-3}', '[0:1][2:3]={{a,"b,c"},{NULL,"NULL"}}',
  ARRAY[ROW(1, 'x"y')::pair, NULL, ROW(NULL, '')::pair], 'it''s "fine"', '{sad,glücklich}', '(1,)', 'a@b', 7, 'empty',
  '(,5.5]', '[-infinity,infinity]', '[2020-01-01,)', '{[1,3),[5,9)}', '[1.5,2.5)', '{(,1),[2,3]}', 'shell', 'FFFFFFFF/0',
  4294967295, 'pg_class', 'app.mood[]', '10:20:10,14,15', -1),
 (32767, 2147483647, 9223372036854775807, 'Infinity', 0.0000000001, 1.1754944e-38, 4.9e-324, 0, false, '', '', '',
  '\x', '', '', '5874897-12-31', '00:00:00.001', '00:00:00-15:59', '0001-01-01 BC', 'infinity', '0', NULL, 'null', 'null',
  '$', NULL, B'1', '0.0.0.0', '::/0', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, '', '', '{}', '{}', '{}',
  NULL, '{}', '(,"")', NULL, DEFAULT, '(,)', 'empty', 'empty', 'empty', '{}', 'empty', '{}', NULL, '0/0', 0, '-', 'integer',
  NULL, NULL);
INSERT INTO everything (t) VALUES (NULL), (E'\\.'), (E'\\N'), ('\N'), (E'\n\\.\n'), (E'--\n-- Name: x; Type: TABLE\n--\n'),
    (E'COPY app.everything (t) FROM stdin;\n1\n\\.\n'), (E'-- PostgreSQL database dump complete'), ('🦄 ß 中文 ﷽ ' || U&'\200B\FEFF'),
    (repeat('long ', 60000));
INSERT INTO everything (t, b) SELECT md5(g::text), decode(md5(g::text), 'hex') FROM generate_series(1, 500) g;
COMMENT ON COLUMN everything."Odd ""column"".x" IS E'a\nb';
CREATE TABLE everything_xml (x xml);
DO $$ BEGIN INSERT INTO app.everything_xml VALUES ('<a>&lt;b/&gt;</a>'); EXCEPTION WHEN feature_not_supported THEN NULL; END $$;
CREATE TABLE "Odd ""schema"".x"."table; Type: INDEX
with newline" ("a.b" integer, "c""d" text, "--" text, "\." text, "COPY" text, "é" text);
INSERT INTO "Odd ""schema"".x"."table; Type: INDEX
with newline" VALUES (1, '2', '--', '\.', E'\\.\n', 'é'), (NULL, '', NULL, '\N', E'\\N', '');
CREATE TABLE nothing ();
INSERT INTO nothing DEFAULT VALUES;
INSERT INTO nothing DEFAULT VALUES;
CREATE TABLE lonely_column (a text);
INSERT INTO lonely_column VALUES (''), (NULL), (E'\\.'), ('\.'), ('');
CREATE TABLE dropped_columns (a integer, gone text, b text);
INSERT INTO dropped_columns VALUES (1, 'x', 'y');
ALTER TABLE dropped_columns DROP COLUMN gone;
ALTER TABLE dropped_columns ADD COLUMN late integer DEFAULT 42 NOT NULL, ALTER COLUMN b SET STATISTICS 500;
CREATE UNLOGGED TABLE unlogged_table (a integer) WITH (fillfactor = 70, autovacuum_enabled = false);
INSERT INTO unlogged_table VALUES (1), (2);
CREATE TABLE typed OF pair (a WITH OPTIONS DEFAULT 5 NOT NULL);
INSERT INTO typed VALUES (1, 'x');
CREATE TABLE stored (a text, b text, c integer) TABLESPACE spare;
ALTER TABLE stored ALTER a SET STORAGE EXTERNAL, ALTER b SET STORAGE MAIN, ALTER b SET COMPRESSION pglz,
    ALTER c SET (n_distinct = -0.5);
INSERT INTO stored VALUES ('a', 'b', 1);
CREATE TABLE other_method (a integer) USING heap_again;
INSERT INTO other_method VALUES (1);
CREATE TEMPORARY TABLE not_dumped (a integer);
\if :v18
CREATE TABLE version_18 (a integer, b integer GENERATED ALWAYS AS (a * 2) VIRTUAL, period daterange,
    CONSTRAINT soft CHECK (a < 3) NOT ENFORCED);
INSERT INTO version_18 VALUES (1, DEFAULT, '[2020-01-01,2021-01-01)'), (5, DEFAULT, NULL);
ALTER TABLE version_18 ADD CONSTRAINT later NOT NULL period NOT VALID;
\endif

-- Constraints: circular, deferred, not valid, exclusion
CREATE TABLE egg (id integer PRIMARY KEY, hen integer NOT NULL);
CREATE TABLE hen (id integer PRIMARY KEY, egg integer NOT NULL REFERENCES egg DEFERRABLE INITIALLY DEFERRED);
ALTER TABLE egg ADD FOREIGN KEY (hen) REFERENCES hen ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE INITIALLY DEFERRED;
BEGIN;
INSERT INTO hen VALUES (1, 2), (2, 1);
INSERT INTO egg VALUES (1, 1), (2, 2);
COMMIT;
CREATE TABLE tree (id integer PRIMARY KEY, parent integer REFERENCES tree MATCH FULL, label text,
    UNIQUE NULLS NOT DISTINCT (parent, label), CHECK (id <> parent) NO INHERIT);
INSERT INTO tree VALUES (3, NULL, 'r'), (1, 3, 'x'), (2, 1, NULL);
CREATE TABLE loose (a integer, b integer);
INSERT INTO loose VALUES (-1, 99);
ALTER TABLE loose ADD CONSTRAINT not_yet CHECK (a > 0) NOT VALID,
    ADD CONSTRAINT no_hen FOREIGN KEY (b) REFERENCES hen NOT VALID;
CREATE TABLE bookings (room integer, span tsrange, hidden boolean DEFAULT false,
    EXCLUDE USING gist (span WITH &&) WHERE (NOT hidden) DEFERRABLE);
INSERT INTO bookings VALUES (1, '[2020-01-01,2020-01-02)'), (1, '[2020-01-02,2020-01-03)');
\if :has_btree_gist
CREATE EXTENSION btree_gist SCHEMA public;
ALTER TABLE bookings ADD CONSTRAINT per_room EXCLUDE USING gist (room WITH =, span WITH &&);
\if :v18
CREATE TABLE temporal (id integer, span daterange, PRIMARY KEY (id, span WITHOUT OVERLAPS));
INSERT INTO temporal VALUES (1, '[2020-01-01,2021-01-01)'), (1, '[2021-01-01,2022-01-01)');
\endif
\endif
CREATE INDEX plain ON everything (i4);
CREATE UNIQUE INDEX partial ON everything (lower(vc) text_pattern_ops DESC NULLS LAST) INCLUDE (i2) WHERE vc <> 'none';
CREATE INDEX gin ON everything USING gin (jb jsonb_path_ops) WITH (fastupdate = off);
CREATE INDEX brin ON everything USING brin (id) TABLESPACE spare;
CREATE INDEX hash ON everything USING hash (u);
CREATE INDEX "odd index; --" ON everything ((left(coalesce(t, ';--'), 100)));
ALTER INDEX "odd index; --" ALTER COLUMN 1 SET STATISTICS 77;
CREATE INDEX paired ON everything (p pair_ops);
ALTER TABLE everything CLUSTER ON plain;
CREATE UNIQUE INDEX replica_key ON hen (egg);
ALTER TABLE hen REPLICA IDENTITY USING INDEX replica_key;
ALTER TABLE loose REPLICA IDENTITY FULL;
CREATE STATISTICS some_statistics (ndistinct, mcv) ON i2, i4, (i2 + i4) FROM everything;
ALTER STATISTICS some_statistics SET STATISTICS 55;

-- Partitions of all kinds, inheritance
CREATE TABLE by_range (id integer, at date, kind text, PRIMARY KEY (id, at, kind)) PARTITION BY RANGE (at);
CREATE TABLE by_range_old PARTITION OF by_range FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE by_range_new PARTITION OF by_range FOR VALUES FROM ('2020-01-01') TO ('2030-01-01') PARTITION BY LIST (kind);
CREATE TABLE by_range_new_a PARTITION OF by_range_new (kind DEFAULT 'a') FOR VALUES IN ('a', 'it''s');
CREATE TABLE by_range_new_rest PARTITION OF by_range_new DEFAULT PARTITION BY HASH (id);
CREATE TABLE by_hash_0 PARTITION OF by_range_new_rest FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE by_hash_1 PARTITION OF by_range_new_rest FOR VALUES WITH (MODULUS 2, REMAINDER 1);
CREATE TABLE by_range_default (kind text NOT NULL, at date NOT NULL, id integer NOT NULL);
ALTER TABLE by_range ATTACH PARTITION by_range_default DEFAULT;
CREATE INDEX ON by_range (kind);
CREATE TABLE by_null (a integer) PARTITION BY LIST (a);
CREATE TABLE by_null_null PARTITION OF by_null FOR VALUES IN (NULL, 1);
INSERT INTO by_null VALUES (NULL), (1);
CREATE TABLE empty_partitioned (a integer) PARTITION BY LIST (a);
INSERT INTO by_range SELECT g, date '2015-01-01' + g * 30, (ARRAY['a', 'b', 'it''s', 'c'])[g % 4 + 1] FROM generate_series(1, 300) g;
CREATE TABLE to_parts (id integer, at date, kind text, FOREIGN KEY (id, at, kind) REFERENCES by_range);
INSERT INTO to_parts SELECT id, at, kind FROM by_range WHERE id < 5;
CREATE TABLE parent (a integer NOT NULL, b text, CHECK (a > 0));
CREATE TABLE mother (c integer);
CREATE TABLE child (b text DEFAULT 'child', d integer) INHERITS (parent, mother);
INSERT INTO parent VALUES (1, 'p');
INSERT INTO child VALUES (2, 'c', 3, 4);

-- Views, rules, triggers, policies
CREATE VIEW simple_view AS SELECT id, t FROM everything WHERE t <> '--;''' WITH CASCADED CHECK OPTION;
CREATE VIEW barrier WITH (security_barrier, security_invoker = true) AS SELECT * FROM hen;
ALTER VIEW barrier ALTER COLUMN egg SET DEFAULT 3;
CREATE RECURSIVE VIEW descend(id, depth) AS SELECT id, 0 FROM tree WHERE parent IS NULL
    UNION ALL SELECT t.id, depth + 1 FROM tree t JOIN descend d ON t.parent = d.id;
CREATE VIEW loop_a AS SELECT 1 AS a;
CREATE VIEW loop_b AS SELECT * FROM loop_a;
CREATE OR REPLACE VIEW loop_a AS SELECT a FROM (SELECT 2 AS a) s;
CREATE MATERIALIZED VIEW full_matview TABLESPACE spare AS SELECT kind, count(*) AS n FROM by_range GROUP BY kind;
CREATE UNIQUE INDEX ON full_matview (kind);
CREATE MATERIALIZED VIEW on_matview AS SELECT sum(n) AS total FROM full_matview;
CREATE MATERIALIZED VIEW unfilled AS SELECT * FROM parent WITH NO DATA;
CREATE TABLE log (what text);
CREATE RULE "log; --" AS ON INSERT TO hen DO ALSO INSERT INTO log VALUES ('rule;');
CREATE RULE off_rule AS ON DELETE TO hen DO INSTEAD NOTHING;
ALTER TABLE hen DISABLE RULE off_rule;
CREATE RULE upd AS ON UPDATE TO simple_view DO INSTEAD (INSERT INTO log VALUES ('a'); INSERT INTO log VALUES ('b;'));
CREATE FUNCTION notice_it() RETURNS trigger LANGUAGE plpgsql
    AS $$ BEGIN INSERT INTO app.log VALUES (tg_name || ' ' || tg_op); RETURN NEW; END $$;
CREATE TRIGGER "each;row" BEFORE INSERT OR UPDATE OF i4 ON everything FOR EACH ROW WHEN (NEW.i4 > 5)
    EXECUTE FUNCTION notice_it('a;b', E'c''\\d');
CREATE TRIGGER whole AFTER INSERT ON child REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION notice_it();
CREATE CONSTRAINT TRIGGER late AFTER INSERT ON tree DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION notice_it();
CREATE TRIGGER parted AFTER INSERT ON by_range FOR EACH ROW EXECUTE FUNCTION notice_it();
CREATE TRIGGER instead INSTEAD OF DELETE ON simple_view FOR EACH ROW EXECUTE FUNCTION notice_it();
CREATE TRIGGER disabled BEFORE DELETE ON hen FOR EACH ROW EXECUTE FUNCTION notice_it();
ALTER TABLE hen DISABLE TRIGGER disabled;
CREATE TRIGGER always_on BEFORE INSERT ON lonely_column FOR EACH ROW EXECUTE FUNCTION notice_it();
ALTER TABLE lonely_column ENABLE ALWAYS TRIGGER always_on;
CREATE TRIGGER replica_only BEFORE INSERT ON lonely_column FOR EACH ROW EXECUTE FUNCTION notice_it();
ALTER TABLE lonely_column ENABLE REPLICA TRIGGER replica_only;
TRUNCATE log;
CREATE POLICY "mine; only" ON everything AS RESTRICTIVE FOR SELECT TO app_reader, PUBLIC USING (t IS DISTINCT FROM 'x;y');
CREATE POLICY writing ON everything FOR INSERT WITH CHECK (i4 > 0);
ALTER TABLE everything ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE FUNCTION refuse_ddl() RETURNS event_trigger LANGUAGE plpgsql
    AS $$ BEGIN IF current_setting('app.strict', true) = 'on' THEN RAISE EXCEPTION 'no DDL'; END IF; END $$;
CREATE EVENT TRIGGER "no; ddl" ON ddl_command_start WHEN TAG IN ('DROP TABLE', 'CREATE TABLE') EXECUTE FUNCTION refuse_ddl();
CREATE EVENT TRIGGER dormant ON sql_drop EXECUTE FUNCTION refuse_ddl();
ALTER EVENT TRIGGER dormant DISABLE;

-- Extensions, with configuration rows and with objects that they do not own
\if :has_hstore
CREATE EXTENSION hstore SCHEMA "Odd ""schema"".x";
CREATE TABLE with_hstore (h "Odd ""schema"".x".hstore);
INSERT INTO with_hstore VALUES ('a=>"b;\\c", d=>NULL');
CREATE INDEX ON with_hstore USING gin (h);
\endif
\if :has_citext
CREATE EXTENSION citext SCHEMA public;
CREATE TABLE with_citext (a public.citext PRIMARY KEY);
INSERT INTO with_citext VALUES ('Abc');
COMMENT ON EXTENSION citext IS 'said by us';
\endif
\if :has_trgm
CREATE EXTENSION pg_trgm;
CREATE INDEX trigrams ON everything USING gist (vc gist_trgm_ops (siglen = 32));
\endif
\if :has_ltree
CREATE EXTENSION ltree;
CREATE TABLE with_ltree (path ltree);
INSERT INTO with_ltree VALUES ('a.b.c');
\endif
\if :has_pgcrypto
CREATE EXTENSION pgcrypto;
REVOKE EXECUTE ON FUNCTION armor(bytea) FROM PUBLIC;
\endif

-- Foreign data
CREATE FOREIGN DATA WRAPPER dummy OPTIONS (debug 'tr;ue');
CREATE SERVER dummy_server TYPE 'x' VERSION '1' FOREIGN DATA WRAPPER dummy OPTIONS (host 'nowhere', "odd opt" 'it''s');
CREATE USER MAPPING FOR app_reader SERVER dummy_server OPTIONS ("user" 'someone', password 'secret''s');
CREATE FOREIGN TABLE far_away (a integer OPTIONS (column_name 'b c') NOT NULL, b text) SERVER dummy_server OPTIONS (t 'x');
GRANT USAGE ON FOREIGN SERVER dummy_server TO app_owner;
\if :has_fdw
CREATE EXTENSION postgres_fdw;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '127.0.0.1', port '1', dbname 'none');
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (user 'nobody', password 'a''b\c');
CREATE FOREIGN TABLE elsewhere_table (a integer) SERVER elsewhere;
\endif

-- Replication
CREATE PUBLICATION everything_pub FOR ALL TABLES WITH (publish = 'insert, delete');
CREATE PUBLICATION some_pub FOR TABLE hen, tree (id, label) WHERE (id > 1);
CREATE PUBLICATION schema_pub FOR TABLES IN SCHEMA app;
CREATE SUBSCRIPTION never_connected CONNECTION 'host=127.0.0.1 port=1 dbname=x password=''it\''s''' PUBLICATION a, "b;c"
    WITH (connect = false, slot_name = NONE, enabled = false, create_slot = false);

-- Rights
GRANT SELECT, INSERT (t, i4), UPDATE (t) ON everything TO app_reader;
GRANT ALL ON everything TO app_admin WITH GRANT OPTION;
GRANT SELECT ON ALL TABLES IN SCHEMA app TO "Weird ""role"".é; -- x";
REVOKE ALL ON hen FROM app_owner;
GRANT USAGE ON SEQUENCE "odd.sequence" TO PUBLIC;
REVOKE INSERT ON unlogged_table FROM postgres;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner GRANT SELECT ON TABLES TO app_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE app_owner IN SCHEMA app GRANT EXECUTE ON FUNCTIONS TO app_admin WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE "Weird ""role"".é; -- x" GRANT USAGE ON TYPES TO app_reader;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_ls_dir(text) FROM PUBLIC;
GRANT SELECT (rolname) ON pg_catalog.pg_authid TO app_reader;

-- Large objects
SELECT lo_from_bytea(900001, decode(repeat('00ff5c2e0a', 200000), 'hex'));
SELECT lo_from_bytea(900002, '');
SELECT lo_from_bytea(900003, 'small');
COMMENT ON LARGE OBJECT 900003 IS E'a\n-- Name: x; Type: BLOB\n';
ALTER LARGE OBJECT 900003 OWNER TO app_owner;
GRANT SELECT ON LARGE OBJECT 900003 TO app_reader;
CREATE TABLE with_lo (o oid);
INSERT INTO with_lo VALUES (900001), (900003);

-- Comments on what is left
COMMENT ON TABLE everything IS 'quoted '' and "double" and \backslash';
COMMENT ON CONSTRAINT not_yet ON loose IS 'some day';
COMMENT ON TRIGGER "each;row" ON everything IS 'tr;';
COMMENT ON POLICY "mine; only" ON everything IS 'po;';
COMMENT ON RULE "log; --" ON hen IS 'ru;';
COMMENT ON TYPE mood IS 'ty;';
COMMENT ON INDEX gin IS 'in;';
COMMENT ON OPERATOR + (pair, pair) IS 'op;';
COMMENT ON AGGREGATE total(pair) IS 'ag;';
COMMENT ON CAST (integer AS pair) IS 'ca;';
COMMENT ON EVENT TRIGGER "no; ddl" IS 'ev;';
COMMENT ON PUBLICATION some_pub IS 'pu;';
COMMENT ON SUBSCRIPTION never_connected IS 'su;';
COMMENT ON SERVER dummy_server IS 'se;';
COMMENT ON STATISTICS some_statistics IS 'st;';
COMMENT ON TEXT SEARCH CONFIGURATION words IS 'ts;';
COMMENT ON MATERIALIZED VIEW full_matview IS 'mv;';
COMMENT ON DOMAIN email IS 'do;';
COMMENT ON COLLATION posix_copy IS 'co;';
REFRESH MATERIALIZED VIEW full_matview;
REFRESH MATERIALIZED VIEW on_matview;
