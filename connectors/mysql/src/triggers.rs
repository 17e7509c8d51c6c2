//! MySQL's and MariaDB's answers about change tables and the triggers that fill them.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use mysql_async::Conn;
use tailrace_core::check::Finding;
use tailrace_core::grants::Script;
use tailrace_core::ports::SourceConnector;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tailrace_sql::change_table::compare::TriggerState;
use tailrace_sql::change_table::database::{Reading, exact_pattern, reading_query};
use tailrace_sql::change_table::{
    CHANGED_AT, CapturedTable, Engine, InstalledTable, InstalledTrigger, OPERATION, SEQUENCE, Survey, TriggerDatabase,
    VERSION, name,
};

use crate::MySqlConnector;
use crate::config::MySqlConfig;
use crate::connect::{self, Purpose, Texts, execute, texts};
use crate::discover::{self, foreign_key};
use crate::grants::{self, statement};
use crate::quote::literal;
use crate::server::{self, Flavour, Grants, Identity, identify};

const DOING: &str = "read the catalogue";

/// A MySQL or MariaDB server whose tables are captured by triggers.
pub struct MySqlTriggers {
    config: MySqlConfig,
    flavour: Flavour,
}

/// What our user may do.
struct Rights {
    /// As a statement names it.
    user: String,
    grants: Grants,
}

/// Types of columns by table.
type Columns = HashMap<(String, String), Vec<(String, String)>>;

// === impl MySqlTriggers ===

impl MySqlTriggers {
    /// Triggers for the tables of this configuration.
    pub fn new(config: MySqlConfig, flavour: Flavour) -> Self {
        Self { config, flavour }
    }
}

#[async_trait]
impl TriggerDatabase for MySqlTriggers {
    fn engine(&self) -> Engine {
        match self.flavour {
            Flavour::MySql => Engine::MySql,
            Flavour::MariaDb => Engine::MariaDb,
        }
    }

    fn grants(&self, connector: &str) -> Result<Script> {
        grants::of_change_tables(&self.config, self.flavour, connector)
    }

    async fn survey(&self) -> Result<Survey> {
        let mut connection = connect::connect(&self.config, Purpose::Catalog).await?;
        let identity = identify(&mut connection).await?;
        identity.verify_flavour(self.flavour)?;
        identity.verify_version()?;
        let discovery = discover::survey(&mut connection, &self.config, self.flavour).await?;
        let rights = Rights::of(&mut connection, &identity).await?;
        survey(&mut connection, self.engine(), &rights, discovery.verified()?).await
    }

    async fn apply(&self, statements: &[String]) -> Result<()> {
        const DOING: &str = "define tables and triggers";
        let mut connection = connect::connect(&self.config, Purpose::Setup).await?;
        if self.flavour == Flavour::MariaDb {
            // Filling a change table from a large table takes as long as it takes.
            execute(&mut connection, "SET SESSION max_statement_time = 0", DOING).await?;
        }
        for statement in statements {
            execute(&mut connection, statement, DOING).await?;
        }
        Ok(())
    }

    fn reader(&self, change_tables: &[Reading]) -> Result<Arc<dyn SourceConnector>> {
        let mut config = self.config.clone();
        config.tables = change_tables
            .iter()
            .map(|reading| exact_pattern(&reading.change_table))
            .collect();
        config.exclude = Vec::new();
        config.query = config.query.map(|query| reading_query(&query, change_tables));
        Ok(Arc::new(MySqlConnector::new(config, self.flavour)))
    }
}

