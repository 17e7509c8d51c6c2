//! The port: registering, looking up, reading back.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use serde_json::{Value, json};
use tailrace_core::check::Finding;
use tailrace_core::error::Kind;
use tailrace_core::registry::{
    Compatibility, RegisteredSchema, Schema, SchemaId, SchemaRegistry, SchemaRules, SchemaType,
};
use tailrace_core::{Error, Result};
use tailrace_http::{ClientSettings, HttpClient, HttpRequest, HttpUrl, escaped, sensitive};

use super::answer::{self, ANSWER_BYTES, Question, Refusal, Reply};
use super::config::ConfluentRegistryConfig;
use crate::contract::{ContractRules, decide};

/// What the API is called.
const MEDIA_TYPE: &str = "application/vnd.schemaregistry.v1+json";
/// What it is answered in.
const ACCEPTED: &str = "application/vnd.schemaregistry.v1+json, application/json;q=0.9";
/// The largest number that Java's clients, and so every registry, can hold.
const MAXIMUM_ID: u64 = 0x7fff_ffff;
/// How many differences a refusal names; more are counted.
const SHOWN_DIFFERENCES: usize = 5;

/// A client of a registry. Remembers every number and schema that it was told once: what has a number never changes.
#[derive(Debug)]
pub struct ConfluentRegistry {
    nodes: Vec<HttpUrl>,
    /// The node that answered last is asked first.
    preferred: AtomicUsize,
    client: HttpClient,
    /// The registry does not know `metadata`, which came with Confluent 7.4.
    is_plain: AtomicBool,
    known: Mutex<Known>,
}

/// What was learned.
#[derive(Debug, Default)]
struct Known {
    ids: Vec<(String, Schema, SchemaId)>,
    schemas: BTreeMap<SchemaId, Schema>,
    versions: BTreeMap<(String, u32), RegisteredSchema>,
}

/// A question without the node that it is asked.
struct Request<'a> {
    method: Method,
    path: String,
    body: Option<&'a Value>,
}

/// A reply, and who gave it.
struct Told {
    method: Method,
    url: String,
    reply: Reply,
}

// === impl ConfluentRegistry ===

impl ConfluentRegistry {
    /// From configuration alone; nothing is connected.
    ///
    /// # Errors
    /// Definite `config` where the configuration is wrong in itself, `tls_config` where certificates cannot be read.
    pub fn new(config: &ConfluentRegistryConfig) -> Result<Self> {
        if let Some(problem) = config.problems().first() {
            let message = format!("{}; {}", problem.problem, problem.remedy);
            return Err(Error::definite("config", message));
        }
        let nodes = config.nodes();
        let client = HttpClient::new(ClientSettings {
            is_tls: nodes.iter().any(HttpUrl::is_tls),
            ca_file: config.ca_file.as_deref(),
            authorization: authorization(config)?,
            timeout: Duration::from_millis(config.timeout_ms),
            answer_bytes: Some(ANSWER_BYTES),
        })?;
        Ok(Self {
            nodes,
            preferred: AtomicUsize::new(0),
            client,
            is_plain: AtomicBool::new(false),
            known: Mutex::new(Known::default()),
        })
    }

    /// Which level a subject's versions are held to by the registry itself; `None` where it does not tell.
    ///
    /// # Errors
    /// Transient where it does not answer; definite where it refuses us or answers what no registry does.
    pub async fn compatibility(&self, subject: &str) -> Result<Option<Compatibility>> {
        let path = format!("/config/{}?defaultToGlobal=true", escaped(subject));
        match self.get(path).await?.reply {
            Reply::Found(config) => Ok(level(&config)),
            // Registries that do not know the parameter answer for the subject alone.
            Reply::Refused(_) => match self.get("/config".to_owned()).await?.reply {
                Reply::Found(config) => Ok(level(&config)),
                Reply::Refused(_) => Ok(None),
            },
        }
    }

