//! The embedded registry: the place of schemas where no other is configured.
//!
//! A number that was given out stands in records for ever. So schemas are never removed, what was registered is moved into
//! the main file before its number is told (see the crate on what SQLite's log can lose), and a version that follows others
//! is compared with them first.

use std::fmt;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use async_trait::async_trait;
use sqlx::{Connection as _, SqliteConnection};
use tailrace_core::check::Finding;
use tailrace_core::registry::{
    Compatibility, RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaRules, SchemaType, SubjectSettings,
};
use tailrace_core::{Error, Result};

use crate::checksum::row;
use crate::error::{corrupt, from_database};
use crate::store::{Inner, merge_log};

/// The schema may not follow the ones before.
const INCOMPATIBLE: &str = "schema_incompatible";
/// It is no schema.
const REFUSED: &str = "schema_refused";
/// There is no schema of a number.
const UNKNOWN: &str = "schema_unknown";

/// Schemas in the state store. Cheap to clone.
#[derive(Clone)]
pub struct EmbeddedRegistry {
    store: Arc<Inner>,
    rules: Arc<dyn SchemaRules>,
}

/// A row of `registry_schemas`: number, type, text, properties, tags, checksum.
type SchemaRow = (i64, String, String, String, String, i64);

/// A row of `registry_versions` with its schema's: version, type, text, properties, tags, checksum behind the number.
type VersionRow = (i64, i64, String, String, String, String, i64);

// === impl EmbeddedRegistry ===

impl EmbeddedRegistry {
    pub(crate) fn new(store: Arc<Inner>, rules: Arc<dyn SchemaRules>) -> Self {
        Self { store, rules }
    }

    /// Subjects with a version that is not deleted, by name.
    ///
    /// # Errors
    /// Transient `state_unwritable`, definite `state_corrupt`; so it is with every other function here.
    pub async fn subjects(&self) -> Result<Vec<String>> {
        let statement = "SELECT DISTINCT subject FROM registry_versions WHERE deleted = 0 ORDER BY subject";
        let mut lease = self.store.lease().await?;
        let read = sqlx::query_scalar(statement).fetch_all(&mut lease.connection).await;
        let subjects = read.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(subjects)
    }

    /// The versions, of any subject, that a schema is.
    ///
    /// # Errors
    /// See [`Self::subjects`].
    pub async fn uses_of(&self, id: SchemaId) -> Result<Vec<(String, u32)>> {
        let statement = "SELECT subject, version FROM registry_versions WHERE schema_id = ?1 AND deleted = 0 \
            ORDER BY subject, version";
        let mut lease = self.store.lease().await?;
        let query = sqlx::query_as(statement).bind(i64::from(id.0));
        let read: sqlx::Result<Vec<(String, i64)>> = query.fetch_all(&mut lease.connection).await;
        let read = read.map_err(|error| self.failed(error))?;
        lease.give_back();
        let uses = read.into_iter();
        uses.map(|(subject, version)| Ok((subject, self.number(version)?)))
            .collect()
    }

    /// The version of a subject that a schema is already, as it is written or in other words; the newest where it is several.
    ///
    /// # Errors
    /// See [`Self::subjects`].
    pub async fn look_up(&self, subject: &str, schema: &Schema) -> Result<Option<RegisteredSchema>> {
        let versions = self.versions(subject).await?;
        let is_it = |known: &&RegisteredSchema| {
            known.schema.schema_type == schema.schema_type && known.schema.text == schema.text
        };
        let exact = versions.iter().rev().find(is_it);
        let same = || {
            versions
                .iter()
                .rev()
                .find(|known| self.rules.is_same(&known.schema, schema))
        };
        Ok(exact.or_else(same).cloned())
    }

    /// What speaks against a schema as the next version of a subject, a sentence each; empty where nothing does.
    ///
    /// # Errors
    /// See [`Self::subjects`].
    pub async fn objections(&self, subject: &str, schema: &Schema) -> Result<Vec<String>> {
        if let Some(fault) = self.rules.fault(schema) {
            return Ok(vec![fault]);
        }
        let level = self.settings(subject).await?.compatibility.unwrap_or_default();
        let versions = self.versions(subject).await?;
        Ok(self.rules.objections(level, schema, &versions))
    }

