//! Other people's readers of what Tailrace writes: Confluent's clients, run as programs of their own.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::servers::{Result, ServerError, installed};

/// Where the programs are.
const PROGRAMS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/clients");

/// What a registry says of a subject, asked with everything that Confluent's client for Python can ask; see the program.
///
/// # Errors
/// When it is not installed, or fails; with what it printed.
pub fn ask_registry_with_python(url: &str, subject: &str) -> Result<String> {
    run(&mut python("ask_registry.py", &[url, subject])?, &[])
}

/// Values of records, each as JSON, as Confluent's deserializers for Python read them; `codec` is `avro` or `json`.
///
/// # Errors
/// As [`ask_registry_with_python`].
pub fn read_with_python(url: &str, topic: &str, codec: &str, records: &[Vec<u8>]) -> Result<Vec<String>> {
    let printed = run(&mut python("read_records.py", &[url, topic, codec])?, records)?;
    Ok(printed.lines().map(str::to_owned).collect())
}

/// Values of records, each as JSON, as Confluent's deserializer for Java reads them.
///
/// # Errors
/// As [`ask_registry_with_python`].
pub fn read_with_java(url: &str, topic: &str, records: &[Vec<u8>]) -> Result<Vec<String>> {
    let jars = installed("confluent/libs")?.join("*");
    let mut command = Command::new("java");
    command
        .args(["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"])
        .arg(jars);
    command
        .arg(Path::new(PROGRAMS).join("ReadAvro.java"))
        .args([url, topic]);
    let printed = run(&mut command, records)?;
    Ok(printed.lines().map(str::to_owned).collect())
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

/// Runs a program over records, a line of hexadecimal digits each.
fn run(command: &mut Command, records: &[Vec<u8>]) -> Result<String> {
    let failed = || ServerError::doing::<std::io::Error>("running a client");
    let piped = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = piped.spawn().map_err(failed())?;
    let digits = |record: &Vec<u8>| record.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let lines: String = records.iter().map(|record| digits(record) + "\n").collect();
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
