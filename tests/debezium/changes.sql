-- What happens after the snapshot. Paragraphs are transactions; after `-- await` both have published all of it so far,
-- because Debezium asks the catalog how a table looks, and asks late.

-- Insert, update, delete.
insert into plain values (3, 'new', 3, -0.01, 'infinity', ''), (4, '', -32768, 99999999.99, '-infinity', '\xdeadbeef');

update plain set name = 'changed' where id = 1;

update plain set name = name where id = 2;

delete from plain where id = 3;

insert into empty values (1, 'no more');

-- A change of the key, once there and once around.
update plain set id = 40 where id = 4;

update plain set id = id + 100;

update composite_key set a = 2, v = 'changed';

update composite_key set v = 'again';

delete from composite_key;

-- Replica identity.
insert into identity_full values (2, 'new', 2, 'n');

update identity_full set name = 'changed' where id = 1;

update identity_full set id = 10 where id = 1;

delete from identity_full;

insert into identity_index values (2, 'b', 2, 'new');

update identity_index set name = 'changed' where id = 1;

update identity_index set region = 5 where id = 1;

update identity_index set id = 20 where id = 2;

delete from identity_index;

-- Without a key.
insert into keyless values (2, 'new');

update keyless set name = 'changed';

delete from keyless where id = 1;

insert into keyless_index values ('b', 'new');

update keyless_index set name = 'changed';

update keyless_index set code = 'c' where code = 'b';

delete from keyless_index;

insert into unique_index_only values ('b', 'new');

update unique_index_only set name = 'changed', code = 'z' where code = 'a';

delete from unique_index_only;

insert into unique_nullable values ('b', 'new'), (null, 'new');

update unique_nullable set name = 'changed' where code is null;

delete from unique_nullable;

update unique_expression set name = 'changed';

delete from unique_expression;

update unique_two set b = 20;

delete from unique_two;

-- Every value again, by the log.
update numbers set id = id + 100;

update characters set id = id + 100;

update text_keys set id = id || ' again';

update moments set id = id + 100;

update endless set id = id + 100;

update lists set id = id + 100;

-- Logical messages.
select pg_logical_emit_message(true, 'orders', 'in a transaction 😀');

select pg_logical_emit_message(false, 'orders', 'at once');

begin;
insert into plain values (70, 'beside a message', 1, 1, null, null);
select pg_logical_emit_message(true, 'other', '\x00ff'::bytea);
delete from plain where id = 70;
commit;

-- What must not be null.
update required set an_int = 2;

update required set id = 2;

delete from required;

-- Defaults.
insert into defaults (id, a_moment, a_random, a_required_moment, a_user, a_today) values (2, '2026-01-01 00:00:00+00', 0.5, '2026-01-01 00:00:00+00', 'u', '2026-01-01');

update defaults set a_text = null, an_int = null, a_decimal = null where id = 2;

delete from defaults where id = 2;

insert into no_numbers default values;

-- Large values.
insert into toasted select 2, 0, repeat('x', 5000), decode(repeat('ab', 5000), 'hex'), to_json(repeat('j', 5000)), to_jsonb(repeat('k', 5000)),
  ('<a>' || repeat('y', 5000) || '</a>')::xml, repeat('9', 9000)::numeric, repeat('1', 40000)::varbit,
  array_agg(n), array_agg(n::bigint), array_agg('t' || n), array_agg(('v' || n)::varchar), array_agg('a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid),
  null, null, null, null, hstore('k', repeat('h', 5000)), null, repeat('c', 5000)::citext, repeat('r', 5000)
  from generate_series(1, 2000) n;

update toasted set n = 1;

update toasted set n = 2, a_text = 'short' where id = 2;

delete from toasted where id = 2;

-- Rare types.
insert into rare values (2, row(2, null), 'a <-> b', '1/0', '{NULL,-1}', '{}', '{1 mon}', '{}', '{}', '{}', array[null, row(2, 'y,"z')::pair], '$.b[*]',
  '((1,1),(2,2))', 'pg_type', null, '78', '{{1},{2}}', '[0:0]={1}', '{NULL,"NULL","",a\\b}', '0-393-04002-X');

-- Quoted names.
update "Odd schema"."Table with: names" set "a b" = 'changed', "naïve €" = null;

delete from "Odd schema"."Table with: names";

-- Partitions: a row that moves is deleted here and created there.
insert into measured values (3, '2026-01-20', 3);

update measured set value = 4 where id = 3;

update measured set day = '2026-02-20' where id = 3;

delete from measured;

insert into computed (a) values (4);

update computed set a = 5 where id = 1;

-- Several tables in one transaction, with a savepoint that is given up.
begin;
insert into plain values (50, 'one', 1, 1, null, null);
insert into identity_full values (50, 'two');
savepoint s;
insert into plain values (51, 'given up', 1, 1, null, null);
rollback to s;
update plain set name = 'three' where id = 50;
insert into empty values (50, 'four');
delete from plain where id = 50;
commit;

-- Cascades.
update referred set id = 10 where id = 1;

delete from referred where id = 10;

-- An upsert, and a conflict.
insert into plain values (60, 'first'), (60, 'second') on conflict do nothing;

insert into plain values (60, 'third') on conflict (id) do update set name = excluded.name;

-- Truncates: of one, of several.
insert into empty values (2, 'soon gone');

truncate empty;

insert into empty values (3, 'after');

truncate referred, referring;

-- await

-- Columns come, go and change.
alter table changing add d int default 4, add e text;

insert into changing values (2, 2, 'new', 'c', 5, 'e');

update changing set a = 10 where id = 1;

-- await

alter table changing drop b;

insert into changing values (3, 3, 'c', 6, 'e');

delete from changing where id = 1;

-- await

alter table changing rename c to renamed;

update changing set renamed = 'r' where id = 2;

-- await

alter table changing alter a type bigint, alter d type text using d::text, alter renamed type varchar(50);

insert into changing values (4, 4000000000, 'c', 'six', 'e');

-- await

alter table changing alter d set not null, alter e set default 'new default';

insert into changing values (5, 5, 'c', 'six');

-- await

alter table changing alter d drop not null, alter d drop default;

insert into changing values (50, 5, 'c', null, 'e');

update changing set d = 'six' where id = 50;

-- await

alter table changing drop constraint changing_pkey, add primary key (id, d);

insert into changing values (6, 6, 'c', 'six', 'e');

delete from changing where id = 5;

-- await

alter type size add value 'new label' before 'small';

alter table changing add s size default 'new label';

insert into changing values (7, 7, 'c', 'seven', 'e', 'x,large');
