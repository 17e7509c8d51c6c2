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

-- Every value again, by the log.
update integers set id = id + 100;

update unsigned_keys set n = n - 1 where n > 0;

delete from unsigned_keys;

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

-- Quoted names.
update `Table with: names` set `a b` = 'changed', `naïve €` = null;

delete from `Table with: names`;

insert into computed (a) values (4);

update computed set a = 5 where id = 1;

update hidden set unseen = 4;

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