    /// What the registry itself would say against a schema as the next version of a subject; empty where it would take it.
    ///
    /// # Errors
    /// As [`Self::compatibility`]; definite `schema_refused` where it is no schema to the registry.
    pub async fn objections(&self, subject: &str, schema: &Schema) -> Result<Vec<String>> {
        // With all versions a registry compares a schema only where it is asked to, and some do then whatever the level is.
        let level = self.compatibility(subject).await?;
        let which = if level.is_some_and(Compatibility::is_transitive) {
            ""
        } else {
            "/latest"
        };
        let path = format!(
            "/compatibility/subjects/{}/versions{which}?verbose=true",
            escaped(subject)
        );
        let told = self.post(path, &body_of(schema, true)).await?;
        match &told.reply {
            Reply::Refused(refusal) if refusal.is_not_there() => Ok(Vec::new()),
            Reply::Refused(refusal) => Err(refused(&told, subject, refusal)),
            Reply::Found(verdict) => match verdict.get("is_compatible") {
                Some(Value::Bool(true)) => Ok(Vec::new()),
                Some(Value::Bool(false)) => Ok(reasons(verdict)),
                _ => Err(told.invalid("it does not say whether the schema is compatible")),
            },
        }
    }

    async fn get(&self, path: String) -> Result<Told> {
        let method = Method::GET;
        self.ask(&Request {
            method,
            path,
            body: None,
        })
        .await
    }

    async fn post(&self, path: String, body: &Value) -> Result<Told> {
        let (method, body) = (Method::POST, Some(body));
        self.ask(&Request { method, path, body }).await
    }

    /// Asks the nodes in turn until one gives an answer that another would not better.
    async fn ask(&self, request: &Request<'_>) -> Result<Told> {
        let first = self.preferred.load(Ordering::Relaxed);
        let mut last = None;
        for turn in 0..self.nodes.len() {
            let place = (first + turn) % self.nodes.len().max(1);
            let Some(node) = self.nodes.get(place) else {
                continue;
            };
            match self.ask_node(node, request).await {
                Ok(told) => {
                    self.preferred.store(place, Ordering::Relaxed);
                    return Ok(told);
                }
                Err(error) if error.kind() == Kind::Transient => last = Some(error),
                Err(error) => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| Error::definite("config", "a registry has no `url`; give one")))
    }

    async fn ask_node(&self, node: &HttpUrl, request: &Request<'_>) -> Result<Told> {
        let Request { method, path, body } = request;
        let url = format!("{node}{path}");
        let question = Question { method, url: &url };
        let sent = HttpRequest {
            method,
            path,
            headers: &headers_of(body.is_some()),
            body: body.map(ToString::to_string).unwrap_or_default().into(),
        };
        let reply = match self.client.send(node, &sent).await {
            Ok(answer) => answer::judge(question, &answer)?,
            Err(failure) => return Err(answer::failed(question, failure)),
        };
        Ok(Told {
            method: method.clone(),
            url,
            reply,
        })
    }

    /// Posts a schema, without what is said about it where the registry knows no such thing.
    async fn post_schema(&self, path: &str, schema: &Schema) -> Result<Told> {
        let is_plain =
            self.is_plain.load(Ordering::Relaxed) || (schema.properties.is_empty() && schema.tags.is_empty());
        let told = self.post(path.to_owned(), &body_of(schema, is_plain)).await?;
        match &told.reply {
            Reply::Refused(refusal) if !is_plain && refusal.message.contains("metadata") => {
                tracing::warn!(
                    registry = told.url,
                    "the registry does not keep properties and tags of schemas; they are left out"
                );
                self.is_plain.store(true, Ordering::Relaxed);
                self.post(path.to_owned(), &body_of(schema, true)).await
            }
            _ => Ok(told),
        }
    }

    async fn look_up(&self, subject: &str, schema: &Schema) -> Result<Option<SchemaId>> {
        let told = self
            .post_schema(&format!("/subjects/{}", escaped(subject)), schema)
            .await?;
        match &told.reply {
            Reply::Found(found) => id_of(&told, found).map(Some),
            Reply::Refused(refusal) if refusal.is_not_there() => Ok(None),
            // What is no schema to the registry is said where it is registered.
            Reply::Refused(refusal) if refusal.status != hyper::StatusCode::NOT_FOUND => Ok(None),
            Reply::Refused(_) => Err(told.invalid("it does not know the page")),
        }
    }

