-- Roles and a tablespace, made once on a server. The tests that log in know these passwords.
CREATE ROLE app_owner LOGIN PASSWORD 'owner''s "pass\word"';
CREATE ROLE app_reader NOLOGIN;
CREATE ROLE app_admin LOGIN CREATEDB CREATEROLE PASSWORD 'adm:in $dollar$ ; -- not a comment';
CREATE ROLE "Weird ""role"".é; -- x" LOGIN PASSWORD 'pä ß密码' CONNECTION LIMIT 7 VALID UNTIL '2099-12-31 23:59:59+00';
CREATE ROLE app_expired LOGIN PASSWORD 'expired' VALID UNTIL '2001-01-01 00:00:00+00';
CREATE ROLE app_plain LOGIN;
CREATE ROLE "CURRENT_USER x" BYPASSRLS REPLICATION;
GRANT app_reader TO app_owner WITH ADMIN OPTION;
GRANT app_reader TO "Weird ""role"".é; -- x";
SELECT current_setting('server_version_num')::int >= 160000 AS v16 \gset
\if :v16
GRANT app_owner TO app_admin WITH INHERIT FALSE, SET TRUE;
SET ROLE app_owner;
GRANT app_reader TO app_admin WITH INHERIT TRUE, SET FALSE;
RESET ROLE;
\else
GRANT app_owner TO app_admin;
\endif
ALTER ROLE app_owner SET work_mem = '7MB';
ALTER ROLE app_owner SET search_path = "$user", app, public;
ALTER ROLE "Weird ""role"".é; -- x" SET application_name = 'it''s; "odd"';
ALTER ROLE ALL SET idle_in_transaction_session_timeout = '11min';
COMMENT ON ROLE app_owner IS E'owns\nthe app; -- really';
SELECT current_setting('server_version_num')::int >= 150000 AS v15 \gset
\if :v15
GRANT SET ON PARAMETER log_min_duration_statement TO app_admin;
\endif
CREATE TABLESPACE spare OWNER app_owner LOCATION '';
GRANT CREATE ON TABLESPACE spare TO app_admin;
COMMENT ON TABLESPACE spare IS 'room to spare';
