-- What belongs to a database itself and is in no plain dump of it. psql variable "name" is the database.
ALTER DATABASE :"name" OWNER TO app_owner;
COMMENT ON DATABASE :"name" IS E'TO {database} "quoted"; it''s\n-- a comment';
ALTER DATABASE :"name" WITH CONNECTION LIMIT 17;
ALTER DATABASE :"name" SET work_mem = '9MB';
ALTER DATABASE :"name" SET search_path = "$user", app, "Odd ""schema"".x", public;
ALTER DATABASE :"name" SET "app.setting" = 'it''s {braces} and "quotes"; \ --';
ALTER DATABASE :"name" SET default_transaction_isolation = 'repeatable read';
ALTER ROLE app_owner IN DATABASE :"name" SET statement_timeout = '61s';
ALTER ROLE "Weird ""role"".é; -- x" IN DATABASE :"name" SET "app.setting" = 'own';
REVOKE ALL ON DATABASE :"name" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"name" TO app_reader;
GRANT ALL ON DATABASE :"name" TO app_admin WITH GRANT OPTION;
