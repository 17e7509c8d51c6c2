//! The embedded registry under the API of Confluent's, so that a standard client can read what Tailrace publishes.
//!
//! It is read-only: only what a connector publishes is registered, and that not from here. A client that would register a
//! schema is given its number where it is there already, which is all that serializers and deserializers ask for.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};
use tailrace_codec::contract::decide;
use tailrace_core::Error;
use tailrace_core::registry::{Compatibility, RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaType};

use super::Shown;

const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";

// Confluent's codes: the status and two digits.
const SUBJECT_NOT_FOUND: u32 = 40401;
const VERSION_NOT_FOUND: u32 = 40402;
const SCHEMA_NOT_FOUND: u32 = 40403;
const SUBJECT_WITHOUT_LEVEL: u32 = 40408;
const INVALID_SCHEMA: u32 = 42201;
const INVALID_VERSION: u32 = 42202;
const READ_ONLY: u32 = 40301;
const STORE: u32 = 50001;

/// What can be refused, as the API says it.
struct Refusal {
    code: u32,
    message: String,
}

/// The parameters that change an answer; others are ignored, as every registry does.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Parameters {
    #[serde(default)]
    subject_prefix: String,
    #[serde(default)]
    default_to_global: bool,
    #[serde(default)]
    verbose: bool,
}

/// A schema as clients send it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    schema: String,
    #[serde(default)]
    schema_type: Option<String>,
}

/// JSON under the API's media type.
struct Answer(Value);

type Answered = Result<Answer, Refusal>;

/// The routes of the API that read.
pub(super) fn router() -> Router<Shown> {
    Router::new()
        .route("/subjects", get(subjects).fallback(read_only))
        .route("/subjects/{subject}", post(look_up).fallback(read_only))
        .route(
            "/subjects/{subject}/versions",
            get(versions).post(register).fallback(read_only),
        )
        .route(
            "/subjects/{subject}/versions/{version}",
            get(version).fallback(read_only),
        )
        .route(
            "/subjects/{subject}/versions/{version}/schema",
            get(version_text).fallback(read_only),
        )
        .route("/schemas/types", get(types))
        .route("/schemas/ids/{id}", get(schema))
        .route("/schemas/ids/{id}/schema", get(schema_text))
        .route("/schemas/ids/{id}/subjects", get(schema_subjects))
        .route("/schemas/ids/{id}/versions", get(schema_versions))
        .route("/compatibility/subjects/{subject}/versions", post(compare_with_all))
        .route("/compatibility/subjects/{subject}/versions/{version}", post(compare))
        .route("/config", get(level).fallback(read_only))
        .route("/config/{subject}", get(subject_level).fallback(read_only))
        .route("/mode", get(mode).fallback(read_only))
        .route("/mode/{subject}", get(mode).fallback(read_only))
}

async fn subjects(State(shown): State<Shown>, Query(parameters): Query<Parameters>) -> Answered {
    let mut subjects = shown.registry.subjects().await?;
    subjects.retain(|subject| subject.starts_with(&parameters.subject_prefix));
    Ok(Answer(json!(subjects)))
}

async fn versions(State(shown): State<Shown>, Path(subject): Path<String>) -> Answered {
    let versions = known_versions(&shown, &subject).await?;
    let numbers: Vec<u32> = versions.iter().map(|registered| registered.version).collect();
    Ok(Answer(json!(numbers)))
}

async fn version(State(shown): State<Shown>, Path((subject, version)): Path<(String, String)>) -> Answered {
    let registered = known_version(&shown, &subject, &version).await?;
    let deprecated = shown.registry.settings(&subject).await?.deprecated;
    Ok(Answer(described(&subject, &registered, deprecated)))
}

async fn version_text(State(shown): State<Shown>, Path((subject, version)): Path<(String, String)>) -> Answered {
    let registered = known_version(&shown, &subject, &version).await?;
    Ok(Answer(as_json(&registered.schema)))
}

async fn look_up(State(shown): State<Shown>, Path(subject): Path<String>, body: Bytes) -> Answered {
    let sent = sent_schema(&body)?;
    known_versions(&shown, &subject).await?;
    let Some(found) = shown.registry.look_up(&subject, &sent).await? else {
        return Err(Refusal::new(
            SCHEMA_NOT_FOUND,
            "the subject has no version with this schema",
        ));
    };
    Ok(Answer(described(&subject, &found, None)))
}

