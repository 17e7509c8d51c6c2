-- How far each partition is that a sink of Tailrace writes into this database, beside the rows.
CREATE TABLE IF NOT EXISTS tailrace_offsets (
    connector       text NOT NULL,
    topic           text NOT NULL,
    topic_partition integer NOT NULL,
    -- The first offset that is not written; NULL before the first.
    next_offset     bigint,
    -- What tells the record before it from others; NULL where none was written.
    last_record     bigint,
    -- Counted up by whoever takes the partition: a writer with an older one is refused.
    epoch           bigint NOT NULL,
    -- The session that has it.
    owner           text NOT NULL,
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connector, topic, topic_partition)
) WITH (fillfactor = 50);
