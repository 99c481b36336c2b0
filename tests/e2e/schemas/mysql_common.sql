-- What MySQL and MariaDB both have. The loader turns @CR@ into a carriage return and @DB@ into the database's name.
SET NAMES utf8mb4;
SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION', time_zone = '+00:00';

CREATE TABLE `numbers` (
  id bigint unsigned NOT NULL AUTO_INCREMENT PRIMARY KEY,
  t tinyint, tu tinyint unsigned, s smallint, m mediumint, i int(11), b bigint, bu bigint unsigned,
  d decimal(65,30), d0 decimal(10,0), f float, g double, z int(8) unsigned zerofill, bit1 bit(1), bit64 bit(64), yes boolean
) AUTO_INCREMENT=1000 COMMENT='it''s "quoted" \\ back `tick` -- ; \n line';
INSERT INTO numbers VALUES
 (1,-128,255,-32768,-8388608,-2147483648,-9223372036854775808,18446744073709551615,
  '99999999999999999999999999999999999.999999999999999999999999999999','-9999999999',-0.0,1e-300,42,b'1',b'1111111111111111111111111111111111111111111111111111111111111111',true),
 (7,127,0,32767,8388607,2147483647,9223372036854775807,0,'-0.000000000000000000000000000001',0,1.5,2.2250738585072014e-308,0,b'0',b'0',false),
 (NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,3.4e38,1.7976931348623157e308,NULL,NULL,NULL,NULL),
 (NULL,0,0,0,0,0,0,0,0,0,1e-38,0.1,99999999,b'1',b'101',true);
DELETE FROM numbers WHERE id = 1001;

CREATE TABLE `times` (
  id int PRIMARY KEY, d date, t time, t6 time(6), dt datetime, dt6 datetime(6), ts timestamp NULL, ts6 timestamp(6) NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6),
  y year
);
INSERT INTO times VALUES
 (1,'1000-01-01','-838:59:59','-838:59:59.000000','1000-01-01 00:00:00','9999-12-31 23:59:59.999999','1970-01-01 00:00:01','2038-01-19 03:14:07.999999',1901),
 (2,'9999-12-31','838:59:59','838:59:59.000000','9999-12-31 23:59:59','1000-01-01 00:00:00.000001',NULL,NULL,2155),
 (3,NULL,NULL,NULL,NULL,NULL,NULL,'2026-03-29 01:30:00.5',0);
SET SESSION sql_mode = 'ALLOW_INVALID_DATES';
CREATE TABLE `zero dates` (id int PRIMARY KEY, d date NOT NULL DEFAULT '0000-00-00', dt datetime DEFAULT '2021-02-30 10:00:00', ts timestamp NOT NULL DEFAULT '0000-00-00 00:00:00');
INSERT INTO `zero dates` VALUES (1,'0000-00-00','0000-00-00 00:00:00','0000-00-00 00:00:00'),(2,'2021-02-30','2021-02-31 23:59:59','2021-02-28 00:00:00'),(3,'2021-04-31','2021-06-31 00:00:00','2021-06-30 00:00:00');
CREATE TABLE `zero parts` (id int PRIMARY KEY, d date, dt datetime);
INSERT INTO `zero parts` VALUES (1,'2021-00-00','2021-05-00 00:00:00'),(2,'2021-11-31','0000-01-01 00:00:00');
SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION';

