//! Other people's readers of what Tailrace writes: Confluent's clients, run as programs of their own.

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
    run(&mut python("ask_registry.py", &[url, subject])?, &[])
}

/// Keys and values, as Confluent's deserializers for Python read them; see the program.
///
/// # Errors
/// As [`ask_registry_with_python`], and when it reads what is no JSON.
pub fn read_with_python(url: &str, records: &[Framed]) -> Result<Vec<Value>> {
    let printed = run(&mut python("read_records.py", &[url])?, records)?;
    values(&printed)
}

/// Keys and values of Avro, as Confluent's deserializer for Java reads them.
///
/// # Errors
/// As [`read_with_python`].
pub fn read_with_java(url: &str, records: &[Framed]) -> Result<Vec<Value>> {
    let jars = installed("confluent/libs")?.join("*");
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars);
    command.arg(Path::new(PROGRAMS).join("ReadAvro.java")).arg(url);
    let printed = run(&mut command, records)?;
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

fn python(program: &str, arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", installed("confluent/python")?)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .arg(Path::new(PROGRAMS).join(program))
        .args(arguments);
    Ok(command)
}

/// Runs a program over records, a line each.
fn run(command: &mut Command, records: &[Framed]) -> Result<String> {
    let failed = || ServerError::doing::<std::io::Error>("running a client");
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed())?;
    let lines: String = records.iter().map(Framed::line).collect();
    if let Some(mut input) = child.stdin.take() {
        input.write_all(lines.as_bytes()).map_err(failed())?;
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
