-- Which of several daemons reads a queue at the moment; one row for each queue.
CREATE TABLE IF NOT EXISTS `tailrace_lease` (
    -- As long as a key of MySQL 5.6 may be.
    name          VARCHAR(190) NOT NULL PRIMARY KEY,
    -- Grows with each new holder: nobody who had it before can still acknowledge rows.
    epoch         BIGINT       NOT NULL,
    owner         VARCHAR(200) NOT NULL,
    -- Microseconds since 1970, by the database's clock.
    expires_at_us BIGINT       NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4;