CREATE TABLE `texts` (
  id int PRIMARY KEY,
  c char(10), v varchar(255), tt tinytext, t text, mt mediumtext, lt longtext,
  l1 varchar(50) CHARACTER SET latin1 COLLATE latin1_german1_ci,
  e enum('ä','ß','a','it''s','','x,y') CHARACTER SET latin1,
  st set('é','ü','b','c"d') CHARACTER SET latin1 DEFAULT 'é,b',
  u2 varchar(20) CHARACTER SET ucs2, u16 varchar(20) CHARACTER SET utf16, cs varchar(10) COLLATE utf8mb4_bin,
  bi binary(16), vb varbinary(300), tb tinyblob, bl blob, mb mediumblob, lb longblob
) DEFAULT CHARSET=utf8mb4;
INSERT INTO texts (id, c, v, t) VALUES (1, '', '', ''), (2, NULL, NULL, NULL), (3, 'trail   ', '𝄞🦄 漢字 ', CONCAT('a', CHAR(0), 'b', CHAR(26), '\r\n\t\\''"`%_\\%\\_'));
INSERT INTO texts (id, v, t) VALUES (4, '-- Dumping data for table `x`', '--\n-- Table structure for table `numbers`\n--\n\nDROP TABLE IF EXISTS `numbers`;\n');
INSERT INTO texts (id, v, t) VALUES (5, ');\nINSERT INTO `texts` VALUES (99', '-- Dump completed on 2026-01-01  0:00:00\n'), (6, '/*!40103 SET TIME_ZONE=@OLD_TIME_ZONE */;', 'DELIMITER ;;\n\\! true\n*/;;');
INSERT INTO texts (id, l1, e, st, u2, u16, cs) VALUES (7, 'ÄÖÜß', 'ä', 'é,ü,b', '漢', '🦄', 'Ω'), (8, 'x', 'ß', '', '', '', ''), (9, NULL, '', 'c"d', NULL, NULL, NULL), (10, '', 'it''s', 'é', 'ü', 'ü', 'ü');
INSERT INTO texts (id, bi, vb, tb, bl, mb, lb) VALUES (11, 0x00, '', 0x00, 0x0A0D1A27225C60, REPEAT(0xFF, 70000), REPEAT(0x00010203, 300000)), (12, NULL, 0x2D2D0A, '', '', NULL, '');
INSERT INTO texts (id, vb, lb) SELECT 13, UNHEX(GROUP_CONCAT(LPAD(HEX(a.n * 16 + b.n), 2, '0') ORDER BY a.n, b.n SEPARATOR '')), UNHEX(GROUP_CONCAT(LPAD(HEX(a.n * 16 + b.n), 2, '0') ORDER BY a.n, b.n SEPARATOR ''))
 FROM (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9 UNION SELECT 10 UNION SELECT 11 UNION SELECT 12 UNION SELECT 13 UNION SELECT 14 UNION SELECT 15) a,
      (SELECT 0 n UNION SELECT 1 UNION SELECT 2 UNION SELECT 3 UNION SELECT 4 UNION SELECT 5 UNION SELECT 6 UNION SELECT 7 UNION SELECT 8 UNION SELECT 9 UNION SELECT 10 UNION SELECT 11 UNION SELECT 12 UNION SELECT 13 UNION SELECT 14 UNION SELECT 15) b;

CREATE TABLE `documents` (id int PRIMARY KEY, j json, p point NOT NULL, g geometry, poly polygon, gc geometrycollection, SPATIAL KEY (p), FULLTEXT KEY words (body), body text);
INSERT INTO documents VALUES
 (1, '{"a": [1, 2.5, null, true], "ü": "🦄\\n\\"\\\\"}', ST_GeomFromText('POINT(1 -2.5)'), ST_GeomFromText('LINESTRING(0 0,1 1,2 2)'), ST_GeomFromText('POLYGON((0 0,10 0,10 10,0 10,0 0),(1 1,2 1,2 2,1 2,1 1))'), ST_GeomFromText('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))'), 'some words to be found'),
 (2, NULL, ST_GeomFromText('POINT(0 0)'), NULL, NULL, NULL, NULL), (3, 'null', ST_GeomFromText('POINT(1e300 -1e-300)'), NULL, NULL, NULL, ''), (4, '"\\u0000"', ST_GeomFromText('POINT(0 0)'), NULL, NULL, NULL, 'x');

CREATE TABLE `derived` (
  id int PRIMARY KEY, a int NOT NULL, b varchar(20),
  virt int GENERATED ALWAYS AS (a * 2) VIRTUAL, kept varchar(60) GENERATED ALWAYS AS (CONCAT(b, ' -- ', a)) STORED COMMENT 'made',
  uid varchar(36) DEFAULT (UUID()), expr int DEFAULT (1 + 2 * 3), hidden int INVISIBLE DEFAULT 5,
  CONSTRAINT positive CHECK (a > -100), CHECK (b <> ');'), UNIQUE KEY by_kept (kept), KEY by_virt (virt)
);
INSERT INTO derived (id, a, b) VALUES (1, 10, 'x'), (2, -5, 'y;\n');
INSERT INTO derived (id, a, b, uid, hidden) VALUES (3, 3, NULL, 'fixed', NULL);

CREATE TABLE `husband` (id int PRIMARY KEY, wife int);
CREATE TABLE `wife` (id int PRIMARY KEY, husband int, CONSTRAINT `fk ``odd``` FOREIGN KEY (husband) REFERENCES husband (id) ON DELETE SET NULL ON UPDATE CASCADE);
ALTER TABLE husband ADD CONSTRAINT back FOREIGN KEY (wife) REFERENCES wife (id) ON DELETE CASCADE;
INSERT INTO husband VALUES (1, NULL), (2, NULL);
INSERT INTO wife VALUES (1, 1), (2, NULL);
UPDATE husband SET wife = 1 WHERE id = 1;
CREATE TABLE `zzz_parent` (id int PRIMARY KEY);
INSERT INTO zzz_parent VALUES (1), (2);
CREATE TABLE `aaa_child` (id int PRIMARY KEY, parent int, self int, FOREIGN KEY (parent) REFERENCES zzz_parent (id), FOREIGN KEY (self) REFERENCES aaa_child (id));
INSERT INTO aaa_child VALUES (1, 1, NULL), (2, 2, 1), (3, NULL, 3);

