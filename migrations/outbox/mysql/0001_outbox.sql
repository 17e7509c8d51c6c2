-- An outbox: what the application writes here, in the transaction that changes its own tables, is published.
-- Column names are those of Debezium's event router; `sequence` and `created_at` are for reading in order.
CREATE TABLE IF NOT EXISTS `outbox` (
    -- The order of the rows; the application leaves it out.
    sequence           BIGINT       NOT NULL AUTO_INCREMENT PRIMARY KEY,
    -- The event's id: consumers know an event again by it.
    id                 CHAR(36)     CHARACTER SET ascii NOT NULL DEFAULT (UUID()),
    -- What the event is about, and which one: the topic ends in the first, the second is the record's key.
    aggregatetype      VARCHAR(255) NOT NULL,
    aggregateid        VARCHAR(255) NOT NULL,
    -- What happened.
    type               VARCHAR(255) NOT NULL,
    -- The event itself. JSON is published without the spaces that a query shows; TEXT and BLOB byte for byte.
    payload            JSON,
    -- A JSON object of further headers.
    headers            JSON,
    tracingspancontext TEXT,
    -- When it happened, UTC.
    created_at         DATETIME(6)  NOT NULL DEFAULT (UTC_TIMESTAMP(6)),
    UNIQUE (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COMMENT = 'Events of this database; Tailrace publishes its rows.';