async fn survey(
    connection: &mut Conn,
    engine: Engine,
    rights: &Rights,
    tables: Vec<discover::CapturedTable>,
) -> Result<Survey> {
    let is_marked = |comment: Option<&str>| comment.is_some_and(name::is_mark);
    let captured: Vec<_> = tables
        .into_iter()
        .map(|table| table.schema)
        .filter(|schema| !is_marked(schema.documentation.as_deref()))
        .collect();
    let schemas: BTreeSet<String> = captured.iter().map(|schema| literal(&schema.name.schema)).collect();
    if schemas.is_empty() {
        return Ok(Survey::default());
    }
    let schemas = Vec::from_iter(schemas).join(", ");
    let columns = columns(connection, &schemas).await?;
    let wanted: Vec<TableName> = captured
        .iter()
        .map(|schema| engine.change_table(&schema.name))
        .collect();
    let mut change_tables = installed(connection, &schemas, &columns).await?;
    change_tables.retain(|table| {
        let has_name = |name: &TableName| name.schema == table.name.schema && name.table == table.name.table;
        table.mark.is_some() || wanted.iter().any(has_name)
    });
    let is_wanted = |table: &&InstalledTable| {
        let mut wanted = wanted.iter();
        wanted.any(|name| name.schema == table.name.schema && name.table == table.name.table)
    };
    rights.verify(
        captured.iter().map(|schema| &schema.name),
        change_tables.iter().filter(is_wanted).map(|table| &table.name),
    )?;
    let names: Vec<_> = captured
        .iter()
        .map(|schema| (schema.name.schema.clone(), schema.name.table.clone()))
        .collect();
    Ok(Survey {
        change_tables,
        functions: Vec::new(),
        triggers: triggers(connection, &schemas).await?,
        findings: cascades(connection, &names).await?,
        tables: captured
            .into_iter()
            .map(|schema| {
                let types = columns.get(&(schema.name.schema.clone(), schema.name.table.clone()));
                let declared = |column: &str| {
                    let found = types.into_iter().flatten().find(|(name, _)| name == column);
                    found.map(|(_, declared)| declared.clone()).unwrap_or_default()
                };
                CapturedTable {
                    declared: schema.columns.iter().map(|column| declared(&column.name)).collect(),
                    schema,
                }
            })
            .collect(),
    })
}

// === impl Rights ===

impl Rights {
    async fn of(connection: &mut Conn, identity: &Identity) -> Result<Self> {
        let user = texts(connection, "SELECT CURRENT_USER()", DOING).await?;
        let user = user.first().and_then(|row| row.text(0)).unwrap_or_default();
        let (name, host) = user.rsplit_once('@').unwrap_or((user, "%"));
        Ok(Self {
            user: statement::user(name, host),
            grants: server::granted(connection, identity).await?,
        })
    }

    /// The server shows columns to those who may read them, and triggers to those who may make them: others would be told that there are none.
    fn verify<'a>(
        &self,
        captured: impl Iterator<Item = &'a TableName>,
        change_tables: impl Iterator<Item = &'a TableName>,
    ) -> Result<()> {
        let captured = captured.map(|name| (&["SELECT", "TRIGGER"][..], name));
        let change_tables = change_tables.map(|name| (&["SELECT"][..], name));
        let missing = captured.chain(change_tables).filter_map(|(needed, name)| {
            let is_missing = |privilege: &&&str| !self.grants.on_table(privilege, &name.schema, &name.table);
            let missing: Vec<&str> = needed.iter().filter(is_missing).copied().collect();
            let list = missing.join(", ");
            (!list.is_empty()).then(|| statement::on_table(&list, &name.schema, &name.table, &self.user))
        });
        let missing = Vec::from_iter(missing).join("; ");
        if missing.is_empty() {
            return Ok(());
        }
        let message = format!(
            "the user {} is not shown all columns and triggers of captured tables and change tables: {missing};",
            self.user
        );
        Err(Error::definite("insufficient_privilege", message))
    }
}

fn named(schema: &str, table: &str) -> TableName {
    TableName {
        database: String::new(),
        schema: schema.to_owned(),
        table: table.to_owned(),
    }
}

/// Types as a statement that makes a table has them, with character set and collation, because members of an ENUM may be the same in
/// another.
async fn columns(connection: &mut Conn, schemas: &str) -> Result<Columns> {
    let query = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, CHARACTER_SET_NAME, COLLATION_NAME \
         FROM information_schema.COLUMNS WHERE TABLE_SCHEMA IN ({schemas}) ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
    );
    let mut columns = Columns::new();
    for row in texts(connection, &query, DOING).await? {
        if let Some((table, column)) = column(&row) {
            columns.entry(table).or_default().push(column);
        }
    }
    Ok(columns)
}

