//! The program as a whole, from outside: exit codes, words, signals, the quickstart and its resumption.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, ChildStderr, ChildStdout, Command, Output, Stdio};

use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_tailrace");

fn program(arguments: &[&str]) -> Output {
    Command::new(PROGRAM).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// A program that goes on; killed when the test ends.
struct Running {
    child: Child,
    stdout: BufReader<ChildStdout>,
    stderr: BufReader<ChildStderr>,
}

impl Running {
    fn start(arguments: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        Self {
            stdout: BufReader::new(child.stdout.take().unwrap()),
            stderr: BufReader::new(child.stderr.take().unwrap()),
            child,
        }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, reading what it still says.
    fn end(mut self) -> (i32, String, String) {
        let (mut out, mut err) = (String::new(), String::new());
        self.stdout.read_to_string(&mut out).unwrap();
        self.stderr.read_to_string(&mut err).unwrap();
        let code = self.child.wait().unwrap().code().unwrap();
        (code, out, err)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads lines until one fits; all that were read.
fn read_until(reader: &mut impl BufRead, fits: impl Fn(&str) -> bool) -> Vec<String> {
    let mut lines = Vec::new();
    for line in reader.lines() {
        let line = line.unwrap();
        let found = fits(&line);
        lines.push(line);
        if found {
            return lines;
        }
    }
    panic!("it ended without the line that was waited for:\n{}", lines.join("\n"));
}

fn http(address: &str, path: &str) -> (u16, String) {
    let mut socket = TcpStream::connect(address).unwrap();
    write!(socket, "GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n").unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let code = answer.split(' ').nth(1).unwrap().parse().unwrap();
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    (code, body.to_owned())
}

/// The address behind `curl http://` in a line.
fn address_in(line: &str) -> String {
    let (_, after) = line.split_once("curl http://").unwrap();
    after.split('/').next().unwrap().to_owned()
}

#[test]
fn what_is_wrong_with_a_file_is_told_with_its_place_and_ends_with_2() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("x.yaml");
    std::fs::write(
        &file,
        "version: 1\nstreams:\n  events: {type: file, paht: data}\nconnectors: {}\n",
    )
    .unwrap();
    let name = file.display().to_string();
    let output = program(&["validate", &name]);
    assert_eq!(output.status.code(), Some(2));
    let expected = format!(
        "{name}:3:24: streams.events: unknown key `paht`; did you mean `path`?\n\
         {name}:4:13: connectors: there is nothing in it; write a name, and under it `source` and `stream`\n"
    );
    assert_eq!(text(&output.stderr), expected);
    assert_eq!(program(&["run", &name]).status.code(), Some(2));
    assert_eq!(program(&["no-such-command"]).status.code(), Some(2));
    assert_eq!(
        program(&["run", &name, "--log-level", "lou,d=="]).status.code(),
        Some(2)
    );
    assert_eq!(program(&["--help"]).status.code(), Some(0));
}

#[test]
fn a_file_of_sinks_alone_is_no_empty_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("tailrace.yaml");
    let written = "version: 1\nstreams:\n  events: { type: file, path: events }\nconnectors:\n  mirror:\n    stream: events\n    \
        topics: [orders]\n    sink: { type: sqlite, path: mirror.db }\n";
    std::fs::write(&file, written).unwrap();
    let name = file.display().to_string();
    let right = program(&["validate", &name]);
    assert!(
        text(&right.stdout).ends_with("is right: mirror ← events\n"),
        "{right:?}"
    );
    let described = program(&["describe", &name]);
    assert!(
        text(&described.stdout).starts_with("nothing would be captured"),
        "{described:?}"
    );
}

#[test]
fn a_reader_that_went_away_is_no_failure() {
    let mut child = Command::new(PROGRAM)
        .arg("schema")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stderr), "");
}

#[test]
fn completions_know_the_commands() {
    for shell in ["bash", "zsh", "fish"] {
        let output = program(&["completions", shell]);
        assert!(text(&output.stdout).contains("validate"), "{shell}");
    }
}

#[test]
fn the_quickstart_shows_events_ends_cleanly_and_resumes() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let mut first = Running::start(&["--data", &data]);
    let lines = read_until(&mut first.stdout, |line| {
        line.contains("updated_at 2") && line.contains(" lag ")
    });
    assert!(lines.iter().any(|line| line.contains("first run")), "{lines:?}");
    let address = address_in(lines.iter().find(|line| line.contains("curl http://")).unwrap());
    let (code, status) = http(&address, "/status");
    assert_eq!(code, 200);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["connectors"][0]["state"], "streaming");
    assert_eq!(http(&address, "/readyz").0, 200);
    assert_eq!(http(&address, "/livez").0, 200);
    assert!(
        http(&address, "/metrics")
            .1
            .contains("tailrace_records_total{connector=\"shop\"}")
    );
    first.signal("INT");
    let (code, out, err) = first.end();
    assert_eq!(code, 0, "{err}");
    assert!(out.ends_with("the same command resumes.\n"), "{out}");

    let mut second = Running::start(&["--data", &data]);
    let lines = read_until(&mut second.stdout, |line| {
        line.contains("shop.orders ") && line.contains(" lag ")
    });
    assert!(
        lines.iter().any(|line| line.contains("resumes from the checkpoint")),
        "{lines:?}"
    );
    second.signal("TERM");
    assert_eq!(second.end().0, 0);

    let file = Path::new(&data).join("tailrace.yaml").display().to_string();
    let orders = events_of(&file, "shop.orders");
    let ids: BTreeSet<i64> = orders
        .iter()
        .map(|event| event["key"]["id"].as_i64().unwrap())
        .collect();
    let newest = *ids.last().unwrap();
    assert!(newest >= 120);
    assert_eq!(ids, (1..=newest).collect(), "an order is missing");
    let event_ids: BTreeSet<&str> = orders
        .iter()
        .map(|event| event["headers"]["event_id"].as_str().unwrap())
        .collect();
    assert_eq!(
        event_ids.len(),
        orders.len(),
        "an ended run left nothing to be read again"
    );
}