    /// Hides a version of a subject: later ones are not compared with it. Its schema keeps its number and can be read by it.
    /// Says whether there was such a version.
    ///
    /// # Errors
    /// See [`Self::subjects`].
    pub async fn delete(&self, subject: &str, version: u32) -> Result<bool> {
        let mut lease = self.store.lease().await?;
        let deleted = async {
            let statement = "SELECT schema_id, registered_at_ms FROM registry_versions \
                WHERE subject = ?1 AND version = ?2 AND deleted = 0";
            let query = sqlx::query_as(statement).bind(subject).bind(i64::from(version));
            let found: Option<(i64, i64)> = query.fetch_optional(&mut lease.connection).await?;
            let Some((schema, registered_at_ms)) = found else {
                return Ok(false);
            };
            let statement =
                "UPDATE registry_versions SET deleted = 1, checksum = ?3 WHERE subject = ?1 AND version = ?2";
            let update = sqlx::query(statement).bind(subject).bind(i64::from(version));
            let checksum = row::registry_version(subject, i64::from(version), schema, 1, registered_at_ms);
            update.bind(checksum).execute(&mut lease.connection).await?;
            merge_log(&mut lease.connection).await?;
            sqlx::Result::Ok(true)
        };
        let deleted = deleted.await.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(deleted)
    }

    async fn read_settings(&self, connection: &mut SqliteConnection, subject: &str) -> Result<SubjectSettings> {
        let statement = "SELECT compatibility, deprecated, checksum FROM registry_subjects WHERE subject = ?1";
        let read = sqlx::query_as(statement).bind(subject).fetch_optional(connection).await;
        let row: Option<(Option<String>, Option<String>, i64)> = read.map_err(|error| self.failed(error))?;
        let Some((compatibility, deprecated, checksum)) = row else {
            return Ok(SubjectSettings::default());
        };
        let known = compatibility.as_deref().map(Compatibility::from_registry_name);
        let intact = checksum == row::registry_subject(subject, compatibility.as_deref(), deprecated.as_deref());
        if !intact || known == Some(None) {
            return Err(corrupt(
                &self.store.path,
                &format!("the settings of subject {subject} are not as written"),
            ));
        }
        Ok(SubjectSettings {
            compatibility: known.flatten(),
            deprecated,
        })
    }

    async fn read_versions(&self, connection: &mut SqliteConnection, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let statement = "SELECT version, id, schema_type, schema_text, properties, tags, registry_schemas.checksum \
            FROM registry_versions JOIN registry_schemas ON id = schema_id \
            WHERE subject = ?1 AND deleted = 0 ORDER BY version";
        let read = sqlx::query_as(statement).bind(subject).fetch_all(connection).await;
        let rows: Vec<VersionRow> = read.map_err(|error| self.failed(error))?;
        let versions = rows
            .into_iter()
            .map(|(version, id, schema_type, text, properties, tags, checksum)| {
                Ok(RegisteredSchema {
                    id: SchemaId(self.number(id)?),
                    version: self.number(version)?,
                    schema: self.read_schema((id, schema_type, text, properties, tags, checksum))?,
                })
            });
        versions.collect()
    }

    fn read_schema(&self, (id, schema_type, text, properties, tags, checksum): SchemaRow) -> Result<Schema> {
        let damaged = || {
            corrupt(
                &self.store.path,
                &format!("the schema of number {id} is not as written"),
            )
        };
        if checksum != row::registry_schema(id, &schema_type, &text, &properties, &tags) {
            return Err(damaged());
        }
        Ok(Schema {
            schema_type: SchemaType::from_registry_name(&schema_type).ok_or_else(damaged)?,
            text: text.into(),
            properties: serde_json::from_str(&properties).map_err(|error| damaged().with_source(error))?,
            tags: serde_json::from_str(&tags).map_err(|error| damaged().with_source(error))?,
        })
    }

    fn number(&self, number: i64) -> Result<u32> {
        u32::try_from(number).map_err(|_| {
            corrupt(
                &self.store.path,
                &format!("{number} is no number of a schema or version"),
            )
        })
    }

    fn failed(&self, error: sqlx::Error) -> Error {
        from_database(&self.store.path, error)
    }
}

