//! Doing what a transcript says, block by block, and writing down what came of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tailrace_codec::RecordReader;
use tailrace_codec::registry::{ConfluentRegistry, ConfluentRegistryConfig};
use tailrace_core::event::StreamRecord;

use super::document::{Block, Document, Kind, Part};
use super::stream::Reader;
use super::words::Words;
use super::{Setting, show};
use crate::daemon::Daemon;
use crate::engine::{self, Engine};
use crate::servers::{Result, ServerError, eventually, poll_until};

/// As the daemon's: everything takes a fraction of a second, except on a machine that does everything at once.
const DEADLINE: Duration = Duration::from_secs(60);

/// Where sentences are broken.
const LINE_CHARACTERS: usize = 112;

/// States in which a connector waits for somebody.
const ENDINGS: [&str; 3] = ["streaming", "halted", "stopped"];

/// Everything that a transcript acts upon.
struct Stage {
    engine: Box<dyn Engine>,
    daemon: Daemon,
    is_running: bool,
    reader: Reader,
    words: Words,
    /// Configurations as the transcript writes them, by the connectors' names in it.
    connectors: BTreeMap<String, Vec<String>>,
    /// What the last statement or command answered.
    answer: Vec<String>,
    refusal: Option<String>,
}

/// Runs a document; gives it back with its outputs as they are now.
pub(super) async fn run(document: &Document, setting: Setting) -> Result<Document> {
    let mut stage = Stage::set(setting).await?;
    let mut found = document.clone();
    for part in &mut found.parts {
        let Part::Block(block) = part else { continue };
        if !block.holds_on(setting) {
            continue;
        }
        let in_line = |error: ServerError| ServerError::new(format!("line {}: {error}", block.line));
        if let Some(output) = stage.play(block).await.map_err(in_line)? {
            block.body = output;
        }
    }
    stage.check_nothing_is_left().await?;
    for part in &mut found.parts {
        let Part::Block(block) = part else { continue };
        for line in &mut block.body {
            *line = stage.words.number_positions(line);
        }
    }
    Ok(found)
}

// === impl Stage ===

impl Stage {
    async fn set(setting: Setting) -> Result<Stage> {
        let engine = engine::open(setting.target).await?;
        let daemon = Daemon::new("")?;
        let name = engine.name().to_owned();
        Ok(Stage {
            reader: Reader::open(setting.stream, daemon.path(), &name)?,
            words: Words::new(&name, engine.schema()),
            engine,
            daemon,
            is_running: false,
            connectors: BTreeMap::new(),
            answer: Vec::new(),
            refusal: None,
        })
    }

    /// Does what a block says; gives the output's lines where it is one.
    async fn play(&mut self, block: &Block) -> Result<Option<Vec<String>>> {
        match &block.kind {
            Kind::Statements { session, fails } => self.statements(session, &block.text(), *fails).await?,
            Kind::Configuration { connector } => {
                self.connectors.insert(connector.clone(), block.body.clone());
            }
            Kind::Console => {
                for line in &block.body {
                    self.command(line).await?;
                }
            }
            Kind::Events { with } => return self.events(with).await.map(Some),
            Kind::Status { wanted } => return self.status(wanted.as_deref()).map(Some),
            Kind::Rows | Kind::Output => {
                let answer: Vec<String> = self.answer.iter().map(|line| self.words.sentence(line)).collect();
                return Ok(Some(answer));
            }
            Kind::Refusal => {
                let refusal = self.refusal.take();
                let refusal = refusal.ok_or_else(|| ServerError::new("nothing was refused before this"))?;
                return Ok(Some(self.words.outward(&refusal).lines().map(str::to_owned).collect()));
            }
        }
        Ok(None)
    }

    async fn statements(&mut self, session: &str, statements: &str, fails: bool) -> Result<()> {
        let outcome = self.engine.run(session, &self.words.inward(statements)).await;
        match (outcome, fails) {
            (Ok(answer), false) => self.answer = answer,
            (Err(refusal), true) => self.refusal = Some(refusal),
            (Ok(_), true) => return Err(ServerError::new("this was to fail and did not")),
            (Err(refusal), false) => return Err(ServerError::new(refusal)),
        }
        Ok(())
    }

