--
-- PostgreSQL database cluster dump
--

\restrict s1AMTAOycTSHpqj8NPm47p8g2VsefhwBf04aFX71KHchGpL0Bmren8iRaqPeeMa

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:TbOlO0KKwX7D5DC14WcK/g==$1KQbQOpjG9zTOWmpw5hGU5GnDbJo0Pnjz8IBo/8xHck=:ralUYPp8sm3sxBTcAs2MVcR0S4WRvyohJpnnOd6NV7I=';

--
-- User Configurations
--








\unrestrict s1AMTAOycTSHpqj8NPm47p8g2VsefhwBf04aFX71KHchGpL0Bmren8iRaqPeeMa

--
-- PostgreSQL database cluster dump complete
--

