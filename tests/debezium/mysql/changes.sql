-- What happens after the snapshot. After `-- await` both have published all of it so far.

-- Insert, update, delete.
insert into plain values (3, 'new', 3, -0.01, '2038-01-19 03:14:07.499999', ''), (4, '', -32768, 99999999.99, '1970-01-01 00:00:01', x'deadbeef');

update plain set name = 'changed' where id = 1;

update plain set name = name where id = 2;

delete from plain where id = 3;

insert into vacant values (1, 'no more');

-- A change of the key, once there and once around.
update plain set id = 40 where id = 4;

update plain set id = id + 100;

update composite_key set a = 2, v = 'changed';

update composite_key set v = 'again';

delete from composite_key;

-- Without a key.
insert into keyless values (2, 'new');

update keyless set name = 'changed';

delete from keyless where id = 1;

insert into unique_index_only values ('b', 'new');

update unique_index_only set name = 'changed', code = 'z' where code = 'a';

delete from unique_index_only;

insert into unique_nullable values ('b', 'new'), (null, 'new');

update unique_nullable set name = 'changed' where code is null;

delete from unique_nullable;

update unique_two set b = 20;

delete from unique_two;

update unique_order set b = 20;

update unique_order set d = 40;

update unique_characters set v = 'changed';

delete from unique_characters;

update unique_expression set b = 20;

update unique_then_primary set a = 10;

alter table unique_then_primary add primary key (b);

update unique_then_primary set b = 20;

alter table unique_then_primary drop primary key;

insert into unique_then_primary values (11, 21, 'new');

alter table unique_order drop key x_first;

insert into unique_order values (5, 6, 'new', 7);

-- Keys of every type.
update typed_key set v = 2;

update typed_key set tiny = 2, c = 'd';

delete from typed_key;

-- Every value again, by the log.
update integers set id = id + 100;

update unsigned_keys set n = n - 1 where n > 0;

update unsigned_keys set id = id - 1 where id = 9223372036854775807;

insert into unsigned_keys (id) values (100);

delete from unsigned_keys;

update large_keys set n = n - 1 where n > 0;

update large_keys set id = id - 1 where id > 1 order by id;

delete from large_keys;

update unsigned_numbers set id = id + 100;

update lengths set id = id + 100;

update charsets set id = id + 100;

update many_members set id = id + 100;

update recent set id = id + 100;

set session time_zone = '-08:00';
insert into recent (id, dt, ts, ts6) values (6, '2026-07-01 12:00:00', '2026-07-01 12:00:00', '2026-07-01 12:00:00.123456');
set session time_zone = default;

update year_zero set id = 2;

update numbers set id = id + 100;

update bit_fields set id = id + 100;

update characters set id = id + 100;

update text_keys set id = concat(id, ' again');

update json_values set id = id + 100;

update symbols set id = id + 100;

update commas set id = id + 100;

update moments set id = id + 100;

update amounts set id = id + 100;

update old_dates set id = id + 100;

update two_digit_years set id = id + 100;

set session sql_mode = '';
update zero_dates set id = id + 100;
insert into symbols (id, e) values (50, 'no such symbol');
set session sql_mode = default;

update figures set id = id + 100;

update vectors set id = id + 100;

-- JSON that is changed in a part of it.
update json_values set j = json_set(j, '$.k1', 'changed') where id = 103;

update json_values set j = json_array_append(j, '$', 3) where id = 101;

-- What must not be null.
update required set an_int = 2;

update required set id = 2;

delete from required;

-- Defaults.
insert into defaults (id, a_moment, a_required_moment) values (2, '2026-01-01', '2026-01-01');

update defaults set a_varchar = null, an_int = null, a_decimal = null, a_required_moment = '2026-01-01' where id = 2;

delete from defaults where id = 2;

insert into expressions (id, d) values (2, '2026-01-01');

set session timestamp = 1767225600.5;
insert into moments_by_default (id) values (2);
update moments_by_default set id = 3 where id = 2;
insert into required_defaults (id) values (2);
insert into required_expressions (id, u) values (2, 'u');
set session timestamp = default;

-- Quoted names.
update `Table with: names` set `a b` = 'changed', `naïve €` = null;

delete from `Table with: names`;

insert into computed (a) values (4);

update computed set a = 5 where id = 1;

update hidden set unseen = 4;

insert into generated_key (a) values (5);

update generated_key set a = 6 where a = 5;

-- Rows that other statements change.
delete from parents where id = 2;

update parents set id = 5 where id = 1;

insert into watched values (2, 2), (3, 3);

update watched set n = n + 1;

-- Several tables in one transaction, with a savepoint that is given up.
begin;
insert into plain values (50, 'one', 1, 1, null, null);
insert into keyless values (50, 'two');
savepoint s;
insert into plain values (51, 'given up', 1, 1, null, null);
rollback to s;
update plain set name = 'three' where id = 50;
insert into vacant values (50, 'four'), (51, 'five');
delete from plain where id = 50;
commit;

-- A transaction that is rolled back, beside one of an engine that cannot.
begin;
insert into plain values (60, 'gone', 1, 1, null, null);
rollback;

insert into without_transactions values (2, 'new');

update without_transactions set name = 'changed';

delete from without_transactions where id = 1;

-- An upsert, a conflict, a replacement.
insert ignore into plain (id, name) values (60, 'first'), (60, 'second');

insert into plain (id, name) values (60, 'third') on duplicate key update name = values(name);

replace into plain (id, name) values (60, 'fourth');

