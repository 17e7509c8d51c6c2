-- An outbox: what the application writes here, in the transaction that changes its own tables, is published.
-- Column names are those of Debezium's event router; `sequence` and `created_at` are for reading in order.
CREATE TABLE IF NOT EXISTS "outbox" (
    -- The order of the rows, never given twice; the application leaves it out.
    sequence           INTEGER   PRIMARY KEY AUTOINCREMENT,
    -- The event's id: consumers know an event again by it.
    id                 TEXT      NOT NULL UNIQUE DEFAULT (lower(hex(randomblob(16)))),
    -- What the event is about, and which one: the topic ends in the first, the second is the record's key.
    aggregatetype      TEXT      NOT NULL,
    aggregateid        TEXT      NOT NULL,
    -- What happened.
    type               TEXT      NOT NULL,
    -- The event itself. Published byte for byte.
    payload            JSON      CHECK (payload IS NULL OR json_valid(payload)),
    -- A JSON object of further headers.
    headers            JSON      CHECK (headers IS NULL OR json_valid(headers)),
    tracingspancontext TEXT,
    -- When it happened, UTC.
    created_at         TIMESTAMP NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now'))
);