#[test]
fn a_killed_run_loses_nothing_and_repeats_only_what_can_be_told_apart() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    for _ in 0..3 {
        let mut run = Running::start(&["--data", &data]);
        read_until(&mut run.stdout, |line| {
            line.contains("shop.order_lines ") && line.contains(" lag ")
        });
        run.signal("KILL");
        run.child.wait().unwrap();
    }
    let mut last = Running::start(&["--data", &data]);
    read_until(&mut last.stdout, |line| {
        line.contains("shop.order_lines ") && line.contains(" lag ")
    });
    last.signal("TERM");
    assert_eq!(last.end().0, 0);
    let file = Path::new(&data).join("tailrace.yaml").display().to_string();
    for topic in ["shop.order_lines", "shop.orders"] {
        let mut versions: BTreeMap<String, Value> = BTreeMap::new();
        let mut ids = BTreeSet::new();
        for event in events_of(&file, topic) {
            ids.insert(event["key"]["id"].as_i64().unwrap());
            let event_id = event["headers"]["event_id"].as_str().unwrap().to_owned();
            let value = event["value"].clone();
            if let Some(before) = versions.insert(event_id, value.clone()) {
                assert_eq!(before, value, "two different events have one id");
            }
        }
        assert_eq!(ids, (1..=*ids.last().unwrap()).collect(), "a row of {topic} is missing");
    }
}

/// Every event that a topic holds.
fn events_of(file: &str, topic: &str) -> Vec<Value> {
    let output = program(&["tail", file, topic, "--json", "--no-wait"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    text(&output.stdout)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// A configuration of one SQLite source into files, on a free port.
fn sqlite_configuration(folder: &Path, tables: &str) -> String {
    let file = folder.join("run.yaml");
    let folder = folder.display();
    let configuration = format!(
        "version: 1\nadmin: {{listen: \"127.0.0.1:0\"}}\nstate: {{url: \"sqlite://{folder}/state.db\"}}\n\
         streams:\n  events: {{type: file, path: \"{folder}/events\"}}\nconnectors:\n  shop:\n    source:\n      \
         type: sqlite\n      path: \"{folder}/shop.db\"\n      tables: [{tables}]\n      \
         query: {{mode: incrementing}}\n    stream: events\n"
    );
    std::fs::write(&file, configuration).unwrap();
    file.display().to_string()
}

#[test]
fn a_halted_connector_keeps_the_process_up_and_says_why() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("shop.db"),
        "this is not a database, whatever its name says".repeat(100),
    )
    .unwrap();
    let file = sqlite_configuration(folder.path(), "orders");
    let check = program(&["check", &file]);
    assert_eq!(check.status.code(), Some(3), "{}", text(&check.stdout));
    assert!(text(&check.stdout).contains("BLOCKS"));

    let mut running = Running::start(&["run", &file, "--log-format", "json"]);
    let lines = read_until(&mut running.stderr, |line| line.contains("curl http://"));
    let address = address_in(lines.last().unwrap());
    let halted = |line: &str| line.contains("\"state\":\"halted\"");
    if !lines.iter().any(|line| halted(line)) {
        read_until(&mut running.stderr, halted);
    }
    assert_eq!(http(&address, "/livez").0, 200);
    let (code, body) = http(&address, "/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("\"state\":\"halted:"), "{body}");
    let (_, status) = http(&address, "/status");
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(status["connectors"][0]["state"], "halted");
    assert!(!status["connectors"][0]["reason"].as_str().unwrap().is_empty());
    running.signal("TERM");
    assert_eq!(running.end().0, 4);
}

#[test]
fn a_second_process_on_the_same_state_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data").display().to_string();
    let mut first = Running::start(&["--data", &data]);
    read_until(&mut first.stdout, |line| line.contains("updated_at"));
    let second = program(&["--data", &data]);
    assert_eq!(second.status.code(), Some(1));
    assert!(
        text(&second.stderr).contains("[state_locked]"),
        "{}",
        text(&second.stderr)
    );
    first.signal("INT");
    assert_eq!(first.end().0, 0);
}
