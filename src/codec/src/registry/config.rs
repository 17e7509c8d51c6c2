//! What a registry may be configured with.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};
use tailrace_core::check::Finding;
use tailrace_core::secret::Secret;
use tailrace_core::setting::LocalFile;
use tailrace_http::HttpUrl;

/// A registry answers in milliseconds; one whose leader moves to another node needs a few seconds.
pub const DEFAULT_TIMEOUT_MS: u64 = 10_000;

/// A registry that speaks the API of Confluent's: Confluent's own, Apicurio, Karapace.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfluentRegistryConfig {
    /// Where it is, `http://` or `https://`, with a path where it has one (Apicurio: `http://localhost:8080/apis/ccompat/v7`).
    /// Several nodes of one registry are a list, tried in turn. A name and password do not stand in it.
    pub url: UrlList,
    /// Name for basic authentication; with `password`.
    #[serde(default)]
    pub username: Option<String>,
    /// Password for basic authentication.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Token for bearer authentication, instead of `username` and `password`.
    #[serde(default)]
    pub token: Option<Secret>,
    /// Authorities that signed the registry's certificate, PEM. Default: the system's.
    #[serde(default)]
    #[schemars(with = "Option<LocalFile>")]
    pub ca_file: Option<PathBuf>,
    /// How long one answer may take, from connecting to its last byte, milliseconds. Default: 10000.
    #[serde(default = "timeout_ms")]
    #[schemars(range(min = 1))]
    pub timeout_ms: u64,
}

/// One URL, or a list of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UrlList(Vec<String>);

fn timeout_ms() -> u64 {
    DEFAULT_TIMEOUT_MS
}

// === impl ConfluentRegistryConfig ===

impl ConfluentRegistryConfig {
    /// Everything that is wrong with the configuration in itself.
    pub fn problems(&self) -> Vec<Finding> {
        let mut problems = Vec::new();
        let mut refuse = |problem: String, remedy: &str| problems.push(Finding::blocks("config", problem, remedy));
        if self.url.0.is_empty() {
            refuse(
                "`url` is empty".to_owned(),
                "write the registry's URL, such as `http://localhost:8081`",
            );
        }
        let urls: Vec<Result<HttpUrl, String>> = self.url.0.iter().map(|url| node(url)).collect();
        for problem in urls.iter().filter_map(|url| url.as_ref().err()) {
            let remedy = "write `http://host:port` or `https://host:port`; a name and a password belong under `username` and `password`";
            refuse(problem.clone(), remedy);
        }
        match (&self.username, &self.password, &self.token) {
            (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                refuse(
                    "both a password and a `token` are given".to_owned(),
                    "leave one of them out",
                );
            }
            (Some(_), None, None) => refuse("`password` is missing beside `username`".to_owned(), "add it"),
            (None, Some(_), None) => refuse("`username` is missing beside `password`".to_owned(), "add it"),
            (Some(_), Some(_), None) | (None, None, _) => {}
        }
        let is_visible = |secret: &Secret| secret.expose().bytes().all(|byte| byte.is_ascii_graphic());
        if self.token.as_ref().is_some_and(|token| !is_visible(token)) {
            let remedy = "check where it comes from: a line break at its end is the usual reason";
            refuse("`token` has characters that no header may hold".to_owned(), remedy);
        }
        if self.timeout_ms == 0 {
            refuse("`timeout_ms` is 0".to_owned(), "write at least 1");
        }
        let has_tls = urls.iter().flatten().any(|url| url.is_tls());
        let is_http = urls.iter().flatten().all(|url| !url.is_tls());
        if self.ca_file.is_some() && is_http {
            refuse(
                "`ca_file` is given and no `url` is `https://`".to_owned(),
                "leave it out, or use https",
            );
        }
        let has_secret = self.password.is_some() || self.token.is_some();
        if has_secret && has_tls && urls.iter().flatten().any(|url| !url.is_tls()) {
            let problem = "one `url` is `https://` and another would send the same secret in the clear";
            refuse(problem.to_owned(), "use https for all of them");
        }
        problems
    }

