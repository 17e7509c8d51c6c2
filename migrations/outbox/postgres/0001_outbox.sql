-- An outbox: what the application writes here, in the transaction that changes its own tables, is published.
-- Column names are those of Debezium's event router; `sequence` and `created_at` are for reading in order.
create table if not exists "public"."outbox" (
    -- The order of the rows; the application leaves it out.
    sequence           bigint       generated always as identity primary key,
    -- The event's id: consumers know an event again by it.
    id                 uuid         not null unique default gen_random_uuid(),
    -- What the event is about, and which one: the topic ends in the first, the second is the record's key.
    aggregatetype      varchar(255) not null,
    aggregateid        varchar(255) not null,
    -- What happened.
    type               varchar(255) not null,
    -- The event itself. Published byte for byte as the database prints it.
    payload            jsonb,
    -- A JSON object of further headers.
    headers            jsonb,
    tracingspancontext text,
    -- When it happened, and not when its transaction began.
    created_at         timestamptz  not null default clock_timestamp()
);
comment on table "public"."outbox" is 'Events of this database; Tailrace publishes its rows.';
