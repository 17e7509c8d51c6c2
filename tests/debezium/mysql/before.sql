-- What is there before the snapshot. Paragraphs are sent one after the other, and each statement is a transaction unless it says
-- otherwise. See changes.sql for what happens then.

-- One row per kind of column, and none.
create table plain (id int primary key, name varchar(100), quantity smallint, total decimal(10,2), at timestamp(6) null, raw varbinary(20));
insert into plain values (1, 'there', 1, 12.30, '2026-01-02 03:04:05.678901', x'00ff'), (2, null, null, null, null, null);

create table vacant (id int primary key, name text);

-- Without a primary key.
create table keyless (id int, name text);
insert into keyless values (1, 'there'), (1, 'there');

create table unique_index_only (code varchar(10) not null, name text, unique key unique_index_only_code (code));
insert into unique_index_only values ('a', 'there');

create table unique_nullable (code varchar(10), name text, unique key unique_nullable_code (code));
insert into unique_nullable values ('a', 'there'), (null, 'there');

create table unique_two (a int not null, b int not null, c int not null, unique key unique_two_z (a), unique key unique_two_b (c, b));
insert into unique_two values (1, 2, 3);

-- The first by definition is not the first by name, and one of the whole column is before one of its first characters.
create table unique_order (a int, b int not null, c varchar(20) not null, d int not null, unique key z_of_null (a), unique key y_of_characters (c(3)), unique key x_first (d), unique key a_second (b));
insert into unique_order values (null, 2, 'there', 4);
create table unique_characters (v varchar(20) not null, n int, unique key unique_characters_v (v(5)));
insert into unique_characters values ('there', 1);
create table unique_expression (a int not null, b int not null, unique key unique_expression_a ((a + 1)), unique key unique_expression_b (b));
insert into unique_expression values (1, 2);
create table unique_then_primary (a int not null, b int not null, v text, unique key unique_then_primary_a (a), unique key unique_then_primary_b (b));
insert into unique_then_primary values (1, 2, 'there');

-- The key's columns are not in the table's order.
create table composite_key (a int, v text, b varchar(20), c char(36), primary key (c, b, a));
insert into composite_key values (1, 'there', 'b,"}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');

-- A key of every type that one can have.
create table typed_key (
  big bigint unsigned, tiny tinyint, n decimal(10,3), f double, d date, dt datetime, dt6 datetime(6), ts timestamp(3), t time(3), y year, e enum('a', 'b'), s set('x', 'y'), one bit, bits bit(12), c char(4), vb varbinary(8), b binary(4), v int,
  primary key (big, tiny, n, f, d, dt, dt6, ts, t, y, e, s, one, bits, c, vb));
insert into typed_key values (1, -1, 1.5, 0.25, '2026-01-01', '2026-01-01 01:02:03', '2026-01-01 01:02:03.000004', '2026-01-01 01:02:03.004', '01:02:03.004', 2026, 'b', 'x,y', b'1', b'101', 'c', x'00ff', x'01', 1);

-- Whole numbers at the ends of their ranges, and what is written as they are.
create table integers (id int primary key, t tinyint, tu tinyint unsigned, b boolean, s smallint, su smallint unsigned, m mediumint, mu mediumint unsigned, i int, iu int unsigned, big bigint, z int(8) unsigned zerofill, y year);
insert into integers values
  (1, -128, 0, false, -32768, 0, -8388608, 0, -2147483648, 0, -9223372036854775808, 0, 1901), (2, 127, 255, true, 32767, 65535, 8388607, 16777215, 2147483647, 4294967295, 9223372036854775807, 7, 2155),
  (3, null, null, null, null, null, null, null, null, null, null, null, null), (4, 1, 1, -1, 1, 1, 1, 1, 1, 1, 1, 99999999, '18');

create table unsigned_keys (id serial primary key, n bigint unsigned default 7, z bigint(20) unsigned zerofill);
insert into unsigned_keys values (1, 9223372036854775807, 5), (9223372036854775807, null, null), (12, 0, 0);
-- More than a signed integer can hold.
create table large_keys (id bigint unsigned primary key, n bigint unsigned default 18446744073709551615);
insert into large_keys values (1, 9223372036854775807), (18446744073709551615, 18446744073709551615), (9223372036854775808, 0);

