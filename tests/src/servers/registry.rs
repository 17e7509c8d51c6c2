//! A private registry of schemas: Apicurio's, which speaks the API of Confluent's below a path and keeps everything in memory.

use std::fmt;
use std::time::Duration;

use super::process::{Server, ServerCommand, ServerFolder};
use super::{Port, Result, installed};
use crate::http;

/// A JVM on two cores that are compiling at the same time; alone it takes three seconds.
const START_DEADLINE: Duration = Duration::from_secs(120);

const STOP_DEADLINE: Duration = Duration::from_secs(30);

/// Where the API of Confluent's begins.
const API: &str = "/apis/ccompat/v7";

/// A running (or stopped) registry. Dropping it kills it and removes its folder.
pub struct Registry {
    port: Port,
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    server: Server,
    folder: ServerFolder,
}

// === impl Registry ===

impl Registry {
    /// Starts an empty registry and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not start; the error carries the end of its log.
    pub fn start() -> Result<Registry> {
        let registry = Registry {
            port: Port::claim()?,
            server: Server::new("Apicurio's registry"),
            folder: ServerFolder::create("registry", None)?,
        };
        registry.restart()?;
        Ok(registry)
    }

    /// Starts it again, after `stop` or `kill9`, empty; a running one is stopped first.
    ///
    /// # Errors
    /// As [`Registry::start`].
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.server.start(&self.folder, self.command()?, START_DEADLINE, |_| {
            let answer = http::request(self.port.number(), "GET", &format!("{API}/subjects"), "");
            answer.is_ok_and(|(status, _)| status == 200)
        })
    }

    /// SIGTERM, and its end. No effect on a stopped one.
    ///
    /// # Errors
    /// When it is still there after the deadline.
    pub fn stop(&self) -> Result<()> {
        self.server.stop("TERM", STOP_DEADLINE)
    }

    /// SIGKILL. No effect on a stopped one.
    ///
    /// # Errors
    /// When the process is still there after the deadline.
    pub fn kill9(&self) -> Result<()> {
        self.server.kill()
    }

    /// For `url` under `registries`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}{API}", self.port.number())
    }

    /// Which level a subject's versions are held to from now on, by the API's name; `None` for all without their own.
    ///
    /// # Errors
    /// When it refuses, or does not answer.
    pub fn set_level(&self, subject: Option<&str>, level: &str) -> Result<()> {
        let path = subject.map_or_else(|| format!("{API}/config"), |subject| format!("{API}/config/{subject}"));
        let body = format!(r#"{{"compatibility": "{level}"}}"#);
        match http::request(self.port.number(), "PUT", &path, &body)? {
            (200, _) => Ok(()),
            (status, answer) => Err(super::ServerError::new(format!("PUT {path}: {status} {answer}"))),
        }
    }

    /// The text of the schema that a number stands for, as it was registered.
    ///
    /// # Errors
    /// When there is none, or it does not answer.
    pub fn schema(&self, number: u32) -> Result<String> {
        let path = format!("{API}/schemas/ids/{number}");
        let (status, answer) = http::request(self.port.number(), "GET", &path, "")?;
        let parsed: serde_json::Value = serde_json::from_str(&answer).unwrap_or_default();
        match parsed.get("schema").and_then(serde_json::Value::as_str) {
            Some(text) if status == 200 => Ok(text.to_owned()),
            _ => Err(super::ServerError::new(format!("GET {path}: {status} {answer}"))),
        }
    }

    /// Everything that it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.folder.log()
    }

    fn command(&self) -> Result<ServerCommand> {
        let options = [
            "-Xmx384m",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            "-Dquarkus.http.host=127.0.0.1",
        ];
        let mut arguments: Vec<_> = options.iter().map(Into::into).collect();
        arguments.extend([
            format!("-Dquarkus.http.port={}", self.port.number()).into(),
            // Names the folder, by which the watchdog knows its process.
            format!("-Djava.io.tmpdir={}", self.folder.path().display()).into(),
            "-jar".into(),
            installed("registry/runner.jar")?.into(),
        ]);
        Ok(ServerCommand {
            program: "java".into(),
            arguments,
            environment: Vec::new(),
        })
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Apicurio's registry in {}", self.folder.path().display())
    }
}
