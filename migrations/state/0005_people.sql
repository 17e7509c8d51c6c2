-- What people asked for over HTTP: connectors that are not in the file, connectors that are not to run, and who did what when.

PRAGMA user_version = 5;

-- Connectors that were created over HTTP.
CREATE TABLE created_connectors (
    name            TEXT NOT NULL PRIMARY KEY,
    -- JSON object: what the file would have under the connector's name, as it was sent, with its passwords.
    config          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- Connectors that are not to run; one without a row is.
CREATE TABLE wanted_states (
    connector       TEXT NOT NULL PRIMARY KEY,
    -- paused or stopped.
    wanted          TEXT NOT NULL,
    -- Who asked for it.
    wanted_by       TEXT NOT NULL,
    -- Microseconds since 1970.
    wanted_at_us    INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What changed when, and who asked; the oldest are removed.
CREATE TABLE journal (
    -- Grows by one; the highest is never removed, so that none is given twice.
    id              INTEGER NOT NULL PRIMARY KEY,
    -- Microseconds since 1970.
    at_us           INTEGER NOT NULL,
    -- Nothing where it concerns the whole process.
    connector       TEXT,
    -- A person's name, or tailrace.
    who             TEXT NOT NULL,
    -- A word of a fixed list: state, paused, created and others
    what            TEXT NOT NULL,
    -- A sentence.
    detail          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT;
