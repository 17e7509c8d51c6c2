//! Other people's programs that know nothing of Tailrace, run as they are: Confluent's clients read what it writes, clients of Kafka
//! Connect's REST ask its endpoint.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::servers::{Result, ServerError, installed};

/// Where the programs are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// A key or value that begins with the number of its schema, and where it stands.
#[derive(Clone, Debug)]
pub struct Framed {
    /// `avro` or `json_schema`.
    pub codec: &'static str,
    /// How subjects are named: `topic`, `record` or `topic_record`.
    pub subjects: &'static str,
    /// `key` or `value`.
    pub part: &'static str,
    /// The topic.
    pub topic: String,
    /// What stands there.
    pub bytes: Vec<u8>,
}

/// What a registry says of a subject, asked with everything that Confluent's client for Python can ask; see the program.
///
/// # Errors
/// When it is not installed, or fails; with what it printed.
pub fn ask_registry_with_python(url: &str, subject: &str) -> Result<String> {
    run(&mut python("confluent", "ask_registry.py", &[url, subject])?, "")
}

/// Does what commands of `kafka-acls.sh` would, one a line, at a broker; see the program.
///
/// # Errors
/// As [`ask_registry_with_python`].
pub fn create_acls(bootstrap: &str, commands: &str) -> Result<String> {
    run(&mut python("confluent", "create_acls.py", &[bootstrap])?, commands)
}

/// What clients of Kafka Connect find at each step of a connector's life; see the program. `who` is a name and a token, or nobody.
///
/// # Errors
/// As [`ask_registry_with_python`], and where it prints what is no JSON.
pub fn live_with_python(url: &str, who: Option<(&str, &str)>, connector: &str, config: &Value) -> Result<Vec<Value>> {
    let (name, token) = who.unwrap_or_default();
    let mut command = python("rest", "connect_api.py", &[url, name, token, connector])?;
    values(&run(&mut command, &config.to_string())?)
}

/// The same with a client in Java.
///
/// # Errors
/// As [`live_with_python`].
pub fn live_with_java(url: &str, (name, token): (&str, &str), connector: &str, config: &Value) -> Result<Vec<Value>> {
    let mut command = java("rest/libs", "ManageConnector.java")?;
    command.args([url, name, token, connector]);
    values(&run(&mut command, &config.to_string())?)
}

/// What `kc` of kafka-connect-py prints. `who` is `name:token`.
///
/// # Errors
/// As [`ask_registry_with_python`].
pub fn kc(url: &str, who: Option<&str>, arguments: &[&str]) -> Result<String> {
    let mut command = module(
        "rest",
        "import sys; from kafka_connect.cli import cli; sys.argv[0] = 'kc'; cli()",
    )?;
    command.env("KAFKA_CONNECT_URL", url).args(arguments);
    if let Some(who) = who {
        command.env("KAFKA_CONNECT_BASIC_AUTH", who);
    }
    run(&mut command, "")
}

/// What schemathesis prints, and whether it found nothing. It works in `folder`.
///
/// # Errors
/// When it is not installed.
pub fn schemathesis(folder: &Path, arguments: &[&str]) -> Result<(bool, String)> {
    let mut command = module(
        "rest",
        "from schemathesis.cli import schemathesis; schemathesis(prog_name='st')",
    )?;
    command.env("NO_COLOR", "1").env("COLUMNS", "200").args(arguments);
    let output = command.current_dir(folder).stdin(Stdio::null()).output();
    let output = output.map_err(ServerError::doing("running schemathesis"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Ok((output.status.success(), text(&output.stdout) + &text(&output.stderr)))
}

/// Keys and values, as Confluent's deserializers for Python read them; see the program.
///
/// # Errors
/// As [`ask_registry_with_python`], and when it reads what is no JSON.
pub fn read_with_python(url: &str, records: &[Framed]) -> Result<Vec<Value>> {
    let printed = run(&mut python("confluent", "read_records.py", &[url])?, &lines(records))?;
    values(&printed)
}

/// Keys and values of Avro, as Confluent's deserializer for Java reads them.
///
/// # Errors
/// As [`read_with_python`].
pub fn read_with_java(url: &str, records: &[Framed]) -> Result<Vec<Value>> {
    let printed = run(java("confluent/libs", "ReadAvro.java")?.arg(url), &lines(records))?;
    values(&printed)
}

fn values(printed: &str) -> Result<Vec<Value>> {
    let lines = printed.lines();
    lines
        .map(|line| serde_json::from_str(line).map_err(ServerError::doing(format!("reading `{line}`"))))
        .collect()
}

// === impl Framed ===

impl Framed {
    /// As the programs read it.
    fn line(&self) -> String {
        let Framed {
            codec,
            subjects,
            part,
            topic,
            bytes,
        } = self;
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{codec} {subjects} {part} {topic} {digits}\n")
    }
}

fn lines(records: &[Framed]) -> String {
    records.iter().map(Framed::line).collect()
}

/// A program of ours, with the packages that are installed under a name.
fn python(packages: &str, program: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = interpreter(packages)?;
    command.arg(Path::new(PROGRAMS).join(program)).args(arguments);
    Ok(command)
}

/// A line of Python.
fn module(packages: &str, line: &str) -> Result<Command> {
    let mut command = interpreter(packages)?;
    command.args(["-c", line]);
    Ok(command)
}

/// A program of one file, with the jars of a folder.
fn java(jars: &str, program: &str) -> Result<Command> {
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(installed(jars)?.join("*"))
        .arg(Path::new(PROGRAMS).join(program));
    Ok(command)
}

fn interpreter(packages: &str) -> Result<Command> {
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", installed(&format!("{packages}/python"))?)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    Ok(command)
}

/// Runs a program with this on its standard input.
fn run(command: &mut Command, given: &str) -> Result<String> {
    let failed = || ServerError::doing::<std::io::Error>("running a client");
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed())?;
    if let Some(mut input) = child.stdin.take() {
        input.write_all(given.as_bytes()).map_err(failed())?;
    }
    let output = child.wait_with_output().map_err(failed())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    let said = text(&output.stdout) + &text(&output.stderr);
    Err(ServerError::new(format!(
        "a client ended with {}: {said}",
        output.status
    )))
}