async fn register(State(shown): State<Shown>, Path(subject): Path<String>, body: Bytes) -> Answered {
    let sent = sent_schema(&body)?;
    match shown.registry.look_up(&subject, &sent).await? {
        Some(known) => Ok(Answer(json!({ "id": known.id.0 }))),
        None => Err(read_only().await),
    }
}

async fn types() -> Answer {
    Answer(json!([SchemaType::Json, SchemaType::Avro]))
}

async fn schema(State(shown): State<Shown>, Path(id): Path<String>) -> Answered {
    let (_, schema) = known_schema(&shown, &id).await?;
    let mut answer = json!({ "schema": &*schema.text });
    // Deserializers ask for this and nothing else, and Confluent's for Python (2.11 for one) fail where a schema has tags.
    let untagged = Schema {
        tags: BTreeMap::new(),
        ..schema
    };
    complete(&mut answer, &untagged, None);
    Ok(Answer(answer))
}

async fn schema_text(State(shown): State<Shown>, Path(id): Path<String>) -> Answered {
    let (_, schema) = known_schema(&shown, &id).await?;
    Ok(Answer(as_json(&schema)))
}

async fn schema_subjects(State(shown): State<Shown>, Path(id): Path<String>) -> Answered {
    let (id, _) = known_schema(&shown, &id).await?;
    let mut subjects: Vec<String> = shown
        .registry
        .uses_of(id)
        .await?
        .into_iter()
        .map(|(subject, _)| subject)
        .collect();
    subjects.dedup();
    Ok(Answer(json!(subjects)))
}

async fn schema_versions(State(shown): State<Shown>, Path(id): Path<String>) -> Answered {
    let (id, _) = known_schema(&shown, &id).await?;
    let uses = shown.registry.uses_of(id).await?.into_iter();
    let uses: Vec<Value> = uses
        .map(|(subject, version)| json!({ "subject": subject, "version": version }))
        .collect();
    Ok(Answer(json!(uses)))
}

async fn compare_with_all(
    State(shown): State<Shown>,
    Path(subject): Path<String>,
    Query(parameters): Query<Parameters>,
    body: Bytes,
) -> Answered {
    let sent = sent_schema(&body)?;
    known_versions(&shown, &subject).await?;
    let objections = shown.registry.objections(&subject, &sent).await?;
    Ok(verdict(&parameters, &objections))
}

async fn compare(
    State(shown): State<Shown>,
    Path((subject, version)): Path<(String, String)>,
    Query(parameters): Query<Parameters>,
    body: Bytes,
) -> Answered {
    let sent = sent_schema(&body)?;
    let registered = known_version(&shown, &subject, &version).await?;
    let level = shown
        .registry
        .settings(&subject)
        .await?
        .compatibility
        .unwrap_or_default();
    let objections: Vec<String> = decide(level, &sent, &[registered])
        .iter()
        .map(ToString::to_string)
        .collect();
    Ok(verdict(&parameters, &objections))
}

fn verdict(parameters: &Parameters, objections: &[String]) -> Answer {
    let mut answer = json!({ "is_compatible": objections.is_empty() });
    if parameters.verbose {
        put(&mut answer, "messages", json!(objections));
    }
    Answer(answer)
}

async fn level() -> Answer {
    Answer(json!({ "compatibilityLevel": Compatibility::default().registry_name() }))
}

async fn subject_level(
    State(shown): State<Shown>,
    Path(subject): Path<String>,
    Query(parameters): Query<Parameters>,
) -> Answered {
    let own = shown.registry.settings(&subject).await?.compatibility;
    let level = own.or(parameters.default_to_global.then(Compatibility::default));
    let level = level.ok_or_else(|| {
        let message = format!("the subject `{subject}` has no compatibility level of its own");
        Refusal::new(SUBJECT_WITHOUT_LEVEL, &message)
    })?;
    Ok(Answer(json!({ "compatibilityLevel": level.registry_name() })))
}

async fn mode() -> Answer {
    Answer(json!({ "mode": "READONLY" }))
}

async fn read_only() -> Refusal {
    let message = "this registry is Tailrace's own and takes in only what its connectors publish; to register schemas \
        yourself, run a registry and name it under `registries`";
    Refusal::new(READ_ONLY, message)
}

