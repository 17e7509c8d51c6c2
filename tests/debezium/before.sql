-- What is there before the snapshot. Paragraphs are transactions. See changes.sql for what happens then.

create schema "Odd schema";
create type size as enum ('small', 'x,large', 'back\slash');
create type pair as (a int, b text);
create domain positive as int check (value > 0);
create domain price as numeric(8,2) default 1.5;
create domain price_of_sale as price;

-- One row per kind of column, and none.
create table plain (id int primary key, name text, quantity smallint, total numeric(10,2), at timestamptz, raw bytea);
insert into plain values (1, 'there', 1, 12.30, '2026-01-02 03:04:05.678901+02', '\x00ff'), (2, null, null, null, null, null);

create table empty (id int primary key, name text);

-- Replica identity in its other forms. `nothing`, and no key at all, are left out: Tailrace refuses such tables, because
-- their updates and deletes fail in the database once they are in a publication.
create table identity_full (id int primary key, name text, amount numeric(6,2) default 7.5, note text);
alter table identity_full replica identity full;
insert into identity_full values (1, 'there', 1, null);

create table identity_index (id int, code text not null, region int not null, name text, constraint identity_index_pk primary key (id));
create unique index identity_index_code on identity_index (code, region);
alter table identity_index replica identity using index identity_index_code;
insert into identity_index values (1, 'a', 1, 'there');

-- Without a primary key.
create table keyless (id int, name text);
alter table keyless replica identity full;
insert into keyless values (1, 'there'), (1, 'there');

create table keyless_index (code text not null, name text);
create unique index keyless_index_code on keyless_index (code);
alter table keyless_index replica identity using index keyless_index_code;
insert into keyless_index values ('a', 'there');

create table unique_index_only (code text not null, name text);
create unique index unique_index_only_code on unique_index_only (code);
alter table unique_index_only replica identity full;
insert into unique_index_only values ('a', 'there');

-- Unique, but for NULL.
create table unique_nullable (code text, name text);
create unique index unique_nullable_code on unique_nullable (code);
alter table unique_nullable replica identity full;
insert into unique_nullable values ('a', 'there'), (null, 'there');

create table unique_expression (code text not null, name text not null);
create unique index unique_expression_lower on unique_expression (lower(code));
create unique index unique_expression_some on unique_expression (name) where code <> '';
alter table unique_expression replica identity full;
insert into unique_expression values ('a', 'there');

create table unique_two (a int not null, b int not null, c int not null);
create unique index unique_two_z on unique_two (a);
create unique index unique_two_b on unique_two (c, b);
alter table unique_two replica identity full;
insert into unique_two values (1, 2, 3);

-- The key's columns are not in the table's order.
create table composite_key (a int, v text, b text, c uuid, primary key (c, b, a));
insert into composite_key values (1, 'there', 'b,"}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11');

-- Columns that must not be null, of every kind: what stands for them where the log carries only the key.
create table required (
  id int primary key, a_boolean boolean not null, a_smallint smallint not null, an_int int not null, a_bigint bigint not null,
  a_real real not null, a_double double precision not null, a_numeric numeric not null, a_decimal numeric(8,3) not null,
  a_money money not null, a_text text not null, a_varchar varchar(20) not null, a_char char(4) not null, a_bytea bytea not null,
  a_date date not null, a_time time not null, a_time_3 time(3) not null, a_timetz timetz not null, a_timestamp timestamp not null,
  a_timestamp_3 timestamp(3) not null, a_timestamptz timestamptz not null, an_interval interval not null, a_json json not null,
  a_jsonb jsonb not null, a_uuid uuid not null, an_xml xml not null, a_bit bit not null, a_bits bit(12) not null, a_varbit varbit(9) not null,
  an_inet inet not null, a_cidr cidr not null, a_macaddr macaddr not null, an_enum size not null, a_domain positive not null,
  ints int[] not null, texts text[] not null, a_range int4range not null, a_vector tsvector not null, a_store hstore not null,
  a_tree ltree not null, a_citext citext not null, a_point point not null, an_oid oid not null, a_name name not null);
