-- As Tailrace 0.1.0 left it; written by `tests/run golden`, never edited.
PRAGMA application_id = 0;
PRAGMA user_version = 0;
BEGIN;
CREATE TABLE "tailrace_offsets" (
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
INSERT INTO "tailrace_offsets" VALUES ('mirror', 'shop.customers', 0, 3, 7954259208944579578, 1, 'process 9016, writer 0', '2026-11-23 05:29:17.451');
CREATE TABLE "customers" ("id" INTEGER NOT NULL, "name" TEXT NOT NULL, "updated_at" TEXT NOT NULL, PRIMARY KEY ("id"));
INSERT INTO "customers" VALUES (1, 'Ada', '2026-01-02 03:04:05');
INSERT INTO "customers" VALUES (2, 'Bob', '2026-01-02 03:04:06');
INSERT INTO "customers" VALUES (3, 'Cy', '2026-01-02 03:04:07');
COMMIT;
