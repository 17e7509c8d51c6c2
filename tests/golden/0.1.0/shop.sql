-- As Tailrace 0.1.0 left it; written by `tests/run golden`, never edited.
PRAGMA application_id = 0;
PRAGMA user_version = 0;
BEGIN;
CREATE TABLE customers (id integer primary key, name text not null, updated_at text not null);
INSERT INTO "customers" VALUES (1, 'Ada', '2026-01-02 03:04:05');
INSERT INTO "customers" VALUES (2, 'Bob', '2026-01-02 03:04:06');
INSERT INTO "customers" VALUES (3, 'Cy', '2026-01-02 03:04:07');
CREATE TABLE orders (id integer primary key, total integer, note text);
INSERT INTO "orders" VALUES (1, 150, 'first');
CREATE TABLE "outbox" (
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
CREATE TABLE "tailrace_changes_orders" (
  /* Tailrace: changes of orders */
  "sequence" INTEGER PRIMARY KEY AUTOINCREMENT,
  "op" TEXT NOT NULL,
  "changed_at" TIMESTAMP NOT NULL,
  "version" TEXT NOT NULL,
  "old_id" INTEGER,
  "new_id" INTEGER,
  "old_total" INTEGER,
  "new_total" INTEGER,
  "old_note" TEXT,
  "new_note" TEXT
);
DELETE FROM sqlite_sequence;
INSERT INTO "sqlite_sequence" VALUES ('outbox', 1);
INSERT INTO "sqlite_sequence" VALUES ('tailrace_changes_orders', 4);
CREATE TRIGGER "tailrace_insert_orders" AFTER INSERT ON "orders"
  FOR EACH ROW
BEGIN
  /* Tailrace: changes of orders, version 635c6dec4e5b6b65 */
  INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "new_id", "new_total", "new_note")
    VALUES ('c', '635c6dec4e5b6b65', strftime('%Y-%m-%d %H:%M:%f', 'now'), NEW."id", NEW."total", NEW."note");
END;
CREATE TRIGGER "tailrace_update_orders" AFTER UPDATE ON "orders"
  FOR EACH ROW
  WHEN OLD."id" IS NOT NEW."id" COLLATE BINARY OR typeof(OLD."id") <> typeof(NEW."id")
    OR OLD."total" IS NOT NEW."total" COLLATE BINARY OR typeof(OLD."total") <> typeof(NEW."total")
    OR OLD."note" IS NOT NEW."note" COLLATE BINARY OR typeof(OLD."note") <> typeof(NEW."note")
BEGIN
  /* Tailrace: changes of orders, version 635c6dec4e5b6b65 */
  INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "old_id", "old_total", "old_note", "new_id", "new_total", "new_note")
    VALUES ('u', '635c6dec4e5b6b65', strftime('%Y-%m-%d %H:%M:%f', 'now'), OLD."id", OLD."total", OLD."note", NEW."id", NEW."total", NEW."note");
END;
CREATE TRIGGER "tailrace_delete_orders" AFTER DELETE ON "orders"
  FOR EACH ROW
BEGIN
  /* Tailrace: changes of orders, version 635c6dec4e5b6b65 */
  INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "old_id", "old_total", "old_note")
    VALUES ('d', '635c6dec4e5b6b65', strftime('%Y-%m-%d %H:%M:%f', 'now'), OLD."id", OLD."total", OLD."note");
END;
COMMIT;
