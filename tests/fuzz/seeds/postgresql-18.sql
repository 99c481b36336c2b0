--
-- PostgreSQL database dump
--

\restrict nyTqeJK1iHeNbfjxa9DgrINCt5ajYf6w5KHTpi7xTk94Wb9E2QNfwTlZ9loHGf1

-- Dumped from database version 18.6
-- Dumped by pg_dump version 18.6

SET statement_timeout = 0;
SET lock_timeout = 0;
SET idle_in_transaction_session_timeout = 0;
SET transaction_timeout = 0;
SET client_encoding = 'UTF8';
SET standard_conforming_strings = on;
SELECT pg_catalog.set_config('search_path', '', false);
SET check_function_bodies = false;
SET xmloption = content;
SET client_min_messages = warning;
SET row_security = off;

--
-- Name: mood; Type: TYPE; Schema: public; Owner: postgres
--

CREATE TYPE public.mood AS ENUM (
    'so',
    'it''s'
);


ALTER TYPE public.mood OWNER TO postgres;

--
-- Name: f(); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.f() RETURNS integer
    LANGUAGE plpgsql
    AS $$ begin return 1; /* ; */ end $$;


ALTER FUNCTION public.f() OWNER TO postgres;

--
-- Name: g(integer); Type: FUNCTION; Schema: public; Owner: postgres
--

CREATE FUNCTION public.g(x integer) RETURNS integer
    LANGUAGE sql
    BEGIN ATOMIC
 SELECT
         CASE
             WHEN (x > 0) THEN 1
             ELSE 2
         END AS "case";
END;


ALTER FUNCTION public.g(x integer) OWNER TO postgres;

SET default_tablespace = '';

SET default_table_access_method = heap;

--
-- Name: mv; Type: MATERIALIZED VIEW; Schema: public; Owner: postgres
--

CREATE MATERIALIZED VIEW public.mv AS
 SELECT 1 AS x
  WITH NO DATA;


ALTER MATERIALIZED VIEW public.mv OWNER TO postgres;

--
-- Name: odd "one; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public."odd ""one" (
    id integer NOT NULL,
    p integer,
    t text,
    m public.mood,
    b bytea,
    CONSTRAINT "odd ""one_t_check" CHECK ((t <> ');'::text))
);


ALTER TABLE public."odd ""one" OWNER TO postgres;

--
-- Name: odd "one_id_seq; Type: SEQUENCE; Schema: public; Owner: postgres
--

CREATE SEQUENCE public."odd ""one_id_seq"
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;


ALTER SEQUENCE public."odd ""one_id_seq" OWNER TO postgres;

--
-- Name: odd "one_id_seq; Type: SEQUENCE OWNED BY; Schema: public; Owner: postgres
--

ALTER SEQUENCE public."odd ""one_id_seq" OWNED BY public."odd ""one".id;


--
-- Name: parent; Type: TABLE; Schema: public; Owner: postgres
--

CREATE TABLE public.parent (
    i integer NOT NULL,
    at timestamp with time zone DEFAULT now()
);


ALTER TABLE public.parent OWNER TO postgres;

--
-- Name: TABLE parent; Type: COMMENT; Schema: public; Owner: postgres
--

COMMENT ON TABLE public.parent IS '--
-- Name: x; Type: TABLE; Schema: public; Owner: o
--';


--
-- Name: v; Type: VIEW; Schema: public; Owner: postgres
--

CREATE VIEW public.v AS
 SELECT i
   FROM public.parent;


ALTER VIEW public.v OWNER TO postgres;

--
-- Name: odd "one id; Type: DEFAULT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public."odd ""one" ALTER COLUMN id SET DEFAULT nextval('public."odd ""one_id_seq"'::regclass);


--
-- Data for Name: odd "one; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public."odd ""one" (id, p, t, m, b) FROM stdin;
1	1	a\tb\nc\\.	it's	\\x00ff
2	2	\N	so	\N
\.


--
-- Data for Name: parent; Type: TABLE DATA; Schema: public; Owner: postgres
--

COPY public.parent (i, at) FROM stdin;
1	2026-11-23 15:16:21.599155+00
2	2026-11-23 15:16:21.599155+00
\.


--
-- Name: odd "one_id_seq; Type: SEQUENCE SET; Schema: public; Owner: postgres
--

SELECT pg_catalog.setval('public."odd ""one_id_seq"', 2, true);


--
-- Name: 16429; Type: BLOB METADATA; Schema: -; Owner: postgres
--

SELECT pg_catalog.lo_create('16429');

ALTER LARGE OBJECT 16429 OWNER TO postgres;

--
-- Data for Name: 16429; Type: BLOBS; Schema: -; Owner: postgres
--

BEGIN;

SELECT pg_catalog.lo_open('16429', 131072);
SELECT pg_catalog.lowrite(0, '\x0102');
SELECT pg_catalog.lo_close(0);

COMMIT;

--
-- Name: odd "one odd "one_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public."odd ""one"
    ADD CONSTRAINT "odd ""one_pkey" PRIMARY KEY (id);


--
-- Name: parent parent_pkey; Type: CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public.parent
    ADD CONSTRAINT parent_pkey PRIMARY KEY (i);


--
-- Name: odd "one_t_idx; Type: INDEX; Schema: public; Owner: postgres
--

CREATE INDEX "odd ""one_t_idx" ON public."odd ""one" USING btree (t);


--
-- Name: parent g; Type: TRIGGER; Schema: public; Owner: postgres
--

CREATE TRIGGER g BEFORE INSERT ON public.parent FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger();


--
-- Name: odd "one odd "one_p_fkey; Type: FK CONSTRAINT; Schema: public; Owner: postgres
--

ALTER TABLE ONLY public."odd ""one"
    ADD CONSTRAINT "odd ""one_p_fkey" FOREIGN KEY (p) REFERENCES public.parent(i);


--
-- Name: TABLE parent; Type: ACL; Schema: public; Owner: postgres
--

GRANT SELECT ON TABLE public.parent TO PUBLIC;


--
-- Name: mv; Type: MATERIALIZED VIEW DATA; Schema: public; Owner: postgres
--

REFRESH MATERIALIZED VIEW public.mv;


--
-- PostgreSQL database dump complete
--

\unrestrict nyTqeJK1iHeNbfjxa9DgrINCt5ajYf6w5KHTpi7xTk94Wb9E2QNfwTlZ9loHGf1