-- Two tables in one statement.
update referred, referring set referring.id = 10 where referred.id = referring.referred;

delete referred, referring from referring join referred on referred.id = referring.referred;

-- Partitions.
insert into partitioned values (3, '2026-01-20', 3);

update partitioned set id = 4 where id = 3;

alter table partitioned drop primary key, add primary key (id, day, value);

insert into partitioned values (5, '2026-01-20', 3);

-- Truncates.
insert into vacant values (2, 'soon gone');

truncate vacant;

insert into vacant values (3, 'after');

truncate table unique_nullable;

-- Names that change.
rename table renamed_later to renamed_now;

insert into renamed_now values (2, 'new');

drop table dropped_later;

create table dropped_later (name varchar(20), id int primary key);

insert into dropped_later values ('other', 2);

create table made_later (id int primary key, name text);

insert into made_later values (1, 'new');

create table made_like like plain;

insert into made_like values (1, 'new', 1, 1, null, null);

create table made_of (primary key (id)) as select id, name from plain;

create table made_with_types (
  id serial, b boolean default true, i integer(5), n numeric(7,3) unsigned, r real, nv national varchar(10), nc nchar(3) default 'x', c char(3) character set latin1, t text charset utf8mb3, by_default varchar(10), e enum('é', 'ü') character set latin1 default 'ü', s set('a', 'b') not null default 'a',
  d date not null default '2026-01-01', ts timestamp not null default current_timestamp, ts3 timestamp(3) not null default now(3) on update now(3), dt6 datetime(6), f4 float(4), f7 float(7,3), y year(4), bits bit(9) default b'101', b1 bit, g int generated always as (i + 1) stored, p point not null, v vector(2), j json, raw binary(4), large blob(100000), tiny text(10),
  primary key using btree (id), key (i), fulltext key (t), spatial index (p), constraint made_check check (i > 0)) engine = InnoDB default charset latin2 comment 'made';

insert into made_with_types (i, n, r, nv, nc, c, t, by_default, ts, ts3, dt6, f4, f7, y, b1, p, v, j, raw, large, tiny) values (1, 1.5, 1.25, 'ñv', 'ñ', 'é', 'ž', 'ž', '2026-01-01', '2026-01-01', '2026-01-01', 1.5, 1.1, 2026, b'1', point(1, 2), string_to_vector('[1,2]'), '[1, 2]', x'01', x'02', 'tiny');

update made_with_types set e = null, s = 'a,b', ts3 = '2026-01-02';

create table made_unique (a int, b int not null, c int not null, unique key z (a), unique key y (c), unique key x (b));

insert into made_unique values (1, 2, 3);

alter table made_unique modify a int not null;

insert into made_unique values (4, 5, 6);

create table made_unique_characters (v varchar(20) not null, n int, unique key (v(5)));

insert into made_unique_characters values ('new', 1);

create table made_column_key (a int unique, b int unique not null, c varchar(10) character set cp1250 key);

insert into made_column_key values (1, 2, 'ž');

create table made_altered (id int primary key, v varchar(10)) default charset latin1;

alter table made_altered add w varchar(10), add x varchar(10) character set utf8mb4 first, add column (y int, z int not null default 5), comment 'altered';

insert into made_altered (id, v, w, x, y) values (1, 'é', 'ü', 'ž😀', 1);

alter table made_altered default charset cp1250, add after_default text after id;

insert into made_altered (id, v, w, x, after_default) values (2, 'é', 'ü', 'ž😀', 'ž');

alter table made_altered convert to character set utf8mb4;

insert into made_altered (id, v, w, x, after_default) values (3, 'é', 'ü😀', 'ž😀', 'ž😀');

alter table made_altered alter column z set default 9, alter column v set default 'v', drop column y, rename column w to ww, modify column x varchar(20) after id, add index (v), algorithm = copy;

insert into made_altered (id, x) values (4, 'x');

alter table made_altered alter z drop default, change v v varchar(20) character set latin1 not null comment 'changed';

insert into made_altered (id, v, z) values (5, 'é', 1);

create unique index made_altered_z on made_altered (z, id);

delete from made_altered where id = 1;

rename table made_altered to made_aside, made_before to made_altered, made_aside to made_before;

insert into made_altered values (6, 'new');

insert into made_before (id, v, z) values (6, 'é', 2);

alter table made_altered rename to made_anew, add a int first;

insert into made_anew values (1, 7, 'new');

-- Columns come, go and change.
alter table changing add d int default 4, add e text;

insert into changing values (2, 2, 'new', 'c', 5, 'e');

update changing set a = 10 where id = 1;

alter table changing drop b;

insert into changing values (3, 3, 'c', 6, 'e');

delete from changing where id = 1;

alter table changing rename column c to renamed;

update changing set renamed = 'r' where id = 2;

alter table changing modify a bigint, modify d text, change renamed renamed varchar(50) first;

insert into changing values ('six', 4, 4000000000, 'c', 'e');

alter table changing modify d varchar(20) not null, add f int not null default 3 after id;

insert into changing (renamed, id, a, d, e) values ('c', 5, 5, 'six', 'e');

alter table changing add s enum('one', 'two') default 'one', add unique key changing_d (d);

insert into changing (id, d, s) values (6, 'seven', 'two');

alter table changing modify s enum('zero', 'one', 'two', 'three');

update changing set s = 'zero' where id = 6;

alter table changing drop primary key, add primary key (id, d);

insert into changing (id, d) values (7, 'eight');

delete from changing where id = 5;
