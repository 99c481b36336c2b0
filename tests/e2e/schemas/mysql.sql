-- What MySQL alone has.
CREATE TABLE functional (id int PRIMARY KEY, j json, a int, b varchar(40), KEY f ((a * 2), (LOWER(b)) DESC), KEY multi ((CAST(j->'$.tags' AS char(20) ARRAY))), KEY unseen (a) INVISIBLE, KEY down (a DESC, b ASC));
INSERT INTO functional VALUES (1, '{"tags": ["x", "y"], "big": 18446744073709551615, "f": 1.0, "neg": -0.0}', 3, 'B'), (2, NULL, NULL, NULL);
CREATE TABLE positions (id int PRIMARY KEY, p point NOT NULL SRID 4326, SPATIAL KEY (p));
INSERT INTO positions VALUES (1, ST_GeomFromText('POINT(52.5 13.4)', 4326)), (2, ST_SRID(POINT(0, 0), 4326));
CREATE TABLE not_enforced (a int, CONSTRAINT loose CHECK (a > 0) NOT ENFORCED);
INSERT INTO not_enforced VALUES (-1);
CREATE TABLE attributes (a int, b int COLUMN_FORMAT DYNAMIC) COMPRESSION='zlib';
INSERT INTO attributes VALUES (1, 2);
CREATE TABLE embedding (id int PRIMARY KEY, v vector(3));
INSERT INTO embedding VALUES (1, TO_VECTOR('[1, -2.5, 3e10]'));
CREATE TABLE general (id int PRIMARY KEY) TABLESPACE=innodb_file_per_table;
INSERT INTO general VALUES (1);
CREATE TABLE no_visible_key (a int) ;
