//! The file: prose, and fenced blocks whose first line says what is to be done with them.

use super::condition::Condition;
use super::{Setting, StreamKind};
use crate::engine::Target;
use crate::servers::{Result, ServerError};

const FENCE: &str = "```";

/// The line before and after the head.
const HEAD_MARK: &str = "---";

/// A transcript as it is written.
#[derive(Clone, Debug)]
pub struct Document {
    head: Vec<String>,
    runs_on: Vec<Condition>,
    streams: Vec<StreamKind>,
    pub(super) parts: Vec<Part>,
}

/// A stretch of prose, or a block.
#[derive(Clone, Debug)]
pub(super) enum Part {
    Prose(Vec<String>),
    Block(Block),
}

/// What stands between two fences.
#[derive(Clone, Debug)]
pub(super) struct Block {
    /// The line of the opening fence, counted from 1.
    pub(super) line: usize,
    /// What the opening fence says behind the backquotes.
    pub(super) info: String,
    pub(super) kind: Kind,
    conditions: Vec<Condition>,
    pub(super) body: Vec<String>,
}

/// What is to be done with a block. The first two lines are inputs, the rest are outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Statements { session: String, fails: bool },
    Configuration { connector: String },
    Console,
    Events { with: Vec<String> },
    Status { wanted: Option<String> },
    Rows,
    Refusal,
    Output,
}

// === impl Document ===

impl Document {
    /// Reads a file.
    ///
    /// # Errors
    /// The line that is not as it should be.
    pub fn parse(text: &str) -> Result<Document> {
        let mut lines = text.lines().enumerate();
        if lines.next().map(|(_, line)| line) != Some(HEAD_MARK) {
            return Err(ServerError::new("the first line is not `---`: the head is missing"));
        }
        let head: Vec<String> = lines
            .by_ref()
            .map(|(_, line)| line.to_owned())
            .take_while(|line| line != HEAD_MARK)
            .collect();
        let mut document = Document {
            head,
            runs_on: Vec::new(),
            streams: vec![StreamKind::Kafka],
            parts: Vec::new(),
        };
        document.read_head()?;
        while let Some((index, line)) = lines.next() {
            match line.strip_prefix(FENCE) {
                Some(info) => {
                    let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != FENCE);
                    let block = Block::parse(index + 1, info, body.map(str::to_owned).collect())?;
                    document.parts.push(Part::Block(block));
                }
                None => document.push_prose(line),
            }
        }
        Ok(document)
    }

    fn read_head(&mut self) -> Result<()> {
        for line in &self.head {
            match line.split_once(": ") {
                Some(("runs on", list)) => self.runs_on = Condition::list(list)?,
                Some(("streams", list)) => {
                    let named = list.split(',').map(|name| StreamKind::named(name.trim()));
                    let streams: Option<Vec<StreamKind>> = named.collect();
                    self.streams = streams.ok_or_else(|| ServerError::new(format!("no such stream: {list}")))?;
                }
                Some(_) | None => return Err(ServerError::new(format!("the head does not know `{line}`"))),
            }
        }
        if self.settings().is_empty() {
            return Err(ServerError::new("`runs on:` names nothing that it could be run on"));
        }
        Ok(())
    }

    fn push_prose(&mut self, line: &str) {
        match self.parts.last_mut() {
            Some(Part::Prose(lines)) => lines.push(line.to_owned()),
            Some(Part::Block(_)) | None => self.parts.push(Part::Prose(vec![line.to_owned()])),
        }
    }

    /// Where it is run: on the oldest and on the newest version that it names of each database, into the first of its streams;
    /// the last database also into the others. What holds at both ends holds between them, and where it does not, a block
    /// has a condition and names the version.
    #[must_use]
    pub fn settings(&self) -> Vec<Setting> {
        let mut targets: Vec<Target> = Vec::new();
        for condition in &self.runs_on {
            let allowed: Vec<Target> = Target::all()
                .into_iter()
                .filter(|target| condition.allows_target(*target))
                .collect();
            targets.extend(allowed.first());
            targets.extend(allowed.last().filter(|_| allowed.len() > 1));
        }
        let mut streams = self.streams.iter().copied();
        let first = streams.next().unwrap_or(StreamKind::Kafka);
        let mut settings: Vec<Setting> = targets
            .iter()
            .map(|target| Setting {
                target: *target,
                stream: first,
            })
            .collect();
        let last = targets.last().copied();
        settings.extend(streams.filter_map(|stream| last.map(|target| Setting { target, stream })));
        settings
    }

    /// For each part its block, where it is one.
    pub(super) fn blocks_or_none(&self) -> impl Iterator<Item = Option<&Block>> {
        self.parts.iter().map(|part| match part {
            Part::Block(block) => Some(block),
            Part::Prose(_) => None,
        })
    }

    /// The file's text.
    #[must_use]
    pub fn render(&self) -> String {
        let mut lines: Vec<&str> = vec![HEAD_MARK];
        lines.extend(self.head.iter().map(String::as_str));
        lines.push(HEAD_MARK);
        let mut text = lines.join("\n") + "\n";
        for part in &self.parts {
            match part {
                Part::Prose(lines) => lines.iter().for_each(|line| text.push_str(&format!("{line}\n"))),
                Part::Block(block) => {
                    text.push_str(&format!("{FENCE}{}\n", block.info));
                    block.body.iter().for_each(|line| text.push_str(&format!("{line}\n")));
                    text.push_str(&format!("{FENCE}\n"));
                }
            }
        }
        text
    }
}

