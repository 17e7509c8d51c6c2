-- Which of several daemons reads a queue at the moment; one row for each queue.
create table if not exists "public"."tailrace_lease" (
    name          varchar(200) primary key,
    -- Grows with each new holder: nobody who had it before can still acknowledge rows.
    epoch         bigint       not null,
    owner         varchar(200) not null,
    -- Microseconds since 1970, by the database's clock.
    expires_at_us bigint       not null
);