insert into required values (1, true, 1, 1, 1, 1, 1, 1, 1, 1, 't', 'v', 'c', '\x01', '2026-01-01', '01:02:03', '01:02:03', '01:02:03+00',
  '2026-01-01 01:02:03', '2026-01-01 01:02:03', '2026-01-01 01:02:03+00', '1 day', '{}', '{}', 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', '<a/>', '1',
  B'000000000001', B'1', '10.0.0.1', '10.0.0.0/8', '08:00:2b:01:02:03', 'small', 1, '{1}', '{a}', '[1,2)', 'a', 'a=>1', 'a.b', 'A', '(1,2)', 1, 'n');

-- Defaults, and NULL in spite of them.
create table defaults (
  id serial primary key, a_boolean boolean default true, a_smallint smallint default 7, an_int int default (3 + 4), a_bigint bigint default -9,
  a_real real default 1.5, a_double double precision default 0.25, a_numeric numeric default 12.345, a_decimal numeric(8,3) default 1,
  a_money money default 1.5, a_text text default 'it''s', a_varchar varchar(20) default null, a_char char(4) default 'c', a_bytea bytea default '\x0102',
  a_date date default '2026-01-01', a_time time default '01:02:03', a_timetz timetz default '01:02:03+02', a_timestamp timestamp default '2026-01-01 01:02:03.5',
  a_timestamptz timestamptz default '2026-01-01 01:02:03+02', an_interval interval default '1 day', a_json json default '{"a": 1}', a_uuid uuid default 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11',
  a_bit bit default B'1', a_bits bit(12) default B'000000000001', an_inet inet default '10.0.0.1', an_enum size default 'small', a_domain positive default 3,
  ints int[] default '{1}', texts text[] default array['a'], a_store hstore default 'a=>1', a_moment timestamptz default now(), a_random double precision default random(),
  a_required text not null default 'r', a_required_moment timestamptz not null default now(), a_price price, a_price_of_sale price_of_sale,
  a_large bigint default 9223372036854775807, an_empty text default '', a_cast text default 'x'::varchar(5), a_user text default current_user,
  a_today date default current_date, a_point point default '(1,2)');
insert into defaults default values;
insert into defaults select (jsonb_populate_record(null::defaults,
  '{"id": 100, "a_required": "r", "a_required_moment": "2026-01-01 00:00:00+00", "a_moment": "2026-01-01 00:00:00+00"}')).*;
update defaults set a_moment = '2026-01-01 00:00:00+00', a_random = 0.5, a_required_moment = '2026-01-01 00:00:00+00', a_user = 'u', a_today = '2026-01-01' where id = 1;

-- Defaults that are no numbers.
create table no_numbers (id serial primary key, a_real real default '-Infinity', a_double double precision default 'NaN');
insert into no_numbers default values;

-- Values that are stored out of line and do not change.
create table toasted (
  id int primary key, n int, a_text text, a_bytea bytea, a_json json, a_jsonb jsonb, an_xml xml, a_numeric numeric, a_varbit varbit,
  ints int[], bigints bigint[], texts text[], varchars varchar[], uuids uuid[], dates date[], doubles float8[], booleans boolean[],
  numerics numeric[], a_store hstore, a_vector tsvector, a_citext citext, a_required text not null);
alter table toasted alter a_text set storage external, alter a_bytea set storage external, alter a_json set storage external, alter a_jsonb set storage external,
  alter an_xml set storage external, alter a_numeric set storage external, alter a_varbit set storage external, alter ints set storage external,
  alter bigints set storage external, alter texts set storage external, alter varchars set storage external, alter uuids set storage external,
  alter a_store set storage external, alter a_vector set storage external, alter a_citext set storage external, alter a_required set storage external;
insert into toasted (id, n, a_required) values (1, 0, repeat('r', 5000));

-- Columns of types that few know.
create table rare (
  id int primary key, a_composite pair, a_query tsquery, an_lsn pg_lsn, moneys money[], names name[], intervals interval[], varbits varbit[], xmls xml[],
  points point[], composites pair[], a_path jsonpath, a_box box, a_reg regclass, a_char "char", an_xid xid, nested int[], shifted int[], empties text[], an_isbn isbn);