    async fn publish(&self, subject: &str, schema: &Schema) -> Result<SchemaId> {
        let told = self
            .post_schema(&format!("/subjects/{}/versions", escaped(subject)), schema)
            .await?;
        match &told.reply {
            Reply::Found(found) => id_of(&told, found),
            Reply::Refused(refusal) if refusal.status == hyper::StatusCode::CONFLICT => {
                Err(self.incompatible(&told, (subject, schema), refusal).await)
            }
            Reply::Refused(refusal) if refusal.status == hyper::StatusCode::NOT_FOUND => {
                Err(told.invalid("it does not know the page"))
            }
            Reply::Refused(refusal) => Err(refused(&told, subject, refusal)),
        }
    }

    /// The registry's refusal, with our own comparison beside it.
    async fn incompatible(&self, told: &Told, (subject, schema): (&str, &Schema), refusal: &Refusal) -> Error {
        // Its own versions only make the sentence better.
        let versions = self.versions(subject).await.unwrap_or_default();
        let ours = decide(Compatibility::FullTransitive, schema, &versions);
        let mut differences: Vec<String> = ours.iter().take(SHOWN_DIFFERENCES).map(ToString::to_string).collect();
        if ours.len() > SHOWN_DIFFERENCES {
            differences.push(format!("and {} more", ours.len() - SHOWN_DIFFERENCES));
        }
        let newest = versions.last().map_or_else(String::new, |newest| {
            format!(" after version {} (number {})", newest.version, newest.id.0)
        });
        let message = format!(
            "the schema is refused as the next version of the subject `{subject}`{newest} by {}: {}{}{}; change the table or \
             the contract so that it is compatible, publish to a new topic, or lower the subject's level in the registry",
            told.url,
            refusal.message,
            if differences.is_empty() { "" } else { "; " },
            differences.join("; "),
        );
        Error::definite(answer::INCOMPATIBLE, message)
    }

    /// What is registered under a number must be the schema that was sent: everything written under it depends on that.
    async fn verify(&self, id: SchemaId, schema: &Schema) -> Result<()> {
        let told = self.get(format!("/schemas/ids/{}", id.0)).await?;
        match &told.reply {
            Reply::Found(found) if ContractRules.is_same(&schema_of(&told, found)?, schema) => Ok(()),
            Reply::Found(_) => {
                let message = format!(
                    "{} holds another schema than the one that the registry has just given this number to; do not write with \
                     this registry until its store is repaired",
                    told.url
                );
                Err(Error::definite(answer::WRONG_ID, message))
            }
            Reply::Refused(refusal) if refusal.is_not_there() => {
                let message = format!(
                    "{} is not known yet, though the registry has just given out its number; it is asked again",
                    told.url
                );
                Err(Error::transient(answer::UNAVAILABLE, message))
            }
            Reply::Refused(_) => Err(told.invalid("it refuses to show a schema that it has just numbered")),
        }
    }

    async fn version(&self, subject: &str, version: u32) -> Result<Option<RegisteredSchema>> {
        let key = (subject.to_owned(), version);
        if let Some(known) = self.known().versions.get(&key) {
            return Ok(Some(known.clone()));
        }
        let told = self
            .get(format!("/subjects/{}/versions/{version}", escaped(subject)))
            .await?;
        let found = match &told.reply {
            Reply::Found(found) => found,
            // Deleted in between.
            Reply::Refused(refusal) if refusal.is_not_there() => return Ok(None),
            Reply::Refused(refusal) => return Err(refused(&told, subject, refusal)),
        };
        if found.get("version").and_then(Value::as_u64) != Some(u64::from(version)) {
            return Err(told.invalid("it answered with another version than was asked for"));
        }
        let registered = RegisteredSchema {
            id: id_of(&told, found)?,
            version,
            schema: schema_of(&told, found)?,
        };
        self.known().versions.insert(key, registered.clone());
        Ok(Some(registered))
    }

