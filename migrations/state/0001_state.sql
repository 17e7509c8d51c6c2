-- The state of one Tailrace: how far each connector is, which schemas it has met, what it must remember.
--
-- Rules for every file in this folder: it runs in one transaction, sets user_version to its own number, and is never
-- edited once released (a later number amends it). Every row carries a CRC-32 over its other columns, in the order
-- that checksum.rs names; a migration that changes a column must therefore leave the old rows readable by it.

-- 'TRLS': tells this file from every other SQLite database.
PRAGMA application_id = 1414679635;
PRAGMA user_version = 1;

-- One row: which state this is, and which file it belongs in.
CREATE TABLE store (
    id              INTEGER NOT NULL PRIMARY KEY CHECK (id = 1),
    -- 32 hexadecimal digits, made at random; a copy that is adopted gets new ones.
    instance_id     TEXT NOT NULL,
    -- Inode number of this file, its 64 bits read as signed.
    home_inode      INTEGER NOT NULL,
    -- Birth time of this file, microseconds since 1970, where the file system has one.
    home_created_us INTEGER,
    -- The last epoch given to a connector; never given twice, even after a connector was forgotten.
    epoch           INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT;

-- One row per connector that was ever opened.
CREATE TABLE connectors (
    name            TEXT NOT NULL PRIMARY KEY,
    -- Whoever opened it last; writes of an older epoch are refused.
    epoch           INTEGER NOT NULL,
    -- Where the newest checkpoint is, and its sequence; 0 where there is none yet. Written with the checkpoint, so
    -- that a lost row of `checkpoints` cannot look like a first start.
    newest_slot     INTEGER NOT NULL CHECK (newest_slot IN (0, 1)),
    newest_sequence INTEGER NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- The two newest checkpoints of each connector: a save overwrites the older slot.
CREATE TABLE checkpoints (
    connector       TEXT NOT NULL,
    slot            INTEGER NOT NULL CHECK (slot IN (0, 1)),
    sequence        INTEGER NOT NULL,
    -- JSON of core::position::Progress.
    progress        TEXT NOT NULL,
    -- Milliseconds since 1970.
    saved_at_ms     INTEGER NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, slot)
) STRICT, WITHOUT ROWID;

-- Versions of table schemas, oldest 1.
CREATE TABLE schema_history (
    connector       TEXT NOT NULL,
    table_name      TEXT NOT NULL,
    version         INTEGER NOT NULL,
    -- JSON of core::schema::TableSchema.
    table_schema    TEXT NOT NULL,
    -- From where in the source's log on it holds.
    position        TEXT NOT NULL,
    checksum        INTEGER NOT NULL,
    PRIMARY KEY (connector, table_name, version)
) STRICT, WITHOUT ROWID;

-- What a source remembers besides: JSON of its own.
CREATE TABLE source_memory (
    connector       TEXT NOT NULL PRIMARY KEY,
    memory          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
