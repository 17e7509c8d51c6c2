//! A private Prometheus, and its tool that checks rules and the text of metrics.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use super::process::{Server, ServerCommand, ServerFolder};
use super::{Port, Result, ServerError, installed};
use crate::http;

const START_DEADLINE: Duration = Duration::from_secs(60);

/// A running Prometheus. Dropping it kills it and removes its folder.
pub struct Prometheus {
    port: Port,
    /// Before `folder`: fields are dropped in order, and the folder's watchdog would kill what still runs anyway.
    _server: Server,
    _folder: ServerFolder,
}

// === impl Prometheus ===

impl Prometheus {
    /// Starts it with a configuration, and with rules as `alerts.yml` beside that, and waits until it answers.
    ///
    /// # Errors
    /// When it is not installed or does not start; the error carries the end of its log.
    pub fn start(configuration: &str, rules: &str) -> Result<Prometheus> {
        let (port, server) = (Port::claim()?, Server::new("Prometheus"));
        let folder = ServerFolder::create("prometheus", None)?;
        folder.write("prometheus.yml", configuration.as_bytes())?;
        folder.write("alerts.yml", rules.as_bytes())?;
        let arguments = [
            format!("--config.file={}", folder.path().join("prometheus.yml").display()),
            format!("--storage.tsdb.path={}", folder.path().join("data").display()),
            format!("--web.listen-address=127.0.0.1:{}", port.number()),
            "--log.level=warn".to_owned(),
        ];
        let command = ServerCommand {
            program: installed("prometheus/prometheus")?,
            arguments: arguments.map(Into::into).to_vec(),
            environment: Vec::new(),
        };
        server.start(&folder, command, START_DEADLINE, |_| {
            let answer = http::request(port.number(), "GET", "/-/ready", "");
            answer.is_ok_and(|(status, _)| status == 200)
        })?;
        Ok(Prometheus {
            port,
            _server: server,
            _folder: folder,
        })
    }

    /// What an expression is now: a series with its value for each element.
    ///
    /// # Errors
    /// When it is no expression, or nobody answers.
    pub fn query(&self, expression: &str) -> Result<Vec<(Value, f64)>> {
        let answer = self.get(&format!("/api/v1/query?query={}", encoded(expression)))?;
        let series = list(&answer, "/data/result").into_iter().filter_map(|one| {
            let value = one.pointer("/value/1")?.as_str()?.parse().ok()?;
            Some((one.get("metric")?.clone(), value))
        });
        Ok(series.collect())
    }

    /// Every rule with its health.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn rules(&self) -> Result<Vec<Value>> {
        let answer = self.get("/api/v1/rules")?;
        let groups = list(&answer, "/data/groups");
        Ok(groups.iter().flat_map(|group| list(group, "/rules")).collect())
    }

    fn get(&self, path: &str) -> Result<Value> {
        let (status, answer) = http::request(self.port.number(), "GET", path, "")?;
        if status != 200 {
            return Err(ServerError::new(format!("GET {path}: {status} {answer}")));
        }
        serde_json::from_str(&answer).map_err(ServerError::doing(format!("reading the answer to GET {path}")))
    }
}

fn list(answer: &Value, place: &str) -> Vec<Value> {
    let list = answer.pointer(place).and_then(Value::as_array);
    list.cloned().unwrap_or_default()
}

/// Runs the tool in a folder, with something on its standard input. What it printed; an error where it is not content.
///
/// # Errors
/// When it is not installed, or finds something.
pub fn promtool(arguments: &[&str], folder: &Path, input: &str) -> Result<String> {
    let doing = format!("promtool {}", arguments.join(" "));
    let failed = || ServerError::doing::<std::io::Error>(doing.clone());
    let mut child = Command::new(installed("prometheus/promtool")?)
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(failed())?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(failed())?;
    }
    let output = child.wait_with_output().map_err(failed())?;
    let said = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let said = said.concat();
    if output.status.success() {
        return Ok(said);
    }
    Err(ServerError::new(format!("{doing}: {}\n{said}", output.status)))
}

/// A query's value, every byte that is no letter or digit by its number.
fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| {
        if byte.is_ascii_alphanumeric() {
            char::from(byte).to_string()
        } else {
            format!("%{byte:02X}")
        }
    });
    bytes.collect()
}