create table year_zero (id int primary key, y year);
insert into year_zero values (1, 0);

-- Numbers as Java prints them.
create table numbers (id int primary key, f float, d double, f24 float(24), f25 float(25), md float(35,5), n decimal(65,30), k decimal(38,10), w decimal(7), dd double(10,3));
insert into numbers values
  (1, 0, 0, 0, 0, 0, 0, 0, 0, 0), (2, -0.0e0, -0.0e0, -1, -1, -1, -0.000000000000000000000000000001, -0.0000000001, -1, -1), (3, 1e7, 1e7, 1e7, 1e7, 30.123456, 12345678901234567890123456789012345.123456789012345678901234567891, 1, 234.5, 1.2345),
  (4, 9999999, 9999999, 9999999, 9999999, 5.61, 100, 9999999999999999999999999999.9999999999, 128, 0.5), (5, 1e-3, 1e-3, 1e-3, 1e-3, 0.001, 127, 127, 127, 0.001), (6, 9.99e-4, 9.99e-4, 9.99e-4, 9.99e-4, 0.1, 255, 255, 255, 255),
  (7, 1.5, 123456.789, 64.1, 64.1, 64.1, -128, -128, -128, -129), (8, 3.4028234e38, 1.7976931348623157e308, 0.1, 0.1, 0.1, 1.50, 1.5, 256, 1), (9, null, null, null, null, null, null, null, null, null);

create table unsigned_numbers (id int primary key, f float unsigned, d double unsigned, n decimal(8,2) unsigned zerofill, r real, p double precision, x dec(5), fi fixed(6,1), nu numeric);
insert into unsigned_numbers values (1, 64.1234, 1e300, 12.5, 1.1, 2.2, 3, 4.4, 5), (2, null, null, null, null, null, null, null, null);

-- Bits.
create table bit_fields (id int primary key, one bit(1), two bit(2), eight bit(8), nine bit(9), many bit(64));
insert into bit_fields values (1, b'1', b'10', b'10000000', b'100000001', b'1011011100000111011011011'), (2, b'0', b'00', b'0', b'1', b'0'), (3, 1, 3, 255, 511, 18446744073709551615), (4, null, null, null, null, null);