    /// The nodes; those that cannot be read were said to be by [`Self::problems`].
    pub(crate) fn nodes(&self) -> Vec<HttpUrl> {
        let parsed = self.url.0.iter().map(|url| node(url));
        parsed.flatten().collect()
    }
}

// === impl UrlList ===

impl UrlList {
    /// From the URLs, in the order in which they are tried.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self(urls.into_iter().map(Into::into).collect())
    }
}

impl<'de> Deserialize<'de> for UrlList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;

        impl<'de> Visitor<'de> for OneOrMany {
            type Value = UrlList;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a URL or a list of URLs")
            }

            fn visit_str<E: de::Error>(self, url: &str) -> Result<UrlList, E> {
                Ok(UrlList::new([url]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut urls: A) -> Result<UrlList, A::Error> {
                let mut list = Vec::new();
                while let Some(url) = urls.next_element::<String>()? {
                    list.push(url);
                }
                Ok(UrlList(list))
            }
        }

        deserializer.deserialize_any(OneOrMany)
    }
}

impl JsonSchema for UrlList {
    fn schema_name() -> Cow<'static, str> {
        "UrlList".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": ["string", "array"], "items": { "type": "string" }, "minItems": 1 })
    }
}

/// One node of a registry.
///
/// # Errors
/// Half a sentence, which holds nothing of a URL that may hold a password.
fn node(url: &str) -> Result<HttpUrl, String> {
    HttpUrl::parse(url)?.into_base()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> ConfluentRegistryConfig {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn one_url_or_several_are_read() {
        let one = read(r#"{"url": "http://localhost:8081/"}"#);
        assert_eq!(one.nodes()[0].to_string(), "http://localhost:8081");
        let several = read(r#"{"url": ["https://a/apis/ccompat/v7", "https://[::1]:8443"]}"#);
        let nodes = several.nodes();
        assert_eq!(nodes[0].to_string(), "https://a/apis/ccompat/v7");
        assert_eq!((nodes[0].port(), nodes[1].port(), nodes[1].host()), (443, 8443, "::1"));
        assert!(several.problems().is_empty());
    }

    #[test]
    fn what_is_wrong_is_said_without_secrets() {
        for (text, problem) in [
            (r#"{"url": []}"#, "`url` is empty"),
            (r#"{"url": "localhost"}"#, "lacks its scheme"),
            (r#"{"url": "file:///etc/passwd"}"#, "is no URL"),
            (r#"{"url": "ftp://h/x"}"#, "begins with `ftp://`"),
            (
                r#"{"url": "http://u:hunter2@h:1"}"#,
                "the `url` of h holds a name or a password",
            ),
            (r#"{"url": "http://h", "username": "u"}"#, "`password` is missing"),
            (
                r#"{"url": "http://h", "token": "hunter2", "password": "hunter2"}"#,
                "both a password",
            ),
            (r#"{"url": "http://h", "token": "hunter2\n"}"#, "no header may hold"),
            (r#"{"url": "http://h", "ca_file": "ca.pem"}"#, "`ca_file` is given"),
            (
                r#"{"url": ["http://h", "https://h"], "token": "hunter2"}"#,
                "in the clear",
            ),
        ] {
            let problems = read(text).problems();
            let said = problems.iter().any(|finding| finding.problem.contains(problem));
            assert!(said, "{text}: {problems:?}");
            assert!(
                !format!("{problems:?} {:?}", read(text))
                    .replace(text, "")
                    .contains("hunter2\""),
                "{problems:?}"
            );
        }
    }

    #[test]
    fn secrets_are_not_shown() {
        let config = read(r#"{"url": "https://h", "username": "u", "password": "hunter2"}"#);
        assert!(!format!("{config:?}").contains("hunter2"));
    }
}
