//! The reference page of the HTTP endpoint, from the same list that answers are given by.

use serde_json::{Map, Value};

use super::operation::document;
use super::routes::operations;
use super::status::VERSION;

const HEAD: &str = "# HTTP endpoint

Generated from the list of operations with `tailrace schema --rest`; a test compares it. The same with the shape of every body is
OpenAPI: `GET /openapi.json`, or `tailrace schema --openapi`. What it is for, and who may ask, is in
[operations](../operations.md).

Bodies are JSON and are sent with `Content-Type: application/json`. What is refused is answered with
`{\"error_code\": 404, \"message\": \"…\", \"code\": \"connector_unknown\"}`: the status once more, a sentence, and a name that stays the
same. Whatever is asked, 400, 401, 403, 405, 408, 413, 415, 421, 429 and 500 may be answered: the request is not right, nobody who is known,
not allowed, another method, too slow, too large, no JSON, for another host, too many wrong tokens, no answer within 45 seconds or a defect.

A request that says *confirm* takes two steps: without `?confirm=` it is answered with 409, what would be lost (`will_lose`), and a token
(`confirm`) that is good for the same request once, for a minute.

";

/// The page.
pub(crate) fn page() -> String {
    let document = document(&operations(), VERSION);
    let mut page = HEAD.to_owned();
    let mut tags: Vec<&str> = Vec::new();
    let all = || each(&document);
    for tag in all().map(|operation| operation.tag()) {
        if !tags.contains(&tag) {
            tags.push(tag);
        }
    }
    for tag in tags {
        page +=
            &format!("## {tag}\n\n| request | role | what it does | parameters | answers |\n|---|---|---|---|---|\n");
        for operation in all().filter(|operation| operation.tag() == tag) {
            operation.write_to(&mut page);
        }
        page.push('\n');
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

/// The whole as OpenAPI, as it is answered.
pub(crate) fn openapi() -> String {
    format!("{:#}\n", document(&operations(), VERSION))
}

/// A documented operation.
struct Documented<'d> {
    method: &'d str,
    path: &'d str,
    said: &'d Value,
}

fn each(document: &Value) -> impl Iterator<Item = Documented<'_>> {
    let paths = document.get("paths").and_then(Value::as_object);
    let paths = paths.into_iter().flatten();
    paths.flat_map(|(path, methods)| {
        let methods = methods.as_object().into_iter().flatten();
        methods.map(move |(method, said)| Documented { method, path, said })
    })
}

// === impl Documented ===

impl<'d> Documented<'d> {
    fn tag(&self) -> &'d str {
        let tags = self.said.get("tags").and_then(Value::as_array);
        tags.and_then(|tags| tags.first()?.as_str()).unwrap_or_default()
    }

    fn text(&self, key: &str) -> &'d str {
        self.said.get(key).and_then(Value::as_str).unwrap_or_default()
    }

    /// A row of the table.
    fn write_to(&self, page: &mut String) {
        let (summary, description) = (self.text("summary"), self.text("description"));
        let what = match description {
            "" => format!("{summary}."),
            description => format!("{summary}. {description}"),
        };
        let role = match self.text("x-role") {
            "" => "none",
            role => role,
        };
        *page += &format!(
            "| `{} {}` | {role} | {} | {} | {} |\n",
            self.method.to_uppercase(),
            self.path,
            in_a_cell(&what),
            in_a_cell(&self.parameters()),
            in_a_cell(&self.answers())
        );
    }

    fn parameters(&self) -> String {
        let parameters = self.said.get("parameters").and_then(Value::as_array);
        let in_query = parameters.into_iter().flatten().filter(|parameter| {
            let place = parameter.get("in").and_then(Value::as_str);
            place == Some("query")
        });
        let query = in_query.map(|parameter| {
            let text = |key: &str| parameter.get(key).and_then(Value::as_str).unwrap_or_default();
            format!("`{}`: {}", text("name"), text("description"))
        });
        let body = self.said.get("requestBody").and_then(|body| body.get("description"));
        let body = body.and_then(Value::as_str).map(|body| format!("body: {body}"));
        query.chain(body).collect::<Vec<_>>().join("<br>")
    }

    /// What it answers, beside what every operation may answer.
    fn answers(&self) -> String {
        let nothing = Map::new();
        let responses = self
            .said
            .get("responses")
            .and_then(Value::as_object)
            .unwrap_or(&nothing);
        let told = responses.iter().filter_map(|(status, response)| {
            let words = response.get("description").and_then(Value::as_str)?;
            let is_everywhere = super::operation::is_everywhere(status, words);
            (!is_everywhere).then(|| format!("{status} {words}"))
        });
        told.collect::<Vec<_>>().join("<br>")
    }
}

fn in_a_cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_that_is_checked_in_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/rest.md");
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            kept == page(),
            "docs/reference/rest.md is not current: cargo run -- schema --rest > docs/reference/rest.md"
        );
    }
}
