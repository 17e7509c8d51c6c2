-- Made by tailrace triggers for the table public.orders, version cac0954315c0bc96.
-- A trigger that fails makes the application's write fail: nothing is left out without a word.
BEGIN;
SET LOCAL lock_timeout = '5s';
SET LOCAL statement_timeout = 0;
LOCK TABLE "public"."orders" IN SHARE ROW EXCLUSIVE MODE;
CREATE TABLE "public"."tailrace_changes_orders" (
  "sequence" bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY,
  "op" char(1) NOT NULL,
  "transaction_id" xid8 NOT NULL,
  "changed_at" timestamp with time zone NOT NULL,
  "version" char(16) NOT NULL,
  "old_id" bigint,
  "new_id" bigint,
  "old_note" varchar(20),
  "new_note" varchar(20)
);
COMMENT ON TABLE "public"."tailrace_changes_orders" IS 'Tailrace: changes of public.orders, version cac0954315c0bc96';
CREATE OR REPLACE FUNCTION "public"."tailrace_changes_orders"() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $tailrace$
-- Tailrace: changes of public.orders, version cac0954315c0bc96
BEGIN
  IF TG_OP = 'INSERT' THEN
    INSERT INTO "public"."tailrace_changes_orders" ("op", "version", "transaction_id", "changed_at", "new_id", "new_note")
      VALUES ('c', 'cac0954315c0bc96', pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp(), NEW."id", NEW."note");
  ELSIF TG_OP = 'UPDATE' THEN
    IF pg_catalog.record_image_ne(ROW(OLD."id", OLD."note"), ROW(NEW."id", NEW."note")) THEN
      INSERT INTO "public"."tailrace_changes_orders" ("op", "version", "transaction_id", "changed_at", "old_id", "old_note", "new_id", "new_note")
        VALUES ('u', 'cac0954315c0bc96', pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp(), OLD."id", OLD."note", NEW."id", NEW."note");
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    INSERT INTO "public"."tailrace_changes_orders" ("op", "version", "transaction_id", "changed_at", "old_id", "old_note")
      VALUES ('d', 'cac0954315c0bc96', pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp(), OLD."id", OLD."note");
  ELSE
    INSERT INTO "public"."tailrace_changes_orders" ("op", "version", "transaction_id", "changed_at")
      VALUES ('t', 'cac0954315c0bc96', pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp());
  END IF;
  RETURN NULL;
END
$tailrace$;
REVOKE ALL ON FUNCTION "public"."tailrace_changes_orders"() FROM PUBLIC;
CREATE TRIGGER "tailrace_changes" AFTER INSERT OR UPDATE OR DELETE ON "public"."orders"
  FOR EACH ROW EXECUTE FUNCTION "public"."tailrace_changes_orders"();
ALTER TABLE "public"."orders" ENABLE ALWAYS TRIGGER "tailrace_changes";
CREATE TRIGGER "tailrace_truncates" AFTER TRUNCATE ON "public"."orders"
  FOR EACH STATEMENT EXECUTE FUNCTION "public"."tailrace_changes_orders"();
ALTER TABLE "public"."orders" ENABLE ALWAYS TRIGGER "tailrace_truncates";
INSERT INTO "public"."tailrace_changes_orders" ("op", "version", "transaction_id", "changed_at", "new_id", "new_note")
  SELECT 'r', 'cac0954315c0bc96', pg_catalog.pg_current_xact_id(), pg_catalog.clock_timestamp(), "id", "note"
  FROM "public"."orders" ORDER BY "id";
COMMIT;
