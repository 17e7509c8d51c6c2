//! What can be asked of the endpoint: one list, of which the router, the roles, the documentation (OpenAPI) and the tests are made.

use std::collections::BTreeMap;

use axum::Router;
use axum::extract::{Request, State};
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Shown;
use super::access::Caller;
use super::answer::{Refusal, refuse};
use super::config::Role;

/// Something that can be asked.
pub(super) struct Operation {
    pub(super) method: Method,
    /// With names in braces.
    pub(super) path: &'static str,
    /// Who may ask; `None` where everybody may, also who shows no token.
    pub(super) role: Option<Role>,
    summary: &'static str,
    description: &'static str,
    tag: &'static str,
    parameters: Vec<Parameter>,
    body: Option<Body>,
    answers: BTreeMap<u16, Described>,
    handler: MethodRouter<Shown>,
}

/// A parameter behind the question mark.
struct Parameter {
    name: &'static str,
    description: &'static str,
    schema: Value,
}

/// What is sent along.
#[derive(Clone, Copy)]
struct Body {
    description: &'static str,
    schema: Describe,
    is_required: bool,
}

/// An answer: words, media type, and the shape of its body where it has one.
struct Described {
    words: &'static str,
    media_type: &'static str,
    schema: Option<Describe>,
}

type Describe = fn(&mut SchemaGenerator) -> Schema;

const JSON: &str = "application/json";

/// Codes that an operation may answer with, whichever it is, and what they mean.
const EVERYWHERE: [(u16, &str); 10] = [
    (400, "The request is not right; the message says what"),
    (401, "Nobody who is known"),
    (403, "Known, and not allowed; or a page of another origin"),
    (405, "There is the path, and not with this method"),
    (408, "The body did not come in time"),
    (413, "The body is too large"),
    (415, "The body is not JSON, or is compressed"),
    (421, "For another host"),
    (429, "Too many wrong tokens from there"),
    (
        500,
        "No answer in time, or a defect; what was asked for may still happen",
    ),
];

