-- How far each partition of each sink is, changed in the transaction that writes its rows.
CREATE TABLE IF NOT EXISTS "tailrace_offsets" (
    connector       TEXT    NOT NULL,
    topic           TEXT    NOT NULL,
    topic_partition INTEGER NOT NULL,
    -- The first offset that is not written; NULL before anything was.
    next_offset     INTEGER,
    -- What tells the record before it from another one, should the topic be made anew.
    last_record     INTEGER,
    -- Counts who has taken the partition: nobody who had it before can still write.
    epoch           INTEGER NOT NULL,
    -- The session that has it.
    owner           TEXT    NOT NULL,
    -- UTC.
    updated_at      TEXT    NOT NULL,
    PRIMARY KEY (connector, topic, topic_partition)
) WITHOUT ROWID;
