//! Where a value is: in a table of a server, or of a file. Both say what the type of its column is, and the value as text.

use std::path::PathBuf;

use sqlx::sqlite::{SqliteConnectOptions, SqliteRow};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use tailrace_tests::database::Database;
use tailrace_tests::servers::{Result, ServerError};

use crate::sinks::sink;

/// The column that holds the value; its row's `id` is 1.
pub(super) const COLUMN: &str = "v";

/// A database of any kind.
pub(crate) enum Place {
    Server(Database),
    File(PathBuf),
}

// === impl Place ===

impl Place {
    /// The name of the target, for people.
    pub(super) fn title(&self) -> &'static str {
        match self {
            Place::File(_) => "SQLite",
            Place::Server(database) => match database.mysql() {
                Err(_) => "PostgreSQL",
                Ok(server) => match server.version().connector_type() {
                    "mysql" => "MySQL",
                    _ => "MariaDB",
                },
            },
        }
    }

    /// The `sink` section of a mirror.
    pub(super) fn sink(&self) -> String {
        match self {
            Place::Server(database) => sink(database, None),
            Place::File(path) => format!("type: sqlite, path: \"{}\"", path.display()),
        }
    }

    /// Runs statements.
    pub(super) async fn execute(&self, statements: &str) -> Result<()> {
        match self {
            Place::Server(database) => database.execute(statements).await,
            Place::File(_) => self.query(statements).await.map(drop),
        }
    }

    /// Rows of texts.
    pub(super) async fn query(&self, query: &str) -> Result<Vec<Vec<Option<String>>>> {
        let path = match self {
            Place::Server(database) => return database.query(query).await,
            Place::File(path) => path,
        };
        let failed = |error: sqlx::Error| ServerError::new(format!("{query}: {error}"));
        let options = SqliteConnectOptions::new().filename(path).create_if_missing(true);
        let mut connection = options.connect().await.map_err(failed)?;
        let rows: Vec<SqliteRow> = sqlx::raw_sql(AssertSqlSafe(query))
            .fetch_all(&mut connection)
            .await
            .map_err(failed)?;
        let texts = |row: &SqliteRow| -> sqlx::Result<Vec<Option<String>>> {
            (0..row.len()).map(|index| row.try_get(index)).collect()
        };
        rows.iter().map(|row| texts(row).map_err(failed)).collect()
    }

    /// The tables that there are, and the types of their columns.
    pub(super) async fn tables(&self) -> Result<Vec<(String, String)>> {
        let query = match self {
            Place::File(_) => format!(
                "select m.name, c.type from sqlite_schema m, pragma_table_info(m.name) c where m.type = 'table' and c.name = '{COLUMN}'"
            ),
            Place::Server(database) => match database.mysql() {
                Err(_) => format!(
                    "select relname, format_type(atttypid, atttypmod) from pg_attribute a join pg_class c on c.oid = a.attrelid \
                     where relnamespace = 'public'::regnamespace and relkind = 'r' and attname = '{COLUMN}'"
                ),
                Ok(_) => format!(
                    "select table_name, column_type from information_schema.columns where table_schema = '{}' and column_name = '{COLUMN}'",
                    database.name()
                ),
            },
        };
        let rows = self.query(&query).await?;
        let pair = |row: Vec<Option<String>>| {
            let mut cells = row.into_iter().flatten();
            Some((cells.next()?, cells.next()?))
        };
        Ok(rows.into_iter().filter_map(pair).collect())
    }

    /// The value in a table, whose column is of this type; `None` where there is no row.
    pub(super) async fn value(&self, table: &str, data_type: &str) -> Result<Option<String>> {
        let query = format!("select {} from {table} where id = 1", self.printed(data_type));
        let rows = self.query(&query).await?;
        let value = rows.into_iter().next().map(|row| row.into_iter().next().flatten());
        Ok(value.map(|value| value.unwrap_or_else(|| "NULL".to_owned())))
    }

    /// How many of these tables have the row.
    pub(super) async fn rows(&self, tables: &[(String, String)]) -> Result<usize> {
        if tables.is_empty() {
            return Ok(0);
        }
        let counts: Vec<String> = tables
            .iter()
            .map(|(table, _)| format!("(select count(*) from {table} where id = 1)"))
            .collect();
        let rows = self
            .query(&format!("select cast({} as char(9))", counts.join(" + ")))
            .await?;
        let counted = rows.into_iter().flatten().flatten().next().unwrap_or_default();
        let counted = counted.trim().parse();
        counted.map_err(|error| ServerError::new(format!("counting rows: {error}")))
    }

    /// The value as text that tells it from others of its type.
    fn printed(&self, data_type: &str) -> String {
        let column = COLUMN;
        match self {
            // Fifteen digits of a number where they are enough to tell it from others.
            Place::File(_) => format!(
                "case typeof({column}) when 'text' then {column} when 'null' then null when 'blob' then '0x' || hex({column}) \
                 when 'integer' then quote({column}) else (case when cast(printf('%!.15g', {column}) as real) = {column} \
                 then printf('%!.15g', {column}) else printf('%!.17g', {column}) end) end"
            ),
            Place::Server(database) if database.mysql().is_err() => format!("{column}::text"),
            Place::Server(_) => {
                let name = data_type.split(['(', ' ']).next().unwrap_or_default();
                match name {
                    "float" | "double" => format!("concat({column} * 1e0)"),
                    "json" => format!("cast({column} as char)"),
                    "bit" => format!("bin({column} + 0)"),
                    "point" | "linestring" | "polygon" | "geometry" | "geomcollection" | "geometrycollection" => {
                        format!("concat(st_astext({column}), ' in ', st_srid({column}))")
                    }
                    "vector" => format!("vector_to_string({column})"),
                    _ if name.ends_with("blob") || name.ends_with("binary") => {
                        format!("concat('0x', hex({column}))")
                    }
                    _ => format!("concat({column})"),
                }
            }
        }
    }
}