impl fmt::Debug for EmbeddedRegistry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "embedded registry in {}", self.store.path.display())
    }
}

#[async_trait]
impl SchemaRegistry for EmbeddedRegistry {
    /// Nothing can be wrong with it that is not wrong with the state itself.
    async fn check(&self) -> Vec<Finding> {
        Vec::new()
    }

    async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let mut lease = self.store.lease().await?;
        let versions = self.read_versions(&mut lease.connection, subject).await?;
        lease.give_back();
        Ok(versions)
    }

    async fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId> {
        if let Some(fault) = self.rules.fault(schema) {
            let message =
                format!("what was to be registered for the subject `{subject}` is no schema: {fault}; correct it");
            return Err(Error::definite(REFUSED, message));
        }
        let mut lease = self.store.lease().await?;
        let versions = self.read_versions(&mut lease.connection, subject).await?;
        if let Some(known) = versions.iter().find(|known| known.schema == *schema) {
            lease.give_back();
            return Ok(known.id);
        }
        let settings = self.read_settings(&mut lease.connection, subject).await?;
        let level = settings.compatibility.unwrap_or_default();
        let objections = self.rules.objections(level, schema, &versions);
        if !objections.is_empty() {
            lease.give_back();
            return Err(incompatible(subject, level, versions.last(), &objections));
        }
        let written = async {
            let mut transaction = lease.connection.begin().await?;
            let id = settle(&mut transaction, schema).await?;
            append(&mut transaction, subject, id).await?;
            transaction.commit().await?;
            merge_log(&mut lease.connection).await?;
            sqlx::Result::Ok(id)
        };
        let id = written.await.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(SchemaId(self.number(id)?))
    }

    async fn by_id(&self, id: SchemaId) -> Result<Schema> {
        let statement =
            "SELECT id, schema_type, schema_text, properties, tags, checksum FROM registry_schemas WHERE id = ?1";
        let mut lease = self.store.lease().await?;
        let query = sqlx::query_as(statement).bind(i64::from(id.0));
        let read = query.fetch_optional(&mut lease.connection).await;
        let row: Option<SchemaRow> = read.map_err(|error| self.failed(error))?;
        lease.give_back();
        let Some(row) = row else {
            let message = format!(
                "the embedded registry in {} has no schema of number {}: the record was written with another registry or \
                 state; name it under `registries`, or use that state",
                self.store.path.display(),
                id.0
            );
            return Err(Error::definite(UNKNOWN, message));
        };
        self.read_schema(row)
    }

    async fn settings(&self, subject: &str) -> Result<SubjectSettings> {
        let mut lease = self.store.lease().await?;
        let settings = self.read_settings(&mut lease.connection, subject).await?;
        lease.give_back();
        Ok(settings)
    }

    async fn set(&self, subject: &str, settings: &SubjectSettings) -> Result<()> {
        let compatibility = settings.compatibility.map(Compatibility::registry_name);
        let deprecated = settings.deprecated.as_deref();
        let statement = "INSERT INTO registry_subjects (subject, compatibility, deprecated, checksum) VALUES (?1, ?2, ?3, ?4) \
            ON CONFLICT (subject) DO UPDATE SET compatibility = ?2, deprecated = ?3, checksum = ?4";
        let mut lease = self.store.lease().await?;
        let written = async {
            let insert = sqlx::query(statement)
                .bind(subject)
                .bind(compatibility)
                .bind(deprecated);
            let checksum = row::registry_subject(subject, compatibility, deprecated);
            insert.bind(checksum).execute(&mut lease.connection).await?;
            merge_log(&mut lease.connection).await
        };
        written.await.map_err(|error| self.failed(error))?;
        lease.give_back();
        Ok(())
    }
}