    /// A line of a console block.
    async fn command(&mut self, line: &str) -> Result<()> {
        let command = line.strip_prefix("$ ").unwrap_or(line);
        match command {
            "tailrace run" => {
                self.start()?;
                self.wait_for_any(&ENDINGS)?;
            }
            "tailrace run &" => self.start()?,
            "kill -TERM tailrace" => {
                let status = self.daemon.terminate()?;
                self.is_running = false;
                self.engine.wait_until_left().await?;
                self.answer = vec![format!("exit code {}", status.code().unwrap_or(-1))];
            }
            "kill -KILL tailrace" => {
                self.daemon.kill9()?;
                self.is_running = false;
                self.engine.wait_until_left().await?;
            }
            other => {
                let known = other.strip_prefix("tailrace ");
                let Some((command, arguments)) = known.and_then(|known| known.split_once(" tailrace.yaml")) else {
                    return Err(ServerError::new(format!("nobody knows the command `{other}`")));
                };
                let arguments = arguments.split_whitespace();
                let arguments: Vec<String> = arguments.map(|word| self.words.inward(word)).collect();
                self.tool(command, &arguments)?;
            }
        }
        Ok(())
    }

    /// A command of the binary that ends by itself.
    fn tool(&mut self, command: &str, arguments: &[String]) -> Result<()> {
        self.daemon.configure(&self.configuration())?;
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let printed = self.daemon.command(command, &arguments)?;
        self.answer = printed.all().lines().map(str::to_owned).collect();
        self.answer.push(format!("exit code {}", printed.code.unwrap_or(-1)));
        Ok(())
    }

    fn start(&mut self) -> Result<()> {
        self.daemon.configure(&self.configuration())?;
        self.daemon.start()?;
        self.is_running = true;
        Ok(())
    }

    /// The configuration as the daemon gets it: what the transcript says, and where database and stream are.
    fn configuration(&self) -> String {
        let mut text = self.reader.configuration() + "connectors:\n";
        for (name, lines) in &self.connectors {
            text.push_str(&format!("  {}:\n    stream: events\n", self.words.inward(name)));
            let has_source = lines.iter().any(|line| line == "source:");
            let is_polled = lines.iter().any(|line| line.starts_with("  query:"));
            let none = "source:".to_owned();
            for line in lines.iter().chain((!has_source).then_some(&none)) {
                text.push_str(&format!("    {}\n", self.words.inward(line)));
                if line == "source:" {
                    let log = if is_polled {
                        Vec::new()
                    } else {
                        self.engine.log_source()
                    };
                    let source = self.engine.source();
                    text.extend(source.iter().chain(&log).map(|line| format!("      {line}\n")));
                }
            }
        }
        text
    }

    fn names(&self) -> Vec<String> {
        self.connectors.keys().map(|name| self.words.inward(name)).collect()
    }

    fn wait_for_any(&self, states: &[&str]) -> Result<()> {
        for name in self.names() {
            let what = format!("that {name} is {}", states.join(" or "));
            self.daemon.wait_for(&name, &what, |status| {
                let state = status.get("state").and_then(Value::as_str).unwrap_or_default();
                states.contains(&state)
            })?;
        }
        Ok(())
    }

    /// Waits until everything that is committed was published, or never will be.
    async fn settle(&self) -> Result<()> {
        if !self.is_running {
            return Ok(());
        }
        let end = self.engine.end().await?;
        let end_us = tailrace_core::telemetry::now_us();
        for name in self.names() {
            let what = format!("that {name} has carried everything");
            let outcome = eventually(&what, DEADLINE, || async {
                let status = self.daemon.connector(&name)?;
                let is_halted = status.get("state").and_then(Value::as_str) == Some("halted");
                let is_carried = match is_carried_by_polling(&status, end_us) {
                    Some(is_carried) => is_carried,
                    None => self.engine.is_carried(&status, &end).await?,
                };
                Ok((is_halted || is_carried).then_some(()))
            });
            outcome.await.map_err(|error| self.daemon.with_status(&name, &error))?;
        }
        Ok(())
    }

    async fn new_records(&mut self) -> Result<Vec<StreamRecord>> {
        self.settle().await?;
        let mut records = self.reader.new_records().await?;
        if records.iter().any(is_framed) {
            self.unframe(&mut records).await?;
        }
        Ok(records)
    }