// === impl Block ===

impl Block {
    fn parse(line: usize, info: &str, body: Vec<String>) -> Result<Block> {
        let in_line = |error: ServerError| ServerError::new(format!("line {line}: {error}"));
        let (what, conditions) = match info.split_once(" on ") {
            Some((what, list)) => (what, Condition::list(list).map_err(in_line)?),
            None => (info, Vec::new()),
        };
        let kind = Kind::parse(what).ok_or_else(|| in_line(ServerError::new(format!("nobody knows `{info}`"))))?;
        Ok(Block {
            line,
            info: info.to_owned(),
            kind,
            conditions,
            body,
        })
    }

    /// Whether it is meant for this run: one of its databases, and one of its streams, where it names any.
    pub(super) fn holds_on(&self, setting: Setting) -> bool {
        let (streams, databases): (Vec<&Condition>, Vec<&Condition>) = self
            .conditions
            .iter()
            .partition(|condition| matches!(condition, Condition::Stream(_)));
        [streams, databases]
            .iter()
            .all(|list| list.is_empty() || list.iter().any(|condition| condition.holds_on(setting)))
    }

    pub(super) fn text(&self) -> String {
        self.body.join("\n")
    }
}

// === impl Kind ===

impl Kind {
    fn parse(what: &str) -> Option<Kind> {
        let (first, rest) = what.split_once(' ').unwrap_or((what, ""));
        Some(match (first, rest) {
            ("sql", "") => Kind::statements("", false),
            ("sql", "fails") => Kind::statements("", true),
            ("sql", rest) => Kind::statements(rest.strip_prefix("session ")?, false),
            ("yaml", rest) => Kind::Configuration {
                connector: rest.strip_prefix("connector ")?.to_owned(),
            },
            ("console", "") => Kind::Console,
            ("events", "") => Kind::Events { with: Vec::new() },
            ("events", rest) => Kind::Events {
                with: rest.strip_prefix("with ")?.split(", ").map(str::to_owned).collect(),
            },
            ("status", "") => Kind::Status { wanted: None },
            ("status", wanted) => Kind::Status {
                wanted: Some(wanted.to_owned()),
            },
            ("rows", "") => Kind::Rows,
            ("error", "") => Kind::Refusal,
            ("output", "") => Kind::Output,
            _ => return None,
        })
    }

    fn statements(session: &str, fails: bool) -> Kind {
        Kind::Statements {
            session: session.to_owned(),
            fails,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "---\nruns on: postgres 13+, sqlite\nstreams: kafka, file\n---\n# A\n\n```sql session b on sqlite\nselect 1;\n```\n\n```events with txn, source on postgres 17+\n```\nend\n";

    #[test]
    fn a_document_is_rendered_as_it_was() {
        let document = Document::parse(TEXT).unwrap();
        assert_eq!(document.render(), TEXT);
        let blocks: Vec<&Block> = document.blocks_or_none().flatten().collect();
        assert_eq!(blocks[0].kind, Kind::statements("b", false));
        assert_eq!((blocks[0].line, blocks[0].text().as_str()), (7, "select 1;"));
        let with = vec!["txn".to_owned(), "source".to_owned()];
        assert_eq!(blocks[1].kind, Kind::Events { with });
        let setting = |database, version| Setting {
            target: Target { database, version },
            stream: StreamKind::Kafka,
        };
        assert!(blocks[0].holds_on(setting("sqlite", 0)) && !blocks[0].holds_on(setting("postgres", 17)));
        assert!(blocks[1].holds_on(setting("postgres", 18)) && !blocks[1].holds_on(setting("postgres", 16)));
    }

    #[test]
    fn it_is_run_at_both_ends_and_into_each_stream() {
        let settings = Document::parse(TEXT).unwrap().settings();
        let shown: Vec<String> = settings.iter().map(ToString::to_string).collect();
        let expected = [
            "postgres 13 into kafka",
            "postgres 18 into kafka",
            "sqlite into kafka",
            "sqlite into file",
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn what_nobody_knows_is_refused_with_its_line() {
        let wrong = TEXT.replace("events with", "evens with");
        assert!(Document::parse(&wrong).unwrap_err().to_string().starts_with("line 11"));
        for wrong in [
            "# A",
            "---\nruns on: nowhere\n---\n",
            "---\nstreams: file\n---\n",
            "---\nx: y\n---\n",
        ] {
            assert!(Document::parse(wrong).is_err(), "{wrong}");
        }
    }
}
