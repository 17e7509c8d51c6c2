-- Made by tailrace triggers for the table orders, version 242151dc63909785.
-- A trigger that fails makes the application's write fail: nothing is left out without a word.
BEGIN IMMEDIATE;
CREATE TABLE "tailrace_changes_orders" (
  /* Tailrace: changes of orders */
  "sequence" INTEGER PRIMARY KEY AUTOINCREMENT,
  "op" TEXT NOT NULL,
  "changed_at" TIMESTAMP NOT NULL,
  "version" TEXT NOT NULL,
  "old_id" bigint,
  "new_id" bigint,
  "old_note" varchar(20),
  "new_note" varchar(20)
);
CREATE TRIGGER "tailrace_insert_orders" AFTER INSERT ON "orders"
  FOR EACH ROW
BEGIN
  /* Tailrace: changes of orders, version 242151dc63909785 */
  INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "new_id", "new_note")
    VALUES ('c', '242151dc63909785', strftime('%Y-%m-%d %H:%M:%f', 'now'), NEW."id", NEW."note");
END;
CREATE TRIGGER "tailrace_update_orders" AFTER UPDATE ON "orders"
  FOR EACH ROW
  WHEN OLD."id" IS NOT NEW."id" COLLATE BINARY OR typeof(OLD."id") <> typeof(NEW."id")
    OR OLD."note" IS NOT NEW."note" COLLATE BINARY OR typeof(OLD."note") <> typeof(NEW."note")
BEGIN
  /* Tailrace: changes of orders, version 242151dc63909785 */
  INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "old_id", "old_note", "new_id", "new_note")
    VALUES ('u', '242151dc63909785', strftime('%Y-%m-%d %H:%M:%f', 'now'), OLD."id", OLD."note", NEW."id", NEW."note");
END;
CREATE TRIGGER "tailrace_delete_orders" AFTER DELETE ON "orders"
  FOR EACH ROW
BEGIN
  /* Tailrace: changes of orders, version 242151dc63909785 */
  INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "old_id", "old_note")
    VALUES ('d', '242151dc63909785', strftime('%Y-%m-%d %H:%M:%f', 'now'), OLD."id", OLD."note");
END;
INSERT INTO "tailrace_changes_orders" ("op", "version", "changed_at", "new_id", "new_note")
  SELECT 'r', '242151dc63909785', strftime('%Y-%m-%d %H:%M:%f', 'now'), "id", "note"
  FROM "orders" ORDER BY "id";
COMMIT;