insert into rare values (1, row(1, 'x'), 'a & b', '0/16B3748', '{1.5}', '{n}', '{1 day}', '{101}', '{<a/>}', '{"(1,2)"}', array[row(1, 'x')::pair], '$.a',
  '((0,0),(1,1))', 'pg_class', 'c', '77', '{{1,2},{3,4}}', '[2:3]={7,8}', '{}', '978-0-393-04002-9');

-- Names that need quotes, or are words of the language, or are outside of ASCII.
create table "Odd schema"."Table with: names" ("Id" int primary key, "a b" text, "select" int, "naïve €" text, "dot.ted" int, "$dollar" int);
insert into "Odd schema"."Table with: names" values (1, 'there', 2, 'é', 3, 4);

-- Partitions.
create table measured (id int, day date, value real, primary key (id, day)) partition by range (day);
create table measured_1_january partition of measured for values from ('2026-01-01') to ('2026-02-01');
create table measured_2_february partition of measured for values from ('2026-02-01') to ('2026-03-01');
insert into measured values (1, '2026-01-15', 1.5), (2, '2026-02-15', 2.5);

-- Generated columns, identity, comments.
create table computed (id int generated always as identity primary key, a int, doubled int generated always as (a * 2) stored, by_default int generated by default as identity);
comment on table computed is 'what is computed';
comment on column computed.a is 'the "first" number';
insert into computed (a) values (3);

-- Columns that will come, go and change.
create table changing (id int primary key, a int, b text, c varchar(5));
insert into changing values (1, 1, 'there', 'c');

create table referred (id int primary key);
create table referring (id int primary key references referred on delete cascade on update cascade);
insert into referred values (1), (2);
insert into referring values (1);

-- Numbers as Java prints them, and at the ends of their ranges.
create table numbers (id int primary key, r real, d double precision, n numeric, f numeric(38,10), i smallint, j int, k bigint, o oid);
insert into numbers values
  (1, 0, 0, 0, 0, 0, 0, 0, 0), (2, '-0', '-0', -0.0, -0.0000000001, -32768, -2147483648, -9223372036854775808, 4294967295),
  (3, 1e7, 1e7, 1e30, 1, 32767, 2147483647, 9223372036854775807, 1), (4, 9999999, 9999999, 1e-30, 1e20, 1, 1, 1, 1),
  (5, 1e-3, 1e-3, 0.001, 0.001, 1, 1, 1, 1), (6, 9.99e-4, 9.99e-4, 100, 100, 1, 1, 1, 1), (7, 1e-45, 5e-324, 127, 127, 1, 1, 1, 1),
  (8, 3.4028235e38, 1.7976931348623157e308, 128, 128, 1, 1, 1, 1), (9, 1.17549435e-38, 2.2250738585072014e-308, -128, -128, 1, 1, 1, 1),
  (10, 123.456, 123456.789, -129, 32768, 1, 1, 1, 1), (11, 0.1, 0.1, 255, 255, 1, 1, 1, 1), (12, 100, 1e21, 256, -256, 1, 1, 1, 1),
  (14, 0.5, 0.5, 1.500, 1.5, 1, 1, 1, 1), (15, 0.5, 0.5, 100.00, 1.5, 1, 1, 1, 1), (13, 16777216, 9007199254740993, 12345678901234567890123456789012345678901234567890, 9999999999999999999999999999.9999999999, 1, 1, 1, 1);

-- Characters of every kind.
create table characters (id int primary key, v text, key_too text);
insert into characters values
  (1, E'\u0001\u0008\t\n\u000b\f\r\u001f \u007f\u0080\u009f', 'a'), (2, E'"\\/''<>&=+', 'b'), (3, 'žluťoučký kůň', 'c'), (4, '€ 你好 \ufeff\u2028\u2029', 'd'),
  (5, '😀 👩‍👩‍👧 𝒳 end', 'e'), (6, repeat('long 😀 "quoted" ', 20000), 'f'), (7, '', ''), (8, ' ', ' ');
