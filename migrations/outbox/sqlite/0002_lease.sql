-- Which of several daemons reads a queue at the moment; one row for each queue.
CREATE TABLE IF NOT EXISTS "tailrace_lease" (
    name          TEXT    PRIMARY KEY,
    -- Grows with each new holder: nobody who had it before can still acknowledge rows.
    epoch         INTEGER NOT NULL,
    owner         TEXT    NOT NULL,
    -- Microseconds since 1970, by the database's clock.
    expires_at_us INTEGER NOT NULL
);
