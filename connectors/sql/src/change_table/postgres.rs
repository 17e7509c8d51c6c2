//! PostgreSQL: one function per captured table, which a row trigger and a trigger for TRUNCATE call.

use super::name::NameLimit;
use super::{
    CHANGED_AT, Design, Engine, Generator, InstalledTable, OPERATION, Routine, SEQUENCE, Script, TRANSACTION, VERSION,
};

/// Names of triggers are the table's own, so that one name serves all tables.
const ROW_TRIGGER: &str = "tailrace_changes";
const TRUNCATE_TRIGGER: &str = "tailrace_truncates";

/// What a change's own columns are filled with.
const OWN_VALUES: [(&str, &str); 2] = [
    (TRANSACTION, "pg_catalog.pg_current_xact_id()"),
    (CHANGED_AT, "pg_catalog.clock_timestamp()"),
];

pub(super) struct Postgres;

impl Generator for Postgres {
    fn name_limit(&self) -> NameLimit {
        NameLimit::Bytes(63)
    }

    fn identifier(&self, name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    /// The sequence is counted one by one: numbers that a session takes in blocks would not be in the order of writing.
    fn own_columns(&self) -> &'static [(&'static str, &'static str)] {
        &[
            (SEQUENCE, "bigint GENERATED ALWAYS AS IDENTITY (CACHE 1) PRIMARY KEY"),
            (OPERATION, "char(1) NOT NULL"),
            (TRANSACTION, "xid8 NOT NULL"),
            (CHANGED_AT, "timestamp with time zone NOT NULL"),
            (VERSION, "char(16) NOT NULL"),
        ]
    }

    fn create_table(&self, design: &Design) -> String {
        format!(
            "CREATE TABLE {} (\n  {}\n)",
            Engine::Postgres.qualified(&design.change_table),
            design.definitions("").join(",\n  ")
        )
    }

    fn add_columns(&self, design: &Design, columns: &[(String, String)]) -> Vec<String> {
        alter(design, columns, |name, declared| {
            format!("ADD COLUMN {name} {declared}")
        })
    }

    fn retype_columns(
        &self,
        design: &Design,
        _installed: &InstalledTable,
        columns: &[(String, String)],
    ) -> Vec<String> {
        alter(design, columns, |name, declared| {
            format!("ALTER COLUMN {name} TYPE {declared} USING {name}::{declared}")
        })
    }

    fn function(&self, design: &Design) -> Option<Routine> {
        let name = design.change_table.table.clone();
        let qualified = Engine::Postgres.beside(&design.captured, &name);
        let body = body(design);
        let tag = tag(&body);
        let create = format!(
            "CREATE OR REPLACE FUNCTION {qualified}() RETURNS trigger LANGUAGE plpgsql\n\
             SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS {tag}{body}{tag}"
        );
        Some(Routine {
            // Nobody else may hang it on a table of theirs, and so write into this one with its owner's rights.
            create: vec![create, format!("REVOKE ALL ON FUNCTION {qualified}() FROM PUBLIC")],
            drop: format!("DROP FUNCTION {qualified}()"),
            definition: body,
            name,
        })
    }

    fn triggers(&self, design: &Design) -> Vec<Routine> {
        let row = trigger(design, ROW_TRIGGER, "INSERT OR UPDATE OR DELETE", "ROW");
        let truncate = trigger(design, TRUNCATE_TRIGGER, "TRUNCATE", "STATEMENT");
        vec![row, truncate]
    }

    fn mark(&self, design: &Design) -> Vec<String> {
        vec![format!(
            "COMMENT ON TABLE {} IS '{}'",
            Engine::Postgres.qualified(&design.change_table),
            design.mark_text().replace('\'', "''")
        )]
    }

    fn backfill(&self, design: &Design) -> String {
        design.insert_rows(&OWN_VALUES)
    }

    /// One transaction. Writers of the captured table wait until it is over, and it waits for them only briefly, because all who come
    /// after it wait behind it.
    fn enclose(&self, script: &Script) -> Vec<String> {
        let mut statements = vec![
            "BEGIN".to_owned(),
            "SET LOCAL lock_timeout = '5s'".to_owned(),
            "SET LOCAL statement_timeout = 0".to_owned(),
        ];
        let table = Engine::Postgres.qualified(&script.captured);
        statements.push(format!("LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"));
        statements.extend(script.tables.iter().chain(&script.triggers).cloned());
        statements.push("COMMIT".to_owned());
        statements
    }

    fn printed(&self, statements: &[String]) -> String {
        statements.iter().map(|statement| format!("{statement};\n")).collect()
    }
}

fn alter(design: &Design, columns: &[(String, String)], clause: impl Fn(&str, &str) -> String) -> Vec<String> {
    if columns.is_empty() {
        return Vec::new();
    }
    let clauses = columns
        .iter()
        .map(|(name, declared)| clause(&Postgres.identifier(name), declared));
    let table = Engine::Postgres.qualified(&design.change_table);
    vec![format!(
        "ALTER TABLE {table}\n  {}",
        clauses.collect::<Vec<_>>().join(",\n  ")
    )]
}

/// Whether a row changed is asked of its bytes: by `=` 1.0 and 1.00 are equal, texts that differ in case may be, and json has
/// no `=` at all.
fn body(design: &Design) -> String {
    let row = |variable: &str| {
        let columns = design.columns.iter();
        let columns = columns.map(|column| format!("{variable}.{}", Postgres.identifier(&column.captured)));
        format!("ROW({})", columns.collect::<Vec<_>>().join(", "))
    };
    format!(
        "
-- {mark}
BEGIN
  IF TG_OP = 'INSERT' THEN
    {create};
  ELSIF TG_OP = 'UPDATE' THEN
    IF pg_catalog.record_image_ne({old}, {new}) THEN
      {update};
    END IF;
  ELSIF TG_OP = 'DELETE' THEN
    {delete};
  ELSE
    {truncate};
  END IF;
  RETURN NULL;
END
",
        mark = design.mark_text().replace(char::is_control, " "),
        create = design.insert('c', &OWN_VALUES, "      "),
        old = row("OLD"),
        new = row("NEW"),
        update = design.insert('u', &OWN_VALUES, "        "),
        delete = design.insert('d', &OWN_VALUES, "      "),
        truncate = design.insert('t', &OWN_VALUES, "      "),
    )
}

/// A dollar quote that the text does not hold.
fn tag(body: &str) -> String {
    let mut tag = "$tailrace$".to_owned();
    while body.contains(&tag) {
        tag.insert(1, '_');
    }
    tag
}

/// `ENABLE ALWAYS`: also where `session_replication_role` is `replica`, in a subscriber of logical replication or a restore.
fn trigger(design: &Design, name: &str, events: &str, each: &str) -> Routine {
    let table = Engine::Postgres.qualified(&design.captured);
    let function = Engine::Postgres.beside(&design.captured, &design.change_table.table);
    let quoted = Postgres.identifier(name);
    Routine {
        name: name.to_owned(),
        definition: format!("AFTER {events} FOR EACH {each} EXECUTE FUNCTION {function}()"),
        create: vec![
            format!(
                "CREATE TRIGGER {quoted} AFTER {events} ON {table}\n  FOR EACH {each} EXECUTE FUNCTION {function}()"
            ),
            format!("ALTER TABLE {table} ENABLE ALWAYS TRIGGER {quoted}"),
        ],
        drop: format!("DROP TRIGGER {quoted} ON {table}"),
    }
}