CREATE TABLE `parts_range` (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at))
 PARTITION BY RANGE (YEAR(at)) SUBPARTITION BY HASH (id) SUBPARTITIONS 2
 (PARTITION p0 VALUES LESS THAN (2000) COMMENT = 'old; ones', PARTITION p1 VALUES LESS THAN (2020), PARTITION `p max` VALUES LESS THAN MAXVALUE);
INSERT INTO parts_range VALUES (1, '1999-01-01'), (2, '2010-01-01'), (3, '2030-01-01');
CREATE TABLE `parts_list` (region varchar(10) NOT NULL, n int) PARTITION BY LIST COLUMNS (region) (PARTITION north VALUES IN ('a', 'ä'), PARTITION south VALUES IN ('z', ''));
INSERT INTO parts_list VALUES ('a', 1), ('z', 2), ('', 3);
CREATE TABLE `parts_key` (id int PRIMARY KEY) PARTITION BY KEY (id) PARTITIONS 3;
INSERT INTO parts_key VALUES (1), (2), (3), (4);

CREATE TABLE `no key` (a int, b text);
INSERT INTO `no key` VALUES (1, 'twice'), (1, 'twice'), (NULL, NULL);
CREATE TABLE `my isam` (id int PRIMARY KEY, t text, FULLTEXT KEY (t)) ENGINE=MyISAM CHECKSUM=1 PACK_KEYS=1;
INSERT INTO `my isam` VALUES (1, 'not transactional');
CREATE TABLE `in memory` (id int PRIMARY KEY, KEY USING BTREE (id)) ENGINE=MEMORY MAX_ROWS=1000;
INSERT INTO `in memory` VALUES (5), (6);
CREATE TABLE `squeezed` (id int PRIMARY KEY, t text) ENGINE=InnoDB ROW_FORMAT=COMPRESSED KEY_BLOCK_SIZE=8 STATS_PERSISTENT=1;
INSERT INTO squeezed VALUES (1, REPEAT('abc', 1000));
CREATE TABLE `empty` (id int);
CREATE TABLE `indexed` (a int, b varchar(300), c int, UNIQUE KEY `u` (a, b(20) DESC), KEY `prefix` (b(10)), KEY `com` (c) COMMENT 'on; c');
INSERT INTO indexed VALUES (1, 'x', 3), (NULL, NULL, NULL), (NULL, NULL, NULL);

CREATE TABLE `odd ``name``; -- "x" 'y' \ /* z` (`a.b` int, ` lead` int, `new
line` int, `ключ 漢` int, `%` int, `select` int, `1` int, PRIMARY KEY (`a.b`), KEY `k
ey` (`new
line`));
INSERT INTO `odd ``name``; -- "x" 'y' \ /* z` VALUES (1, 2, 3, 4, 5, 6, 7);
CREATE TABLE `line
-- Table structure for table ``fake``` (id int PRIMARY KEY);
INSERT INTO `line
-- Table structure for table ``fake``` VALUES (1);
CREATE TABLE `dotted.name` (id int);
INSERT INTO `dotted.name` VALUES (9);

CREATE TABLE `audit` (id int AUTO_INCREMENT PRIMARY KEY, what varchar(200));
DELIMITER ;;
CREATE TRIGGER first_of_two BEFORE INSERT ON numbers FOR EACH ROW BEGIN
  -- a comment; with ;
  SET NEW.i = COALESCE(NEW.i, 0);
END;;
CREATE TRIGGER second_of_two BEFORE INSERT ON numbers FOR EACH ROW FOLLOWS first_of_two SET NEW.i = NEW.i + 1;;
CREATE TRIGGER zeroth BEFORE INSERT ON numbers FOR EACH ROW PRECEDES first_of_two SET NEW.i = NEW.i * 2;;
CREATE TRIGGER after_insert AFTER INSERT ON numbers FOR EACH ROW INSERT INTO audit (what) VALUES (CONCAT('fired ', NEW.id));;
CREATE TRIGGER after_delete AFTER DELETE ON numbers FOR EACH ROW INSERT INTO audit (what) VALUES (CONCAT('gone ', OLD.id));;
CREATE DEFINER=`missing ``user```@`ho%st` TRIGGER `odd ``trigger``` BEFORE UPDATE ON texts FOR EACH ROW SET NEW.c = NEW.c;;
CREATE TRIGGER `deny all` BEFORE INSERT ON texts FOR EACH ROW SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'rows are restored before triggers';;

