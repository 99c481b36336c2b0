"""Files of others: what they are, and what their text needs of a server."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vya_backupd.engines.foreign_kinds import Origin, origin_of, strange_file, strange_folder, whole_server
from vya_backupd.engines.foreign_survey import Found, survey_for
from vya_backupd.model.instance import EngineKind

TAR = b"toc.dat".ljust(257, b"\0") + b"ustar\x0000"
POSTGRESQL = b"""--
-- PostgreSQL database dump
--
-- Dumped from database version 16.4 (Debian 16.4-1)
-- Dumped by pg_dump version 17.1

CREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA public;
CREATE TABLE public.t (a text);
ALTER TABLE public.t OWNER TO "Boss ""1";
COPY public.t (a) FROM stdin;
ALTER TABLE public.t OWNER TO nobody;
CREATE DATABASE x;
\\.
CREATE FUNCTION public.f() RETURNS text LANGUAGE sql AS $$ DROP DATABASE x; CREATE DATABASE y; $$;
DROP TABLE public.t;
GRANT SELECT ON TABLE public.t TO reader;
"""
MYSQL = b"""-- MySQL dump 10.19  Distrib 10.5.23-MariaDB, for debian-linux-gnu (x86_64)
--
-- Host: localhost    Database: my shop
-- Server version\t10.5.23-MariaDB-0+deb11u1