create table text_keys (id text primary key, j jsonb, s hstore);
insert into text_keys values ('plain', '{"a": "é😀\"", "b": [1, 2.50, null]}', 'a=>"é😀\"\\ ",b=>NULL'), ('😀', '"x"', ''), ('"q\', '[]', 'k=>""');

-- Moments.
create table moments (id int primary key, d date, t time, t0 time(0), t3 time(3), tz timetz, ts timestamp, ts0 timestamp(0), ts3 timestamp(3), tstz timestamptz, tstz0 timestamptz(0), tstz3 timestamptz(3), i interval);
insert into moments values
  (1, '1970-01-01', '00:00', '00:00', '00:00', '00:00+00', '1970-01-01', '1970-01-01', '1970-01-01', '1970-01-01+00', '1970-01-01+00', '1970-01-01+00', '0'),
  (2, '1969-12-31', '23:59:59.999999', '23:59:59', '23:59:59.999', '23:59:59.999999-12', '1969-12-31 23:59:59.999999', '1969-12-31 23:59:59', '1969-12-31 23:59:59.999', '1969-12-31 23:59:59.999999+00', '1969-12-31 23:59:59+00', '1969-12-31 23:59:59.999+00', '-1 day'),
  (3, '1900-02-28', '12:00', '12:00', '12:00', '12:00+15:59', '1900-02-28 12:00', '1900-02-28 12:00', '1900-02-28 12:00', '1900-02-28 12:00+00', '1900-02-28 12:00+00', '1900-02-28 12:00+00', '1 mon -2 days +00:00:00.000001'),
  (4, '1582-10-10', '01:01:01.1', '01:01:01', '01:01:01.1', '01:01:01.1+00', '1582-10-10 01:01:01.1', '1582-10-10', '1582-10-10 01:01:01.1', '1582-10-10 01:01:01.1+00', '1582-10-10+00', '1582-10-10 01:01:01.1+00', '100 years'),
  (5, '0001-01-01', '01:01', '01:01', '01:01', '01:01+00', '0001-01-01', '0001-01-01', '0001-01-01', '0001-01-01+00', '0001-01-01+00', '0001-01-01+00', '-1 year -1 mon'),
  (6, '0044-03-15 BC', '01:01', '01:01', '01:01', '01:01+00', '0044-03-15 BC', '0044-03-15 BC', '0044-03-15 BC', '0044-03-15 00:00+00 BC', '0044-03-15 00:00+00 BC', '0044-03-15 00:00+00 BC', '-00:00:01'),
  (7, '9999-12-31', '24:00', '24:00', '24:00', '23:00+00', '9999-12-31 23:59:59.999999', '9999-12-31', '9999-12-31', '9999-12-31 23:59:59.999999+00', '9999-12-31+00', '9999-12-31+00', '1 year 2 mons 3 days 04:05:06.789'),
  (8, '12026-01-01', '01:01', '01:01', '01:01', '01:01+00', '12026-01-01', '12026-01-01', '12026-01-01', '12026-01-01+00', '12026-01-01+00', '12026-01-01+00', '290000 years');
create table endless (id int primary key, ts timestamp, ts3 timestamp(3), tstz timestamptz, d date);
insert into endless values (1, 'infinity', 'infinity', 'infinity', 'infinity'), (2, '-infinity', '-infinity', '-infinity', '-infinity');

-- Lists.
create domain codes as text[];
create table lists (id int primary key, ints int[], texts text[], numerics numeric[], decimals numeric(6,2)[], stamps timestamp[], stamps3 timestamp(3)[], zoned timestamptz[], enums size[], domains positive[], of_domain codes, jsons json[], byteas bytea[], booleans boolean[], reals real[], doubles double precision[], times time[], uuids uuid[], inets inet[], chars char(3)[], bigs bigint[], smalls smallint[]);
insert into lists values
  (1, '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}', '{}'),
  (2, '{1,NULL,-1}', '{a,NULL,"NULL","",😀}', '{1,2.50,1e10}', '{1,2.5}', '{2026-01-02 03:04:05.678901}', '{2026-01-02 03:04:05.678}', '{2026-01-02 03:04:05.678901+02}', '{small,"x,large"}', '{1}', '{x}', array['{"a": 1}'::json], array['\x00ff'::bytea], '{t,f,NULL}', '{1.5,NaN}', '{1e10,-Infinity}', '{01:02:03.4}', '{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}', '{10.0.0.1/8}', '{a}', '{9223372036854775807}', '{-32768}'),
  (3, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null, null);
