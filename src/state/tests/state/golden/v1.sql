-- A state as the first release left it, taken with the sqlite3 shell's .dump; never edited.
PRAGMA application_id = 1414679635;
PRAGMA user_version = 1;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE _sqlx_migrations (
    version BIGINT PRIMARY KEY,
    description TEXT NOT NULL,
    installed_on TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP,
    success BOOLEAN NOT NULL,
    checksum BLOB NOT NULL,
    execution_time BIGINT NOT NULL
);
INSERT INTO _sqlx_migrations VALUES(1,'state','2026-11-21 05:33:08',1,X'ad1ffd58ab26270594e7642f592d2a59b826d390d7b3f04c572efd8c669e2936d02d2713410c3bce78725afc6065a32b',551994);
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
INSERT INTO store VALUES(1,'69b71f16f3cb65a5bf199ab008a20c50',9978056,1795239188726605,1,3930367910);
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
INSERT INTO connectors VALUES('orders',1,0,3,24281982);
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
INSERT INTO checkpoints VALUES('orders',0,3,'{"position":"0/00000003"}',1795239188734,1346619049);
INSERT INTO checkpoints VALUES('orders',1,2,'{"position":"0/00000002"}',1795239188733,1554337475);
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
INSERT INTO schema_history VALUES('orders','public.orders',1,'{"name":{"database":"shop","schema":"public","table":"orders"},"kind":"table","columns":[{"name":"id","logical_type":"int64","nullable":false,"source_type":"bigint"}],"key":[0]}','0/10',2496485090);
INSERT INTO schema_history VALUES('orders','public.orders',2,'{"name":{"database":"shop","schema":"public","table":"orders"},"kind":"table","columns":[{"name":"id","logical_type":"int64","nullable":false,"source_type":"bigint"},{"name":"total","logical_type":"int64","nullable":false,"source_type":"bigint"}],"key":[0]}','0/11',2037449122);
CREATE TABLE source_memory (
    connector       TEXT NOT NULL PRIMARY KEY,
    memory          TEXT NOT NULL,
    checksum        INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO source_memory VALUES('orders','{"slot":"tailrace"}',302294530);
COMMIT;