    /// Keys and values with the number of a schema in front, as JSON: by the registry that the daemon serves.
    async fn unframe(&self, records: &mut [StreamRecord]) -> Result<()> {
        let config = serde_json::from_value(serde_json::json!({ "url": self.daemon.url() }));
        let config: ConfluentRegistryConfig = config.map_err(ServerError::doing("naming the registry"))?;
        let registry = ConfluentRegistry::new(&config).map_err(|error| ServerError::new(error.report()))?;
        let mut reader = RecordReader::new(Arc::new(registry));
        for record in records {
            for part in [&mut record.key, &mut record.value].into_iter().flatten() {
                let json = reader.read(part).await;
                if let Some(json) = json.map_err(|error| ServerError::new(error.report()))? {
                    *part = json.into();
                }
            }
        }
        Ok(())
    }

    async fn events(&mut self, with: &[String]) -> Result<Vec<String>> {
        let mut records = self.new_records().await?;
        if records.is_empty() {
            return Ok(vec!["(none)".to_owned()]);
        }
        records.sort_by_cached_key(show::place);
        let shown = records
            .iter()
            .flat_map(|record| show::event(record, with, &mut self.words));
        Ok(shown.collect())
    }

    fn status(&mut self, wanted: Option<&str>) -> Result<Vec<String>> {
        match wanted.map(|wanted| (wanted, wanted.strip_prefix("until "))) {
            Some((_, Some(words))) => {
                let what = format!("that the status says `{words}`");
                poll_until(&what, DEADLINE, || {
                    let lines = self.status_lines()?.join(" ");
                    Ok(lines.contains(words).then_some(()))
                })?;
            }
            Some((state, None)) => self.wait_for_any(&[state])?,
            None => {}
        }
        self.status_lines()
    }

    fn status_lines(&mut self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        for name in self.names() {
            let status = self.daemon.connector(&name)?;
            let state = self.daemon.state(&name)?;
            lines.push(format!("{}: {state}", self.words.outward(&name)));
            if !state.starts_with("streaming") {
                let reason = status.get("reason").and_then(Value::as_str).unwrap_or_default();
                lines.extend(wrapped(&self.words.sentence(reason)));
            }
            let notices = status.get("notices").and_then(Value::as_object);
            for (code, notice) in notices.into_iter().flatten() {
                let notice = notice.as_str().unwrap_or_default();
                // Who they are is the machine's own affair.
                let notice = match (code.as_str(), notice.split_once(": ")) {
                    ("waiting_for_old_transactions", Some((what, _))) => format!("{what}: «whose»"),
                    _ => self.words.sentence(notice),
                };
                lines.extend(wrapped(&format!("notice {code}: {notice}")));
            }
        }
        Ok(lines)
    }

    /// What was published and not shown would not be reviewed.
    async fn check_nothing_is_left(&mut self) -> Result<()> {
        let records = self.new_records().await?;
        if records.is_empty() {
            return Ok(());
        }
        let shown = records
            .iter()
            .flat_map(|record| show::event(record, &[], &mut self.words));
        let shown: Vec<String> = shown.collect();
        Err(ServerError::new(format!(
            "no block shows these events; end with an `events` block\n{}",
            shown.join("\n")
        )))
    }
}

/// A key or value begins as one does whose schema has a number.
fn is_framed(record: &StreamRecord) -> bool {
    [&record.key, &record.value]
        .into_iter()
        .flatten()
        .any(|bytes| bytes.first() == Some(&0))
}

/// A sentence on as many lines as it needs, below what it is about.
fn wrapped(sentence: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in sentence.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < LINE_CHARACTERS => {
                line.push(' ');
                line.push_str(word);
            }
            Some(_) | None => lines.push(format!("    {word}")),
        }
    }
    lines
}

/// Whether everything is durable that was visible at a time in tables that are polled; `None` where none are.
fn is_carried_by_polling(status: &Value, end_us: i64) -> Option<bool> {
    let caught_up_us = status.get("caught_up_us")?.as_i64()?;
    let in_flight = status.get("batches_in_flight").and_then(Value::as_u64);
    Some(caught_up_us >= end_us && in_flight == Some(0))
}