/// The number of a schema, which may be one that it has for another subject.
async fn settle(connection: &mut SqliteConnection, schema: &Schema) -> sqlx::Result<i64> {
    let schema_type = schema.schema_type.registry_name();
    let as_text = |error: serde_json::Error| sqlx::Error::Encode(Box::new(error));
    let properties = serde_json::to_string(&schema.properties).map_err(as_text)?;
    let tags = serde_json::to_string(&schema.tags).map_err(as_text)?;
    let statement = "SELECT id FROM registry_schemas \
        WHERE schema_type = ?1 AND schema_text = ?2 AND properties = ?3 AND tags = ?4 ORDER BY id";
    let query = sqlx::query_scalar(statement).bind(schema_type).bind(&*schema.text);
    let known = query
        .bind(&properties)
        .bind(&tags)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(id) = known {
        return Ok(id);
    }
    let next = sqlx::query_scalar("SELECT coalesce(max(id), 0) + 1 FROM registry_schemas");
    let id: i64 = next.fetch_one(&mut *connection).await?;
    let statement = "INSERT INTO registry_schemas (id, schema_type, schema_text, properties, tags, checksum) \
        VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let insert = sqlx::query(statement).bind(id).bind(schema_type).bind(&*schema.text);
    let checksum = row::registry_schema(id, schema_type, &schema.text, &properties, &tags);
    insert
        .bind(&properties)
        .bind(&tags)
        .bind(checksum)
        .execute(connection)
        .await?;
    Ok(id)
}

/// Makes a schema the newest version of a subject.
async fn append(connection: &mut SqliteConnection, subject: &str, schema: i64) -> sqlx::Result<()> {
    let next = sqlx::query_scalar("SELECT coalesce(max(version), 0) + 1 FROM registry_versions WHERE subject = ?1");
    let version: i64 = next.bind(subject).fetch_one(&mut *connection).await?;
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let registered_at_ms = i64::try_from(since_1970.as_millis()).unwrap_or(i64::MAX);
    let statement = "INSERT INTO registry_versions (subject, version, schema_id, deleted, registered_at_ms, checksum) \
        VALUES (?1, ?2, ?3, 0, ?4, ?5)";
    let insert = sqlx::query(statement).bind(subject).bind(version).bind(schema);
    let checksum = row::registry_version(subject, version, schema, 0, registered_at_ms);
    insert.bind(registered_at_ms).bind(checksum).execute(connection).await?;
    Ok(())
}

/// Whether every row is as it was written, and every version has its schema.
pub(crate) async fn is_intact(connection: &mut SqliteConnection) -> sqlx::Result<bool> {
    let rows = sqlx::query_as("SELECT id, schema_type, schema_text, properties, tags, checksum FROM registry_schemas");
    let schemas: Vec<SchemaRow> = rows.fetch_all(&mut *connection).await?;
    let mut intact = schemas
        .iter()
        .all(|(id, schema_type, text, properties, tags, checksum)| {
            *checksum == row::registry_schema(*id, schema_type, text, properties, tags)
        });
    let rows = sqlx::query_as("SELECT subject, compatibility, deprecated, checksum FROM registry_subjects");
    let subjects: Vec<(String, Option<String>, Option<String>, i64)> = rows.fetch_all(&mut *connection).await?;
    intact &= subjects.iter().all(|(subject, compatibility, deprecated, checksum)| {
        *checksum == row::registry_subject(subject, compatibility.as_deref(), deprecated.as_deref())
    });
    let rows = sqlx::query_as(
        "SELECT subject, version, schema_id, deleted, registered_at_ms, checksum FROM registry_versions",
    );
    let versions: Vec<(String, i64, i64, i64, i64, i64)> = rows.fetch_all(&mut *connection).await?;
    intact &= versions
        .iter()
        .all(|(subject, version, schema, deleted, registered_at_ms, checksum)| {
            *checksum == row::registry_version(subject, *version, *schema, *deleted, *registered_at_ms)
                && schemas.iter().any(|(id, ..)| id == schema)
        });
    Ok(intact)
}

fn incompatible(
    subject: &str,
    level: Compatibility,
    newest: Option<&RegisteredSchema>,
    objections: &[String],
) -> Error {
    let newest = newest.map_or_else(String::new, |newest| {
        format!(" after version {} (number {})", newest.version, newest.id.0)
    });
    let message = format!(
        "the schema may not be the next version of the subject `{subject}`{newest}, which is held to {}: {}; change the \
         table or the contract so that it is compatible, publish to a new topic, or lower the level",
        level.registry_name(),
        objections.join("; ")
    );
    Error::definite(INCOMPATIBLE, message)
}
