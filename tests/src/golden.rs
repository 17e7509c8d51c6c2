//! What a release leaves on disks, kept for ever: `tests/golden/<version>/`.
//!
//! | file | what it is |
//! |---|---|
//! | `state.sql` | the state, as statements that make it again |
//! | `said.json` | what that release read in its own state and stream: what every later one must read there |
//! | `events/` | the folder of the embedded stream, byte for byte |
//! | `shop.sql`, `target.sql` | a SQLite source with outbox, change table and triggers; a SQLite target with rows and offsets |
//! | `tailrace.yaml` | the connectors between them, with `{folder}` for where they were |

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::{Map, Value, json};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, SqliteConnection};
use tailrace_codec::contract::ContractRules;
use tailrace_core::registry::SchemaRegistry;
use tailrace_state::StateStore;

use crate::events::Event;
use crate::published::Published;
use crate::servers::{Result, ServerError};

/// More than any golden has.
const PLENTY: usize = 10_000;

/// A release's files.
#[derive(Clone, Debug)]
pub struct Golden {
    /// The release.
    pub version: String,
    /// Its folder.
    pub folder: PathBuf,
}

/// Every release that has left something, by name.
///
/// # Errors
/// When the folder cannot be read.
pub fn all() -> Result<Vec<Golden>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden");
    let failed = ServerError::doing::<std::io::Error>("reading the goldens");
    let entries = fs::read_dir(&root).map_err(failed)?;
    let mut found: Vec<Golden> = entries
        .flatten()
        .filter(|entry| entry.path().is_dir())
        .map(|entry| Golden {
            version: entry.file_name().to_string_lossy().into_owned(),
            folder: entry.path(),
        })
        .collect();
    found.sort_by(|left, right| left.version.cmp(&right.version));
    Ok(found)
}

// === impl Golden ===

impl Golden {
    /// Of the release that is being built.
    #[must_use]
    pub fn current() -> Golden {
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(&version);
        Golden { version, folder }
    }

    /// The text of one of its files.
    ///
    /// # Errors
    /// When it is not there.
    pub fn text(&self, name: &str) -> Result<String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(ServerError::doing(format!("reading {}", path.display())))
    }

    /// What the release said.
    ///
    /// # Errors
    /// When it is not there, or no JSON.
    pub fn said(&self) -> Result<Value> {
        serde_json::from_str(&self.text("said.json")?).map_err(ServerError::doing("reading said.json"))
    }

    /// Makes one of its databases again.
    ///
    /// # Errors
    /// When the statements fail.
    pub async fn restore(&self, name: &str, file: &Path) -> Result<()> {
        let statements = self.text(name)?;
        let mut connection = open(file, true).await?;
        let ran = sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await;
        ran.map_err(ServerError::doing(format!("restoring {name}")))?;
        close(connection).await
    }

    /// Copies its stream to another folder.
    ///
    /// # Errors
    /// When that cannot be written.
    pub fn copy_events(&self, to: &Path) -> Result<()> {
        copy(&self.folder.join("events"), to)
    }
}

/// Copies a folder with all that is in it.
///
/// # Errors
/// When it cannot be read or written.
pub fn copy(from: &Path, to: &Path) -> Result<()> {
    let failed = || ServerError::doing::<std::io::Error>(format!("copying {}", from.display()));
    fs::create_dir_all(to).map_err(failed())?;
    for entry in fs::read_dir(from).map_err(failed())? {
        let entry = entry.map_err(failed())?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else if path.extension().is_none_or(|extension| extension != "lock") {
            fs::copy(&path, &target).map_err(failed())?;
        }
    }
    Ok(())
}

async fn open(file: &Path, create: bool) -> Result<SqliteConnection> {
    let options = SqliteConnectOptions::new().filename(file).create_if_missing(create);
    let opened = options.connect().await;
    opened.map_err(ServerError::doing(format!("opening {}", file.display())))
}

async fn close(connection: SqliteConnection) -> Result<()> {
    connection
        .close()
        .await
        .map_err(ServerError::doing("closing a database"))
}

/// The statements that make a SQLite database again: tables, rows, then what rows would set off.
///
/// # Errors
/// When it cannot be read.
pub async fn dump(file: &Path) -> Result<String> {
    let mut connection = open(file, false).await?;
    let text = statements(&mut connection)
        .await
        .map_err(ServerError::doing(format!("reading {}", file.display())))?;
    close(connection).await?;
    Ok(text)
}

