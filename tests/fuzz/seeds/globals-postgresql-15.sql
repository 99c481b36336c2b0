--
-- PostgreSQL database cluster dump
--

\restrict mdxpctxVFBHJESYT5QnN2Kxtwee5F8PTcRJT3vce7OAGc9asfbgp3TfDZQKIo5U

SET default_transaction_read_only = off;

SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;

--
-- Roles
--

CREATE ROLE postgres;
ALTER ROLE postgres WITH SUPERUSER INHERIT CREATEROLE CREATEDB LOGIN REPLICATION BYPASSRLS PASSWORD 'SCRAM-SHA-256$4096:7cYhHkeVoOnGwQ8O+6dVgA==$qyMuPPfBj/klOnY/Hiy5AD5SD1oO5fTnA6RzMnlSufU=:KJhVWguTL2JQ7Oz43ne79TxD5qHstK+XAX0o/c+Hu6w=';

--
-- User Configurations
--








\unrestrict mdxpctxVFBHJESYT5QnN2Kxtwee5F8PTcRJT3vce7OAGc9asfbgp3TfDZQKIo5U

--
-- PostgreSQL database cluster dump complete
--