    async fn check_node(&self, node: &HttpUrl) -> Result<Option<Compatibility>> {
        let ask = async |path: &str| {
            let (method, path) = (Method::GET, path.to_owned());
            self.ask_node(
                node,
                &Request {
                    method,
                    path,
                    body: None,
                },
            )
            .await
        };
        let told = ask("/schemas/types").await?;
        if !matches!(&told.reply, Reply::Found(Value::Array(_))) {
            return Err(told.invalid("it does not list the types of schemas that it takes"));
        }
        match ask("/config").await {
            Ok(told) => match told.reply {
                Reply::Found(config) => Ok(level(&config)),
                Reply::Refused(_) => Ok(None),
            },
            // Only some accounts may see what holds for all subjects.
            Err(error) if error.code() == answer::UNAUTHORIZED => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl SchemaRegistry for ConfluentRegistry {
    async fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        let mut answered = 0;
        for node in &self.nodes {
            match self.check_node(node).await {
                Ok(level) => {
                    answered += 1;
                    let level = level.map_or("does not tell its compatibility level".to_owned(), |level| {
                        format!(
                            "holds new versions to {} unless their subject says otherwise",
                            level.registry_name()
                        )
                    });
                    findings.push(Finding::note(
                        "registry_compatibility",
                        format!("the registry {node} answers and {level}"),
                    ));
                }
                Err(error) => findings.push(Finding::from(&error)),
            }
        }
        // One node is enough to go on with.
        if answered > 0 {
            for finding in &mut findings {
                finding.severity = finding.severity.min(tailrace_core::check::Severity::Warning);
            }
        }
        findings
    }

    async fn versions(&self, subject: &str) -> Result<Vec<RegisteredSchema>> {
        let told = self.get(format!("/subjects/{}/versions", escaped(subject))).await?;
        let numbers = match &told.reply {
            Reply::Found(Value::Array(numbers)) => numbers,
            Reply::Found(_) => return Err(told.invalid("it does not list versions")),
            Reply::Refused(refusal) if refusal.is_not_there() => return Ok(Vec::new()),
            Reply::Refused(refusal) => return Err(refused(&told, subject, refusal)),
        };
        let mut versions = Vec::with_capacity(numbers.len());
        for number in numbers {
            let number = number.as_u64().and_then(|number| u32::try_from(number).ok());
            let number = number.ok_or_else(|| told.invalid("it lists a version that is no number"))?;
            versions.extend(self.version(subject, number).await?);
        }
        versions.sort_by_key(|registered| registered.version);
        Ok(versions)
    }

    async fn register(&self, subject: &str, schema: &Schema) -> Result<SchemaId> {
        let is_it = |(known, of, _): &&(String, Schema, SchemaId)| known == subject && of == schema;
        if let Some((_, _, id)) = self.known().ids.iter().find(is_it) {
            return Ok(*id);
        }
        // Looked up first: whoever may only read can still use what a person has registered.
        let id = match self.look_up(subject, schema).await? {
            Some(id) => id,
            None => self.publish(subject, schema).await?,
        };
        self.verify(id, schema).await?;
        self.known().ids.push((subject.to_owned(), schema.clone(), id));
        Ok(id)
    }

    async fn by_id(&self, id: SchemaId) -> Result<Schema> {
        if let Some(schema) = self.known().schemas.get(&id) {
            return Ok(schema.clone());
        }
        let told = self.get(format!("/schemas/ids/{}", id.0)).await?;
        match &told.reply {
            Reply::Found(found) => {
                let schema = schema_of(&told, found)?;
                self.known().schemas.insert(id, schema.clone());
                Ok(schema)
            }
            Reply::Refused(refusal) if refusal.is_not_there() => {
                let message = format!(
                    "{} is not there: the record was written with another registry; set `url` to that one",
                    told.url
                );
                Err(Error::definite(answer::UNKNOWN, message))
            }
            Reply::Refused(refusal) => Err(told.invalid(&format!("it answered \"{}\"", refusal.message))),
        }
    }
}

// === impl Told ===

impl Told {
    fn invalid(&self, finding: &str) -> Error {
        let question = Question {
            method: &self.method,
            url: &self.url,
        };
        answer::invalid(question, finding)
    }
}

fn headers_of(has_body: bool) -> Vec<(HeaderName, HeaderValue)> {
    let accepted = HeaderValue::from_static(ACCEPTED);
    let content = has_body.then(|| (CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE)));
    std::iter::once((ACCEPT, accepted)).chain(content).collect()
}

fn authorization(config: &ConfluentRegistryConfig) -> Result<Option<HeaderValue>> {
    let text = match (&config.username, &config.password, &config.token) {
        (Some(username), Some(password), _) => {
            format!("Basic {}", STANDARD.encode(format!("{username}:{}", password.expose())))
        }
        (_, _, Some(token)) => format!("Bearer {}", token.expose()),
        _ => return Ok(None),
    };
    let value = sensitive(&text);
    let value = value.ok_or_else(|| Error::definite("config", "`token` has characters that no header may hold"))?;
    Ok(Some(value))
}

/// A schema as the API takes it; `is_plain` leaves out what is said about it.
fn body_of(schema: &Schema, is_plain: bool) -> Value {
    let mut body = json!({ "schema": &*schema.text });
    let mut put = |key: &str, value: Value| {
        if let Value::Object(body) = &mut body {
            body.insert(key.to_owned(), value);
        }
    };
    // Avro is what is meant without a word, and older registries know no other.
    if schema.schema_type != SchemaType::Avro {
        put("schemaType", json!(schema.schema_type));
    }
    if !is_plain {
        put(
            "metadata",
            json!({ "properties": schema.properties, "tags": schema.tags }),
        );
    }
    body
}

fn id_of(told: &Told, found: &Value) -> Result<SchemaId> {
    let number = found.get("id").and_then(Value::as_u64);
    let number = number.filter(|number| (1..=MAXIMUM_ID).contains(number));
    let number = number.and_then(|number| u32::try_from(number).ok());
    number
        .map(SchemaId)
        .ok_or_else(|| told.invalid("its answer holds no `id` that is a number"))
}

fn schema_of(told: &Told, found: &Value) -> Result<Schema> {
    let Some(text) = found.get("schema").and_then(Value::as_str) else {
        return Err(told.invalid("its answer holds no `schema`"));
    };
    let has_references = |references: &Value| references.as_array().is_some_and(|references| !references.is_empty());
    if found.get("references").is_some_and(has_references) {
        let message = format!(
            "the schema at {} refers to others, which Tailrace does not read; register it in one piece",
            told.url
        );
        return Err(Error::definite(answer::REFUSED, message));
    }
    let name = found.get("schemaType").map_or(Some("AVRO"), Value::as_str);
    let schema_type = name.and_then(SchemaType::from_registry_name);
    let schema_type = schema_type.ok_or_else(|| {
        let message = format!(
            "the schema at {} is neither Avro nor JSON Schema; leave its topic out",
            told.url
        );
        Error::definite(answer::REFUSED, message)
    })?;
    let said = |key: &str| {
        found
            .get("metadata")
            .and_then(|metadata| metadata.get(key))
            .cloned()
            .unwrap_or_default()
    };
    Ok(Schema {
        schema_type,
        text: text.into(),
        properties: serde_json::from_value(said("properties")).unwrap_or_default(),
        tags: serde_json::from_value(said("tags")).unwrap_or_default(),
    })
}

fn level(config: &Value) -> Option<Compatibility> {
    let name = config
        .get("compatibilityLevel")
        .or_else(|| config.get("compatibility"))?;
    Compatibility::from_registry_name(name.as_str()?)
}

/// Confluent lists `messages`; Apicurio gives one `reason`.
fn reasons(verdict: &Value) -> Vec<String> {
    let messages = verdict.get("messages").and_then(Value::as_array);
    let reason = verdict.get("reason").into_iter();
    let words = messages.into_iter().flatten().chain(reason).filter_map(Value::as_str);
    let reasons: Vec<String> = words.map(answer::shown).collect();
    if reasons.is_empty() {
        return vec!["the registry gives no reason".to_owned()];
    }
    reasons
}

fn refused(told: &Told, subject: &str, refusal: &Refusal) -> Error {
    let message = format!(
        "{} {} was refused with {} {}: {}; see the registry's mode and rules for the subject `{subject}`",
        told.method, told.url, refusal.status, refusal.code, refusal.message
    );
    Error::definite(answer::REFUSED, message)
}