async fn statements(connection: &mut SqliteConnection) -> sqlx::Result<String> {
    let release = env!("CARGO_PKG_VERSION");
    let mut text = format!("-- As Tailrace {release} left it; written by `tests/run golden`, never edited.\n");
    for pragma in ["application_id", "user_version"] {
        let query = format!("PRAGMA {pragma}");
        let value: i64 = sqlx::query_scalar(AssertSqlSafe(query))
            .fetch_one(&mut *connection)
            .await?;
        text += &format!("PRAGMA {pragma} = {value};\n");
    }
    text += "BEGIN;\n";
    let parts = sqlx::query_as("SELECT type, name, sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY rowid");
    let parts: Vec<(String, String, String)> = parts.fetch_all(&mut *connection).await?;
    let (tables, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(|(kind, _, _)| kind == "table");
    let (own, counts): (Vec<_>, Vec<_>) = tables
        .into_iter()
        .partition(|(_, name, _)| !name.starts_with("sqlite_"));
    for (_, name, sql) in &own {
        text += &format!("{sql};\n");
        text += &rows(connection, name).await?;
    }
    // SQLite's own, which rows above have begun to fill.
    for (_, name, _) in &counts {
        text += &format!("DELETE FROM {name};\n");
        text += &rows(connection, name).await?;
    }
    for (_, _, sql) in others {
        text += &format!("{sql};\n");
    }
    Ok(text + "COMMIT;\n")
}

/// The rows of a table, each a statement.
async fn rows(connection: &mut SqliteConnection, table: &str) -> sqlx::Result<String> {
    let columns = sqlx::query_scalar("SELECT name FROM pragma_table_info(?1) ORDER BY cid").bind(table);
    let columns: Vec<String> = columns.fetch_all(&mut *connection).await?;
    let quoted: Vec<String> = columns.iter().map(|name| format!("quote(\"{name}\")")).collect();
    let query = format!("SELECT {} FROM \"{table}\" ORDER BY 1", quoted.join(" || ', ' || "));
    let rows: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(connection).await?;
    let insert = |row: String| format!("INSERT INTO \"{table}\" VALUES ({row});\n");
    Ok(rows.into_iter().map(insert).collect())
}

/// Everything that is in a state, as the release that is being built reads it.
///
/// # Errors
/// When something cannot be read.
pub async fn said_of_state(state: &StateStore) -> Result<Value> {
    let read = async {
        let mut connectors = Map::new();
        for known in state.connectors().await? {
            let said = said_of_connector(state, &known.name).await?;
            let checkpoint = known.checkpoint.as_ref();
            let progress = json!({
                "sequence": checkpoint.map(|checkpoint| checkpoint.sequence),
                "progress": checkpoint.map(|checkpoint| &checkpoint.progress),
                "saved_at_ms": known.saved_at_ms,
            });
            connectors.insert(known.name, json!([progress, said]));
        }
        let registry = state.registry(Arc::new(ContractRules));
        let mut subjects = Map::new();
        for subject in registry.subjects().await? {
            let versions = registry.versions(&subject).await?;
            let versions = versions.iter().map(|one| {
                json!([
                    one.version,
                    one.id.0,
                    one.schema.schema_type.registry_name(),
                    &*one.schema.text
                ])
            });
            subjects.insert(subject, versions.collect());
        }
        let created = state.created_connectors().await?;
        let created = created.iter().map(|created| json!([created.name, created.config]));
        let wishes = state.wishes().await?;
        let wishes = wishes
            .iter()
            .map(|wish| json!([wish.connector, wish.wanted.name(), wish.by, wish.at_us]));
        // A later release writes down that it goes on.
        let journal = state.journal((0, i64::MAX), None, 1000).await?;
        let journal: Vec<_> = journal.into_iter().filter(|entry| entry.what != "release").collect();
        Ok(json!({
            "connectors": connectors,
            "registry": subjects,
            "created": created.collect::<Vec<_>>(),
            "wishes": wishes.collect::<Vec<_>>(),
            "journal": journal,
        }))
    };
    let said: tailrace_core::Result<Value> = read.await;
    said.map_err(|error| ServerError::new(error.report()))
}

async fn said_of_connector(state: &StateStore, name: &str) -> tailrace_core::Result<Value> {
    let versions = state.table_versions(name).await?;
    let versions = versions.iter().map(|version| {
        json!([
            version.table,
            version.version,
            version.schema,
            version.position,
            version.is_announced
        ])
    });
    let mut letters = Vec::new();
    for letter in state.dead_letters(name, (0, PLENTY, true)).await? {
        letters.extend(state.dead_letter(name, letter.id).await?);
    }
    let letters = letters
        .iter()
        .map(|letter| json!([letter.id, format!("{:?}", letter.state), letter.attempts, letter.letter]));
    let until = state.carried_until(name).await?;
    Ok(json!({
        "memory": state.source_memory(name).await?,
        "tables": versions.collect::<Vec<_>>(),
        "letters": letters.collect::<Vec<_>>(),
        "carried_until": until.map(|until| json!([until.at_ms, until.is_exact])),
    }))
}

/// Every record of an embedded stream, by topic, as the release that is being built reads it.
///
/// # Errors
/// When something cannot be read.
pub async fn said_of_stream(folder: &Path) -> Result<Value> {
    let entries = fs::read_dir(folder).map_err(ServerError::doing("reading a stream's folder"))?;
    let folders = entries.flatten().filter(|entry| entry.path().is_dir());
    let names = folders.map(|entry| entry.file_name().to_string_lossy().into_owned());
    let mut topics: Vec<String> = names.filter(|name| name != "consumers").collect();
    topics.sort();
    let mut said = Map::new();
    for topic in topics {
        let events = Published::File(folder.to_owned()).events(&topic).await?;
        said.insert(topic, events.iter().map(said_of_event).collect());
    }
    Ok(said.into())
}

fn said_of_event(event: &Event) -> Value {
    // Avro is no text.
    let hexadecimal = |bytes: &Option<Vec<u8>>| {
        let bytes = bytes.as_ref()?;
        Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>())
    };
    json!({
        "offset": event.offset,
        "timestamp_ms": event.timestamp_ms,
        "key": hexadecimal(&event.key),
        "value": hexadecimal(&event.value),
        "headers": event.headers,
    })
}