CREATE PROCEDURE crlf (IN a int, OUT b int, INOUT c varchar(10))@CR@
  MODIFIES SQL DATA SQL SECURITY INVOKER COMMENT 'has; it''s'@CR@
BEGIN@CR@
  /* a body with CRLF */ SET b = a;@CR@
  SELECT '@CR@
', "--
-- Dumping data for table `x`
--
";@CR@
/*
\! touch never
\q
*/
  SELECT '
\! touch never
\\q
';
  -- DELIMITER ; it's
  # a comment that "ends here
END;;
CREATE FUNCTION `fn ``odd```(x text CHARSET utf8mb4) RETURNS varchar(100) CHARSET utf8mb4 DETERMINISTIC NO SQL RETURN CONCAT(x, '🦄 ;; ', "dq", 'it''s', '\\');;
CREATE FUNCTION plain() RETURNS int DETERMINISTIC READS SQL DATA RETURN (SELECT COUNT(*) FROM audit);;
SET SESSION sql_mode = 'ANSI_QUOTES,PIPES_AS_CONCAT,NO_BACKSLASH_ESCAPES';;
CREATE PROCEDURE "ansi"() BEGIN SELECT "id" || '\' FROM "audit"; SELECT 'c:\dir\', "what" FROM audit; END;;
CREATE TRIGGER "ansi trigger" AFTER DELETE ON "audit" FOR EACH ROW BEGIN SET @x = 'c:\' || ';'; END;;
SET SESSION sql_mode = 'ANSI_QUOTES';;
CREATE PROCEDURE ansi_only() BEGIN SELECT "it's" FROM (SELECT 1 AS "it's") AS "x;"; END;;
SET SESSION sql_mode = 'NO_BACKSLASH_ESCAPES,ALLOW_INVALID_DATES';;
CREATE EVENT `raw event` ON SCHEDULE EVERY 1 DAY DISABLE DO BEGIN SET @a = '\'; SET @b = '''; --'; END;;
SET SESSION sql_mode = 'STRICT_TRANS_TABLES,NO_ENGINE_SUBSTITUTION';;
SET SESSION time_zone = '+05:30';;
CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2037-01-01 03:00:00' ENDS '2037-12-31 00:00:00' ON COMPLETION PRESERVE COMMENT 'it''s ENABLE DO' DO BEGIN
  INSERT INTO audit (what) VALUES ('ENABLE DO; ON COMPLETION PRESERVE ENABLE');
END;;
CREATE DEFINER=nobody@nowhere EVENT once ON SCHEDULE AT '2037-06-01 00:00:00' ENABLE DO DELETE FROM audit WHERE id < 0;;
SET SESSION time_zone = '+00:00';;
DELIMITER ;

CREATE ALGORITHM=MERGE SQL SECURITY INVOKER VIEW `aa on zz` AS SELECT * FROM (SELECT 1 AS n) q;
CREATE VIEW zz AS SELECT id, i FROM numbers WHERE i > -5 WITH CASCADED CHECK OPTION;
CREATE OR REPLACE ALGORITHM=TEMPTABLE VIEW `aa on zz` AS SELECT z.id, t.v AS `odd ``col```, plain() AS p FROM zz z JOIN texts t ON t.id = z.id;
CREATE DEFINER=gone@`10.%` SQL SECURITY DEFINER VIEW orphaned AS SELECT a.id, a.what FROM audit a WHERE a.what LIKE 'x''%\\_';
CREATE VIEW `on a view on a view` AS SELECT COUNT(*) AS c, '🦄' AS emoji, 'ä' COLLATE utf8mb4_bin AS bin FROM `aa on zz`;
CREATE VIEW `odd ``view``; --` AS SELECT `a.b` AS `new
line`, `%` FROM `odd ``name``; -- "x" 'y' \ /* z`;
CREATE VIEW `by name` AS SELECT `@DB@`.plain() AS x, `@DB@`.a.id, `@DB@`.`a`.`what` FROM `@DB@`.audit a;
CREATE TABLE `@DB@ other`.outside (id int);
CREATE VIEW elsewhere AS SELECT o.id, a.what, `@DB@`.id AS aliased FROM audit a JOIN `@DB@ other`.outside o ON o.id = a.id JOIN `@DB@`.`aaa_child` `@DB@` ON `@DB@`.id = a.id;