CREATE TABLE `t` (`a` text);
INSERT INTO `t` VALUES ('x;\\nUSE `y`;\\nCREATE DEFINER=`c`@`d` VIEW'),(';DROP DATABASE z;');
-- USE `z`;
/*!50001 CREATE ALGORITHM=UNDEFINED */
/*!50013 DEFINER=`ghost`@`%` SQL SECURITY DEFINER */
/*!50001 VIEW `v` AS select 1 */;
DELIMITER ;;
CREATE DEFINER=`a``b`@`h` PROCEDURE p() BEGIN CREATE DATABASE q; DROP SCHEMA q; END ;;
DELIMITER ;
"""


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PGDMP\x01\x0e", "custom format"),
        (TAR, "tar format"),
        (TAR.replace(b"toc.dat", b"abc.sql"), "tar file"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"PK\x03\x04", "zip"),
        ("CREATE".encode("utf-16"), "UTF-16"),
        ("CREATE TABLE t (".encode("utf-16-le"), "UTF-16"),
        ("CREATE TABLE t (".encode("utf-16-be"), "UTF-16"),
        (b"\x1f\x8b\x08\0", "packed twice"),
        (b'<?xml version="1.0"?>\n<mysqldump', "XML"),
    ],
)
def test_what_is_no_plain_dump_is_called_by_its_name(head: bytes, words: str) -> None:
    found = strange_file(head)
    assert found is not None
    assert words in found.what
    assert found.way


def test_plain_dumps_are_nothing_strange() -> None:
    for text in (POSTGRESQL, MYSQL, b"", b"hello"):
        assert strange_file(text) is None
        assert whole_server(text) is None
    assert whole_server(b"--\n-- PostgreSQL database cluster dump\n--\n") is not None


def test_folders_of_others() -> None:
    assert strange_folder({"a.sql", "b"}) is None
    for name, words in (("toc.dat", "directory format"), ("metadata", "mydumper"), ("@.json", "MySQL Shell")):
        found = strange_folder({name, "x"})
        assert found is not None
        assert words in found.what


def test_a_dump_says_of_what_it_is() -> None:
    assert origin_of(POSTGRESQL) == Origin("pg_dump 17.1", EngineKind.POSTGRESQL, "16.4")
    assert origin_of(MYSQL) == Origin("mariadb-dump", EngineKind.MARIADB, "10.5.23", "my shop")
    mysql = b"-- MySQL dump 10.13  Distrib 8.0.36, for Linux (x86_64)\n--\n-- Server version\t8.0.36\n"
    assert origin_of(mysql) == Origin("mysqldump", EngineKind.MYSQL, "8.0.36")
    php = b"-- phpMyAdmin SQL Dump\n-- version 5.2.1\n--\n-- Server version: 10.4.32-MariaDB\n-- Database: `shop`\n"
    assert str(origin_of(php)) == "mariadb 10.4.32, by phpMyAdmin, database 'shop'"
    assert origin_of(b"hello\n") == Origin()


def _surveyed(kind: EngineKind, pieces: list[bytes]) -> Found:
    survey = survey_for(kind, lambda statement: statement.startswith(b"GRANT"))
    for piece in pieces:
        survey.feed(piece)
    survey.finish()
    return survey.found


@given(st.lists(st.integers(0, len(POSTGRESQL)), max_size=5))
def test_needs_of_postgresql_however_the_text_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(POSTGRESQL)]
    found = _surveyed(EngineKind.POSTGRESQL, [POSTGRESQL[a:b] for a, b in itertools.pairwise(edges)])
    assert found.needs.roles == {'Boss "1'}
    assert found.needs.extensions == {"citext"}
    assert (found.elsewhere, found.drops, found.beyond) == ("", "", "")


@given(st.lists(st.integers(0, len(MYSQL)), max_size=5))
def test_definers_of_mysql_however_the_text_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(cuts), len(MYSQL)]
    found = _surveyed(EngineKind.MARIADB, [MYSQL[a:b] for a, b in itertools.pairwise(edges)])
    assert found.definers == {("ghost", "%"), ("a`b", "h")}
    assert (found.elsewhere, found.beyond) == ("", "")


@pytest.mark.parametrize(
    ("kind", "statement", "elsewhere", "drops"),
    [
        (EngineKind.POSTGRESQL, "CREATE DATABASE x WITH TEMPLATE = template0;", True, False),
        (EngineKind.POSTGRESQL, "DROP TABLE public.t;", False, True),
        (EngineKind.POSTGRESQL, "ALTER TABLE ONLY public.t DROP CONSTRAINT t_pkey;", False, True),
        (EngineKind.POSTGRESQL, "ALTER TABLE IF EXISTS ONLY public.t DROP CONSTRAINT IF EXISTS k;", False, False),
        (EngineKind.MYSQL, "use x;\n", True, False),
        (EngineKind.MYSQL, "/*!40000 DROP DATABASE IF EXISTS `x`*/;\n", True, False),
        (EngineKind.MYSQL, "CREATE DATABASE /*!32312 IF NOT EXISTS*/ `x`;\n", True, False),
        (EngineKind.MYSQL, "create schema x;\n", True, False),
        (EngineKind.MYSQL, "DROP TABLE IF EXISTS `use`;\n", False, False),
    ],
)
def test_what_would_happen_beside_the_database(kind: EngineKind, statement: str, elsewhere: bool, drops: bool) -> None:
    found = _surveyed(kind, [f"-- x\n{statement}".encode()])
    assert (bool(found.elsewhere), bool(found.drops)) == (elsewhere, drops)


@pytest.mark.parametrize(
    ("kind", "statement", "shown"),
    [
        (EngineKind.MYSQL, "SET GLOBAL read_only = 1;", "SET GLOBAL read_only"),
        (EngineKind.MYSQL, "/*!80000 set @@persist.x = 'secret' */;", "/*!80000 set @@persist.x"),
        (EngineKind.MYSQL, "SET @a = 1, @@global.read_only = 1;", "SET @a ="),
        (EngineKind.MYSQL, "GRANT ALL ON *.* TO a@b IDENTIFIED BY 'secret';", "GRANT ALL ON"),
        (EngineKind.MYSQL, "CREATE OR REPLACE USER a@b IDENTIFIED BY 'secret';", "CREATE OR REPLACE"),
        (EngineKind.MYSQL, "RESET MASTER;", "RESET MASTER;"),
        (EngineKind.MYSQL, "SET @a = @@GLOBAL.read_only;", ""),
        (EngineKind.MYSQL, "CREATE TABLE `user` (`grant` int);", ""),
        (EngineKind.MYSQL, "CHANGE MASTER TO MASTER_PASSWORD='secret';", ""),
        (EngineKind.POSTGRESQL, "ALTER SYSTEM SET a = 1;", "ALTER SYSTEM SET"),
        (EngineKind.POSTGRESQL, "CREATE USER a PASSWORD 'secret';", "CREATE USER a"),
        (EngineKind.POSTGRESQL, "REVOKE a FROM b;", "REVOKE a FROM"),
        (EngineKind.POSTGRESQL, "COPY t FROM PROGRAM 'x';", "COPY t FROM"),
        (EngineKind.POSTGRESQL, "CREATE USER  MAPPING FOR a SERVER s;", ""),
        (EngineKind.POSTGRESQL, "GRANT SELECT ON TABLE t TO a;", ""),
        (EngineKind.POSTGRESQL, 'ALTER ROLE "a b" IN DATABASE d SET x = 1;', ""),
    ],
)
def test_what_would_change_the_server(kind: EngineKind, statement: str, shown: str) -> None:
    assert _surveyed(kind, [f"-- x\n{statement}\n".encode()]).beyond == shown