fn column(row: &Texts) -> Option<((String, String), (String, String))> {
    let mut declared = row.text(3)?.to_owned();
    if let (Some(charset), Some(collation)) = (row.text(4), row.text(5)) {
        declared += &format!(" CHARACTER SET {charset} COLLATE {collation}");
    }
    let table = (row.text(0)?.to_owned(), row.text(1)?.to_owned());
    Some((table, (row.text(2)?.to_owned(), declared)))
}

async fn installed(connection: &mut Conn, schemas: &str, columns: &Columns) -> Result<Vec<InstalledTable>> {
    let query = format!(
        "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_COMMENT FROM information_schema.TABLES \
         WHERE TABLE_SCHEMA IN ({schemas}) AND TABLE_TYPE = 'BASE TABLE' ORDER BY TABLE_SCHEMA, TABLE_NAME"
    );
    let is_own = |column: &str| [SEQUENCE, OPERATION, CHANGED_AT, VERSION].contains(&column);
    let rows = texts(connection, &query, DOING).await?;
    let tables = rows.iter().filter_map(|row| {
        let (schema, table) = (row.text(0)?, row.text(1)?);
        let all = columns
            .get(&(schema.to_owned(), table.to_owned()))
            .into_iter()
            .flatten();
        Some(InstalledTable {
            name: named(schema, table),
            mark: row.text(2).filter(|comment| name::is_mark(comment)).map(str::to_owned),
            columns: all.filter(|(column, _)| !is_own(column)).cloned().collect(),
        })
    });
    Ok(tables.collect())
}

/// Triggers cannot be disabled here. Those whose table our user may not make triggers on are not shown.
async fn triggers(connection: &mut Conn, schemas: &str) -> Result<Vec<InstalledTrigger>> {
    let query = format!(
        "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_TIMING, EVENT_MANIPULATION, ACTION_STATEMENT \
         FROM information_schema.TRIGGERS WHERE EVENT_OBJECT_SCHEMA IN ({schemas}) ORDER BY 1, 2, 3"
    );
    let rows = texts(connection, &query, DOING).await?;
    let triggers = rows.iter().filter_map(|row| {
        Some(InstalledTrigger {
            table: named(row.text(0)?, row.text(1)?),
            name: row.text(2)?.to_owned(),
            definition: format!("{} {} {}", row.text(3)?, row.text(4)?, row.text(5)?),
            state: TriggerState::Always,
        })
    });
    Ok(triggers.collect())
}

/// Foreign keys by which rows of captured tables change without a trigger.
async fn cascades(connection: &mut Conn, tables: &[(String, String)]) -> Result<Vec<Finding>> {
    let keys = foreign_key::acting_on(connection, tables).await?;
    let findings = keys.into_iter().map(|key| {
        Finding::warning(
            "triggers_cascades",
            format!(
                "rows of {}.{} that the foreign key {} changes ({}) when {} changes fire no trigger and are not seen",
                key.schema, key.table, key.name, key.actions, key.parent
            ),
            format!(
                "delete or update the rows of {} before those of {}, or read the server's binary log instead",
                key.table, key.parent
            ),
        )
    });
    Ok(findings.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_come_with_their_characters() {
        let row = Texts::of(&["shop", "orders", "note", "varchar(20)", "latin1", "latin1_swedish_ci"]);
        let (table, (name, declared)) = column(&row).unwrap();
        assert_eq!(table, ("shop".to_owned(), "orders".to_owned()));
        assert_eq!(name, "note");
        assert_eq!(declared, "varchar(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci");
        let (_, (_, declared)) = column(&Texts::of(&["shop", "orders", "id", "int unsigned"])).unwrap();
        assert_eq!(declared, "int unsigned");
    }
}