fn operation<H, T>(method: Method, filter: MethodFilter, path: &'static str, handler: H) -> Operation
where
    H: Handler<T, Shown>,
    T: 'static,
{
    Operation {
        method,
        path,
        role: None,
        summary: "",
        description: "",
        tag: "",
        parameters: Vec::new(),
        body: None,
        answers: BTreeMap::new(),
        handler: on(filter, handler),
    }
}

macro_rules! methods {
    ($($name:ident $method:ident)*) => {$(
        /// An operation of this method.
        pub(super) fn $name<H, T>(path: &'static str, handler: H) -> Operation
        where
            H: Handler<T, Shown>,
            T: 'static,
        {
            operation(Method::$method, MethodFilter::$method, path, handler)
        }
    )*};
}

methods! { get GET put PUT post POST patch PATCH delete DELETE }

// === impl Operation ===

impl Operation {
    /// Who may ask.
    pub(super) fn role(mut self, role: Role) -> Self {
        self.role = Some(role);
        self
    }

    /// What it does, in a few words and in more.
    pub(super) fn says(mut self, summary: &'static str, description: &'static str) -> Self {
        (self.summary, self.description) = (summary, description);
        self
    }

    /// Where it belongs.
    pub(super) fn tag(mut self, tag: &'static str) -> Self {
        self.tag = tag;
        self
    }

    /// What may stand behind the question mark.
    pub(super) fn parameter(mut self, name: &'static str, description: &'static str, schema: Value) -> Self {
        self.parameters.push(Parameter {
            name,
            description,
            schema,
        });
        self
    }

    /// The second step of what destroys something.
    pub(super) fn confirmed(self) -> Self {
        self.parameter(
            "confirm",
            "The one-time token of the answer that said what would be lost",
            json!({ "type": "string" }),
        )
        .refuses(
            409,
            "Not confirmed yet: says what would be lost, and with which token to ask again",
        )
    }

    /// What is sent along.
    pub(super) fn takes<T: JsonSchema>(mut self, description: &'static str) -> Self {
        self.body = Some(Body {
            description,
            schema: |generator| generator.subschema_for::<T>(),
            is_required: true,
        });
        self
    }

    /// The same, where nothing may be sent as well.
    pub(super) fn may_take<T: JsonSchema>(self, description: &'static str) -> Self {
        let mut taking = self.takes::<T>(description);
        if let Some(body) = &mut taking.body {
            body.is_required = false;
        }
        taking
    }

    /// An answer with a body.
    pub(super) fn answers<T: JsonSchema>(mut self, status: u16, words: &'static str) -> Self {
        let described = Described {
            words,
            media_type: JSON,
            schema: Some(|generator| generator.subschema_for::<T>()),
        };
        self.answers.insert(status, described);
        self
    }

    /// An answer that is text of another kind.
    pub(super) fn answers_text(mut self, status: u16, words: &'static str, media_type: &'static str) -> Self {
        // What a program may read as something else than text has any shape.
        let schema: Describe = match media_type.starts_with("text/") {
            true => |generator| generator.subschema_for::<String>(),
            false => |generator| generator.subschema_for::<Value>(),
        };
        let described = Described {
            words,
            media_type,
            schema: Some(schema),
        };
        self.answers.insert(status, described);
        self
    }

    /// An answer without a body.
    pub(super) fn does(mut self, status: u16, words: &'static str) -> Self {
        let described = Described {
            words,
            media_type: JSON,
            schema: None,
        };
        self.answers.insert(status, described);
        self
    }

    /// An answer that says why not.
    pub(super) fn refuses(self, status: u16, words: &'static str) -> Self {
        self.answers::<Refusal>(status, words)
    }

    fn document(&self, generator: &mut SchemaGenerator) -> Value {
        let mut document = Map::new();
        let mut put = |key: &str, value: Value| document.insert(key.to_owned(), value);
        put("operationId", json!(self.id()));
        put("summary", json!(self.summary));
        put("tags", json!([self.tag]));
        put("parameters", json!(self.parameters()));
        put("responses", json!(self.responses(generator)));
        if !self.description.is_empty() {
            put("description", json!(self.description));
        }
        if let Some(body) = &self.body {
            let content = json!({ JSON: { "schema": (body.schema)(generator) } });
            put(
                "requestBody",
                json!({ "description": body.description, "required": body.is_required, "content": content }),
            );
        }
        match self.role {
            Some(role) => {
                put("security", json!([{ "token": [] }]));
                put("x-role", json!(role.name()));
            }
            None => drop(put("security", json!([]))),
        }
        Value::Object(document)
    }

    fn responses(&self, generator: &mut SchemaGenerator) -> BTreeMap<String, Value> {
        let mut responses = BTreeMap::new();
        for (status, words) in EVERYWHERE {
            let content = json!({ JSON: { "schema": generator.subschema_for::<Refusal>() } });
            responses.insert(status.to_string(), json!({ "description": words, "content": content }));
        }
        for (status, described) in &self.answers {
            let response = match described.schema {
                None => json!({ "description": described.words }),
                Some(schema) => {
                    let content = json!({ described.media_type: { "schema": schema(generator) } });
                    json!({ "description": described.words, "content": content })
                }
            };
            responses.insert(status.to_string(), response);
        }
        responses
    }

    fn parameters(&self) -> Vec<Value> {
        let in_path = self
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let in_path = in_path.map(|name| {
            let schema = match name {
                "id" | "task" => json!({ "type": "integer", "minimum": 0 }),
                _ => json!({ "type": "string" }),
            };
            json!({ "name": name, "in": "path", "required": true, "schema": schema })
        });
        let in_query = self.parameters.iter().map(|parameter| {
            json!({
                "name": parameter.name,
                "in": "query",
                "description": parameter.description,
                "schema": parameter.schema,
            })
        });
        in_path.chain(in_query).collect()
    }

    /// `get_connectors_name_status`.
    fn id(&self) -> String {
        let words = self
            .path
            .split(['/', '{', '}', '-', '.'])
            .filter(|word| !word.is_empty());
        let words: Vec<&str> = words.collect();
        format!("{}_{}", self.method.as_str().to_lowercase(), words.join("_"))
    }
}

/// The router of all of them; each asks for its role.
pub(super) fn router(operations: Vec<Operation>) -> Router<Shown> {
    operations.into_iter().fold(Router::new(), |router, operation| {
        let handler = operation
            .handler
            .route_layer(from_fn_with_state(operation.role, require));
        router.route(operation.path, handler)
    })
}

/// Lets those through who may.
async fn require(State(role): State<Option<Role>>, request: Request, next: Next) -> Response {
    let Some(role) = role else {
        return next.run(request).await;
    };
    match request.extensions().get::<Caller>() {
        Some(caller) if caller.role >= role => next.run(request).await,
        Some(caller) => {
            let message = format!(
                "this needs the role `{}`, and {} has `{}`",
                role.name(),
                caller.name,
                caller.role.name()
            );
            refuse(403, "role_too_low", message).into_response()
        }
        None => refuse(401, "unauthorized", "Unauthorized").into_response(),
    }
}

/// Whether an answer is one that every operation may give, and is said nothing else of.
pub(super) fn is_everywhere(status: &str, words: &str) -> bool {
    let mut everywhere = EVERYWHERE.iter();
    everywhere.any(|(known, said)| known.to_string() == status && *said == words)
}

/// The whole as OpenAPI 3.0.
pub(super) fn document(operations: &[Operation], version: &str) -> Value {
    let mut generator = SchemaSettings::openapi3().with(|settings| {
        settings.meta_schema = None;
    });
    generator.definitions_path = "/components/schemas".into();
    let mut generator = generator.into_generator();
    let mut paths: BTreeMap<&str, Map<String, Value>> = BTreeMap::new();
    for operation in operations {
        let method = operation.method.as_str().to_lowercase();
        let described = operation.document(&mut generator);
        paths.entry(operation.path).or_default().insert(method, described);
    }
    let schemas = generator.take_definitions(true);
    json!({
        "openapi": "3.0.3",
        "info": {
            "title": "Tailrace",
            "version": version,
            "description": "The HTTP endpoint of Tailrace: Kafka Connect's REST interface, and what Kafka Connect does not have.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}