-- Characters and bytes of every kind.
create table characters (id int primary key, v text, key_too varchar(20), latin varchar(50) character set latin1, wide varchar(50) character set ucs2, c char(10), b binary(5), vb varbinary(20), bl blob, tb tinyblob, lb longblob, j json);
insert into characters values
  (1, concat(char(1 using utf8mb4), char(8, 9, 10, 11, 12, 13, 31 using utf8mb4), ' ', char(127 using utf8mb4)), 'a', 'é€', 'ž', 'x  ', x'0102', x'', x'', x'00', x'ff', '{"b": 1, "a": [1, 2.50, null, true, "é😀\\""]}'),
  (2, '"\\/''<>&=+', 'b', '', '', '', x'0000000000', x'0000', x'deadbeef', x'', x'', '"text"'), (3, 'žluťoučký kůň', 'c', 'ü', '你好', 'ñ', x'6162630000', x'616200', x'', x'', x'', '[]'),
  (4, '€ 你好 \u2028', 'd', null, null, null, null, null, null, null, null, null), (5, '😀 👩‍👩‍👧 𝒳 end', 'e', 'end', 'end', '😀', 'abcde', 'abc', 'abc', 'abc', 'abc', '{}'),
  (6, repeat('long 😀 "quoted" ', 3000), 'f', '', '', '', '', '', repeat('b', 60000), '', '', '12345678901234567890'), (7, '', '', '', '', '', '', '', '', '', '', 'null'), (8, ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', ' ', '1.0');
create table text_keys (id varchar(50) character set utf8mb4 collate utf8mb4_bin primary key, n int);
insert into text_keys values ('plain', 1), ('😀', 2), ('"q\\', 3);

create table lengths (id int primary key, tt tinytext, mt mediumtext, lt longtext, mb mediumblob, nc nchar(5), nv nvarchar(5), lv long varchar, lb long varbinary, big varchar(300), vbig varbinary(300), cbig char(200));
insert into lengths values (1, 'tt', 'mt', repeat('l', 70000), x'00', 'ñc', 'ñv', 'lv', x'0a0b', repeat('ž', 300), repeat('x', 300), repeat('ž', 200)), (2, null, null, null, null, null, null, null, null, null, null, null);

-- Characters of other sets than Unicode's, and of Unicode in other forms.
create table charsets (
  id int primary key, l1 varchar(20) character set latin1, l2 varchar(20) character set latin2, l5 varchar(20) character set latin5, l7 varchar(20) character set latin7, c1250 varchar(20) character set cp1250, c1251 varchar(20) character set cp1251, c1256 varchar(20) character set cp1256, c1257 varchar(20) character set cp1257,
  c850 varchar(20) character set cp850, c852 varchar(20) character set cp852, c866 varchar(20) character set cp866, k8 varchar(20) character set koi8r, k8u varchar(20) character set koi8u, gr varchar(20) character set greek, he varchar(20) character set hebrew, th varchar(20) character set tis620, mr varchar(20) character set macroman,
  sj varchar(20) character set sjis, c932 varchar(20) character set cp932, uj varchar(20) character set ujis, ek varchar(20) character set euckr, gbk varchar(20) character set gbk, g2 varchar(20) character set gb2312, g18 varchar(20) character set gb18030, b5 varchar(20) character set big5,
  u8 varchar(20) character set utf8mb3, u2 varchar(20) character set ucs2, u16 varchar(20) character set utf16, u16l varchar(20) character set utf16le, u32 varchar(20) character set utf32, a varchar(20) character set ascii, bin varchar(20) character set binary, bt text character set binary,
  e enum('é', 'plain') character set latin1, s set('é', 'ü') character set latin1, tl text character set latin2);
insert into charsets values
  (1, 'é€', 'žluť', 'ğış', 'ąčę', 'žluť', 'привет', 'سلام', 'ąčę', 'éü', 'žluť', 'привет', 'привет', 'їжак', 'καλη', 'שלום', 'สวัสดี', 'éü', 'こんにちは', 'こんにちは', 'こんにちは', '안녕', '你好', '你好', '你好😀', '你好', 'ž你', 'ž你', 'ž😀', 'ž😀', 'ž😀', 'plain', 'ž', 'ž', 'é', 'é,ü', 'ž'),
  (2, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);

create table json_values (id int primary key, j json);
insert into json_values values
  (1, '[1, 2]'), (2, '{"key1": "value1", "key2": "value2"}'), (3, '{"k1": "v1", "k2": {"k21": "v21", "k22": "v22"}, "k3": ["a", "b", 1]}'), (4, 'true'), (5, '-1'), (6, '32768'), (7, '-2147483649'), (8, '18446744073709551615'), (9, '18446744073709551616'),
  (10, '3.14'), (11, cast(cast('2015-01-15 23:24:25' as datetime) as json)), (12, cast(cast('2015-01-15 23:24:25.12' as datetime(3)) as json)), (13, cast(cast('23:24:25' as time) as json)), (14, cast(cast('2015-01-15' as date) as json)),
  (15, cast(st_geomfromtext('POINT(1 1)') as json)), (16, cast(x'cafebabe' as json)), (17, '1e300'), (18, '0.1'), (19, '{"long key with spaces": "\\u0001\\n\\t/"}'), (20, '1.0e-10'), (21, '100000000000000000000000.5'), (22, cast(cast(12.50 as decimal(10,2)) as json)), (23, '{"a": {"b": {"c": []}}}'), (24, '{"": ""}');

-- Enums and sets.
create table symbols (id int primary key, e enum('small', 'large', 'x-large'), s set('a', 'b', 'c'), required_enum enum('one', 'two') not null default 'two', required_set set('x', 'y') not null default 'x,y', l enum('ž', '😀') character set utf8mb4);
insert into symbols (id, e, s, l) values (1, 'small', 'a,b,c', 'ž'), (2, 'large', 'b,a', '😀'), (3, null, null, null), (4, 'x-large', '', null);
create table commas (id int primary key, e enum('a,b', 'c,''d', 'back\\slash', 'plain'), s set('it''s', 'plain'));
insert into commas values (1, 'plain', 'plain'), (2, 'a,b', 'it''s'), (3, 'c,''d', null);
create table many_members (id int primary key, s set('a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l'));
insert into many_members values (1, 'l,a'), (2, 'a,b,c,d,e,f,g,h,i,j,k,l');

-- Moments.
create table moments (id int primary key, d date, t time, t3 time(3), t6 time(6), dt datetime, dt1 datetime(1), dt3 datetime(3), dt4 datetime(4), dt6 datetime(6), ts timestamp null, ts1 timestamp(1) null, ts3 timestamp(3) null, ts6 timestamp(6) null);
insert into moments values
  (1, '1970-01-01', '00:00:00', '00:00:00', '00:00:00', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01'),
  (2, '1969-12-31', '23:59:59', '23:59:59.999', '23:59:59.999999', '1969-12-31 23:59:59', '1969-12-31 23:59:59.9', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.9999', '1969-12-31 23:59:59.999999', '2038-01-19 03:14:07', '2038-01-19 03:14:07.4', '2038-01-19 03:14:07.499', '2038-01-19 03:14:07.499999'),
  (3, '2014-09-08', '17:51:04', '17:51:04.777', '17:51:04.777000', '2014-09-08 17:51:04', '2014-09-08 17:51:04.7', '2014-09-08 17:51:04.777', '2014-09-08 17:51:04.7777', '2014-09-08 17:51:04.777', '2014-09-08 17:51:04', '2014-09-08 17:51:04.7', '2014-09-08 17:51:04.770', '2014-09-08 17:51:04.777'),
  (4, null, null, null, null, null, null, null, null, null, null, null, null, null), (5, '9999-12-31', '-00:00:01', '-00:00:00.001', '-00:00:00.000001', '9999-12-31 23:59:59', '9999-12-31 23:59:59.9', '9999-12-31 23:59:59.999', '9999-12-31 23:59:59.9999', '9999-12-31 23:59:59.999999', null, null, null, null),
  (6, '1900-02-28', '12:00:00', '12:00:00', '12:00:00', '1900-02-28 12:00:00', '1900-02-28 12:00:00', '1900-02-28 12:00:00', '1900-02-28 12:00:00', '1900-02-28 12:00:00', null, null, null, null);
create table recent (id int primary key, d date, t time, t1 time(1), t3 time(3), t6 time(6), dt datetime, dt3 datetime(3), dt5 datetime(5), dt6 datetime(6), ts timestamp null, ts1 timestamp(1) null, ts4 timestamp(4) null, ts6 timestamp(6) null);
insert into recent values
  (1, '2014-09-08', '17:51:04', '17:51:04.7', '17:51:04.777', '17:51:04.777000', '2014-09-08 17:51:04', '2014-09-08 17:51:04.770', '2014-09-08 17:51:04.77777', '2014-09-08 17:51:04.000001', '2014-09-08 17:51:04', '2014-09-08 17:51:04.7', '2014-09-08 17:51:04.7770', '2014-09-08 17:51:04.777777'),
  (2, '1970-01-01', '00:00:00', '00:00:00', '00:00:00', '00:00:00', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01', '1970-01-01 00:00:01'),
  (3, '1800-12-31', '23:59:59', '23:59:59.9', '23:59:59.999', '23:59:59.999999', '1969-12-31 23:59:59', '1969-12-31 23:59:59.999', '1800-12-31 23:59:59.99999', '1969-12-31 23:59:59.999999', null, null, null, null), (4, null, null, null, null, null, null, null, null, null, null, null, null, null);
set session time_zone = '+05:30';
insert into recent (id, dt, ts, ts6) values (5, '2026-07-01 12:00:00', '2026-07-01 12:00:00', '2026-07-01 12:00:00.123456');
set session time_zone = default;
create table amounts (id int primary key, t time, t2 time(2), t3 time(3), t6 time(6));
insert into amounts values (1, '838:59:59', '517:51:04.77', '-733:00:00.001', '-838:59:58.999999'), (2, '-838:59:59', '-13:14:50', '-01:59:59.001', '-00:20:38'), (3, '24:00:00', '24:00:00.01', '100:00:00', '596:31:23.647');
create table old_dates (id int primary key, d date, dt datetime(6));
insert into old_dates values (1, '1582-10-10', '1582-10-10 01:01:01.1'), (2, '1000-01-01', '1000-01-01 01:01:01');
create table two_digit_years (id int primary key, d date, dt datetime);
insert into two_digit_years values (1, '0018-04-01', '0078-04-01 12:34:56');

set session sql_mode = '';
create table zero_dates (id int primary key, d date, dt datetime, ts timestamp null, rd date not null, rdt datetime not null, rts timestamp not null);
insert into zero_dates values (1, '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00', '0000-00-00', '0000-00-00 00:00:00', '0000-00-00 00:00:00'), (2, '2015-00-10', '2015-10-00 01:02:03', null, '2015-00-10', '2015-10-00 01:02:03', '2015-10-10 01:02:03');
set session sql_mode = default;

-- Figures.
create table figures (id int primary key, p point, l linestring, g geometry, poly polygon, mp multipoint, ml multilinestring, mpoly multipolygon, gc geometrycollection);
insert into figures values
  (1, point(1, 1), st_geomfromtext('LINESTRING(0 0,1 1)'), st_geomfromtext('LINESTRING(0 0,1 1)'), st_geomfromtext('POLYGON((0 0,1 1,1 0,0 0))'), st_geomfromtext('MULTIPOINT(0 0,1 1)'), st_geomfromtext('MULTILINESTRING((0 0,1 1),(2 2,3 3))'), st_geomfromtext('MULTIPOLYGON(((0 0,1 1,1 0,0 0)))'), st_geomfromtext('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))')),
  (2, st_geomfromtext('POINT(8.25554554 3.22124447)', 4326), null, st_geomfromtext('POINT(8.25 3.25)', 3187), null, null, null, null, st_geomfromtext('GEOMETRYCOLLECTION(POINT(1 1),LINESTRING(0 0,1 1))', 4326)), (3, null, null, null, null, null, null, null, null);

-- Vectors.
create table vectors (id int primary key, v vector(3));
insert into vectors values (1, string_to_vector('[1.1,2.2,-3]')), (2, null);

-- Columns that must not be null, of every kind.
create table required (
  id int primary key, a_bool boolean not null, a_tiny tinyint not null, an_int int not null, a_bigint bigint not null, a_float float not null, a_double double not null, a_decimal decimal(8,3) not null, a_text text not null, a_varchar varchar(20) not null, a_char char(4) not null,
  a_binary binary(4) not null, a_blob blob not null, a_date date not null, a_time time(3) not null, a_datetime datetime(3) not null, a_timestamp timestamp(3) not null, a_year year not null, a_json json not null, a_bit bit not null, bits bit(12) not null,
  an_enum enum('a', 'b') not null, a_set set('a', 'b') not null, a_point point not null, a_geometry geometry not null);
insert into required values (1, true, 1, 1, 1, 1, 1, 1, 't', 'v', 'c', x'01', x'01', '2026-01-01', '01:02:03', '2026-01-01 01:02:03', '2026-01-01 01:02:03', 2026, '{}', b'1', b'000000000001', 'a', 'a', point(1, 2), point(1, 2));

-- Defaults, and NULL in spite of them.
create table defaults (
  id int auto_increment primary key, a_bool boolean default true, a_tiny tinyint default 7, an_int int default 7, a_bigint bigint default -9, a_large bigint default 9223372036854775807, a_float float default 1.5, a_double double default 0.1, a_decimal decimal(8,3) default 1,
  a_varchar varchar(20) default 'it''s', a_null varchar(20) default null, a_char char(4) default 'c', an_empty varchar(5) default '', a_date date default '2026-01-01', a_time time default '01:02:03', a_time_6 time(6) default '-123:00:00.123456', a_datetime datetime default '2026-01-01 01:02:03',
  a_datetime_6 datetime(6) default '2026-01-01 01:02:03.123456', a_timestamp timestamp null default '2026-01-01 01:02:03', a_year year default 2018, a_bit bit default b'1', bits bit(12) default b'000000000001', bits_25 bit(25) default b'10110000100001111', an_enum enum('a', 'b') default 'b', a_set set('a', 'b') default 'a,b',
  a_datetime_null datetime null default current_timestamp,
  a_moment timestamp(3) null default current_timestamp(3), a_required varchar(5) not null default 'r', a_required_moment timestamp not null default current_timestamp on update current_timestamp, a_binary binary(3) default 'abc', an_unsigned int unsigned default 4000000000);
insert into defaults (a_moment, a_required_moment) values ('2026-01-01', '2026-01-01');
insert into defaults values (100, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, 'r', '2026-01-01', null, null);

create table moments_by_default (
  id int primary key, dt datetime not null default current_timestamp, dt3 datetime(3) not null default current_timestamp(3), dt6 datetime(6) not null default current_timestamp(6) on update current_timestamp(6), ts timestamp not null default now(), ts3 timestamp(3) not null default current_timestamp(3),
  ts6 timestamp(6) not null default current_timestamp(6), ts_on timestamp null on update current_timestamp, dt_on datetime on update current_timestamp, dtn datetime(6) default current_timestamp(6));
insert into moments_by_default values (1, '2026-01-01', '2026-01-01', '2026-01-01', '2026-01-01', '2026-01-01', '2026-01-01', null, null, '2026-01-01');
create table required_defaults (
  id int primary key, a_bool boolean not null default false, an_int int not null default -7, big bigint unsigned not null default 7, n decimal(8,3) not null default 1.5, f float not null default 0, d double not null default -0.5, v varchar(20) not null default '', c char(4) not null default 'c', vb varbinary(4) not null default 'ab', hex varbinary(4) not null default x'ff61',
  dd date not null default '2026-01-01', dt datetime(3) not null default '2026-01-01 01:02:03.004', ts timestamp(6) not null default '2026-01-01 01:02:03.000004', t time not null default '01:02:03', y year not null default 2026, bits bit(4) not null default b'101', e enum('a', 'b') not null default 'a', s set('a', 'b') not null default '');
insert into required_defaults (id) values (1);
create table required_expressions (id int primary key, a varchar(50) not null default (concat('a', 'b')), b int not null default (1 + 2), u char(36) not null default (uuid()), j json not null default (json_object()));
insert into required_expressions values (1, 'ab', 3, 'u', '{}');

create table expressions (id int primary key, a varchar(50) default (concat('a', 'b')), b int default (1 + 2), c json default (json_array()), d date default (current_date));
insert into expressions values (1, 'ab', 3, '[]', '2026-01-01');

-- Names that need quotes, or are words of the language, or are outside of ASCII.
create table `Table with: names` (`Id` int primary key, `a b` text, `select` int, `naïve €` text, `dot.ted` int, `$dollar` int);
insert into `Table with: names` values (1, 'there', 2, 'é', 3, 4);

-- Generated columns, comments, columns that cannot be seen.
create table computed (id int auto_increment primary key, a int comment 'the "first" number', doubled int as (a * 2) stored, tripled int as (a * 3) virtual) comment 'what is computed';
insert into computed (a) values (3);
create table generated_key (a int, b int as (a + 1) stored primary key, c varchar(20) as (concat('c', a)) virtual not null);
insert into generated_key (a) values (1);
create table hidden (id int primary key, seen int, unseen int invisible);
insert into hidden (id, seen, unseen) values (1, 2, 3);

-- Columns that will come, go and change.
create table changing (id int primary key, a int, b text, c varchar(5));
insert into changing values (1, 1, 'there', 'c');

create table referred (id int primary key);
create table referring (id int primary key, referred int, foreign key (referred) references referred (id));
insert into referred values (1), (2);
insert into referring values (1, 1);

create table parents (id int primary key);
create table children (id int primary key, parent int, foreign key (parent) references parents (id) on delete cascade on update cascade);
insert into parents values (1), (2);
insert into children values (10, 1), (20, 2), (21, 2);
create table watched (id int primary key, n int);
create table watching (id int auto_increment primary key, what varchar(20), n int);
create trigger watched_insert before insert on watched for each row insert into watching (what, n) values ('insert', new.n);
create trigger watched_update after update on watched for each row insert into watching (what, n) values ('update', new.n);
insert into watched values (1, 1);

-- Tables that are renamed, dropped and made again, and of other engines. Others that are called made_… come later.
create table made_before (id int primary key, name text);
insert into made_before values (1, 'there');
create table renamed_later (id int primary key, name text);
insert into renamed_later values (1, 'there');
create table dropped_later (id int primary key, name text);
insert into dropped_later values (1, 'there');
create table without_transactions (id int primary key, name text) engine = myisam;
insert into without_transactions values (1, 'there');
create table partitioned (id int, day date, value double, primary key (id, day)) partition by hash (id) partitions 3;
insert into partitioned values (1, '2026-01-15', 1.5), (2, '2026-02-15', 2.5);