async fn known_versions(shown: &Shown, subject: &str) -> Result<Vec<RegisteredSchema>, Refusal> {
    let versions = shown.registry.versions(subject).await?;
    if versions.is_empty() {
        return Err(Refusal::new(
            SUBJECT_NOT_FOUND,
            &format!("there is no subject `{subject}`"),
        ));
    }
    Ok(versions)
}

/// A number, `latest`, or the latter's older name `-1`.
async fn known_version(shown: &Shown, subject: &str, version: &str) -> Result<RegisteredSchema, Refusal> {
    let mut versions = known_versions(shown, subject).await?;
    let found = match version {
        "latest" | "-1" => versions.pop(),
        _ => {
            let number: Option<u32> = version.parse().ok().filter(|number| *number > 0);
            let number = number.ok_or_else(|| {
                let message = format!("`{version}` is no version: it is a number from 1, or `latest`");
                Refusal::new(INVALID_VERSION, &message)
            })?;
            versions.into_iter().find(|registered| registered.version == number)
        }
    };
    found.ok_or_else(|| {
        Refusal::new(
            VERSION_NOT_FOUND,
            &format!("the subject `{subject}` has no version {version}"),
        )
    })
}

async fn known_schema(shown: &Shown, id: &str) -> Result<(SchemaId, Schema), Refusal> {
    let not_found = || Refusal::new(SCHEMA_NOT_FOUND, &format!("there is no schema of number {id}"));
    let id = SchemaId(id.parse().map_err(|_| not_found())?);
    match shown.registry.by_id(id).await {
        Ok(schema) => Ok((id, schema)),
        Err(error) if error.code() == "schema_unknown" => Err(not_found()),
        Err(error) => Err(error.into()),
    }
}

fn sent_schema(body: &Bytes) -> Result<Schema, Refusal> {
    let sent: Sent = serde_json::from_slice(body).map_err(|_| {
        Refusal::new(
            INVALID_SCHEMA,
            "expects a JSON object with the schema's text under `schema`",
        )
    })?;
    let name = sent.schema_type.as_deref().unwrap_or(SchemaType::Avro.registry_name());
    let schema_type = SchemaType::from_registry_name(name)
        .ok_or_else(|| Refusal::new(INVALID_SCHEMA, "`schemaType` is AVRO or JSON"))?;
    Ok(Schema {
        schema_type,
        text: sent.schema.into(),
        properties: BTreeMap::new(),
        tags: BTreeMap::new(),
    })
}

fn described(subject: &str, registered: &RegisteredSchema, deprecated: Option<String>) -> Value {
    let mut answer = json!({
        "subject": subject,
        "version": registered.version,
        "id": registered.id.0,
        "schema": &*registered.schema.text,
    });
    complete(&mut answer, &registered.schema, deprecated);
    answer
}

/// Adds what is only said where there is something to say.
fn complete(answer: &mut Value, schema: &Schema, deprecated: Option<String>) {
    if schema.schema_type != SchemaType::Avro {
        put(answer, "schemaType", json!(schema.schema_type));
    }
    let mut properties = schema.properties.clone();
    properties.extend(deprecated.map(|reason| ("deprecated".to_owned(), reason)));
    if !properties.is_empty() || !schema.tags.is_empty() {
        put(
            answer,
            "metadata",
            json!({ "properties": properties, "tags": schema.tags }),
        );
    }
}

fn put(answer: &mut Value, key: &str, value: Value) {
    if let Value::Object(answer) = answer {
        answer.insert(key.to_owned(), value);
    }
}

/// The schema itself, which was checked to be JSON when it was registered.
fn as_json(schema: &Schema) -> Value {
    serde_json::from_str(&schema.text).unwrap_or_default()
}

// === impl Answer, Refusal ===

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        ([(CONTENT_TYPE, MEDIA_TYPE)], self.0.to_string()).into_response()
    }
}

impl Refusal {
    fn new(code: u32, message: &str) -> Self {
        Self {
            code,
            message: message.to_owned(),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = u16::try_from(self.code / 100).ok();
        let status = status.and_then(|status| StatusCode::from_u16(status).ok());
        let answer = Answer(json!({ "error_code": self.code, "message": self.message }));
        (status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), answer).into_response()
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        Self::new(STORE, &error.report())
    }
}
