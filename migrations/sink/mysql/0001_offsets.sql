-- How far each partition of each sink is, changed in the transaction that writes its rows.
CREATE TABLE IF NOT EXISTS `tailrace_offsets` (
    -- Within what an index of MySQL 5.6 takes: 767 bytes of a column.
    connector       VARCHAR(190) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- Kafka's names have at most so many letters, of ASCII.
    topic           VARCHAR(249) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    topic_partition INT          NOT NULL,
    -- The first offset that is not written; NULL before anything was.
    next_offset     BIGINT       NULL,
    -- What tells the record before it from another one, should the topic be made anew.
    last_record     BIGINT       NULL,
    -- Counts who has taken the partition: nobody who had it before can still write.
    epoch           BIGINT       NOT NULL,
    -- The session that has it.
    owner           TEXT         CHARACTER SET utf8mb4 NOT NULL,
    -- UTC.
    updated_at      DATETIME(6)  NOT NULL,
    PRIMARY KEY (connector, topic, topic_partition)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COMMENT = 'How far the sinks of Tailrace are; changed with the rows that they write.';
