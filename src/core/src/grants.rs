//! What an administrator runs so that a user may do what Tailrace does with its rights, and nothing more.
//!
//! Made from the configuration alone, so that it can be printed before the user is there. Whoever implements a port says it beside
//! its preflight, with the same statements.

use std::collections::BTreeSet;

/// Stands in statements where a password goes.
pub const PASSWORD: &str = "<password>";
/// Comments are as wide as a terminal and an editor show without folding.
const COMMENT_COLUMNS: usize = 120;

/// What reads the statements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// A database's client.
    Sql,
    /// A shell.
    Shell,
}

/// Statements and their reasons, for one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    language: Language,
    place: String,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    /// For people.
    Note(String),
    /// To be run.
    Needed { why: String, statements: Vec<String> },
    /// Printed as comments: who needs them knows.
    Optional { why: String, statements: Vec<String> },
}

/// What a connector does with topics of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicUse {
    /// It writes them.
    Writes(BTreeSet<TopicRange>),
    /// It reads them.
    Reads {
        /// Which.
        topics: BTreeSet<TopicRange>,
        /// In this consumer group.
        group: String,
    },
}

/// A topic, or all that begin alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRange {
    /// The one with this name.
    Named(String),
    /// Those that begin so; with nothing, all.
    Beginning(String),
}

// === impl Script ===

impl Script {
    /// Nothing yet. `place` says where it is run: `the database "shop" on db:5432`.
    pub fn new(language: Language, place: impl Into<String>) -> Self {
        Self {
            language,
            place: place.into(),
            steps: Vec::new(),
        }
    }

    /// Adds a sentence for people.
    pub fn note(&mut self, sentence: impl Into<String>) {
        self.steps.push(Step::Note(sentence.into()));
    }

    /// Adds statements that are needed, without semicolons; nothing where there are none.
    pub fn needed(&mut self, why: impl Into<String>, statements: impl IntoIterator<Item = String>) {
        let statements = Vec::from_iter(statements);
        if !statements.is_empty() {
            let why = why.into();
            self.steps.push(Step::Needed { why, statements });
        }
    }

    /// Adds statements that only some need; nothing where there are none.
    pub fn optional(&mut self, why: impl Into<String>, statements: impl IntoIterator<Item = String>) {
        let statements = Vec::from_iter(statements);
        if !statements.is_empty() {
            let why = why.into();
            self.steps.push(Step::Optional { why, statements });
        }
    }

    /// As text that can be run, under a title. What is in `printed` already, by place and statement, is only mentioned; the rest is added
    /// to it.
    pub fn text(&self, title: &str, printed: &mut BTreeSet<(String, String)>) -> String {
        let mut text = self.comment(&format!("{title} {}", self.place));
        for step in &self.steps {
            text.push('\n');
            match step {
                Step::Note(sentence) => text += &self.comment(sentence),
                Step::Needed { why, statements } => {
                    text += &self.comment(why);
                    for statement in statements {
                        text += &self.statement(statement, printed);
                    }
                }
                Step::Optional { why, statements } => {
                    text += &self.comment(why);
                    for statement in statements {
                        text += &self.mentioned(statement);
                    }
                }
            }
        }
        text
    }

    fn statement(&self, statement: &str, printed: &mut BTreeSet<(String, String)>) -> String {
        if !printed.insert((self.place.clone(), statement.to_owned())) {
            return self.comment("already above:") + &self.mentioned(statement);
        }
        format!("{statement}{}\n", self.end())
    }

    /// PostgreSQL ends a comment where a carriage return is, too.
    fn mentioned(&self, statement: &str) -> String {
        let lines = statement.split(['\n', '\r']);
        let lines = lines.map(|line| format!("{}   {line}", self.mark()));
        format!("{}{}\n", Vec::from_iter(lines).join("\n"), self.end())
    }

    fn comment(&self, sentence: &str) -> String {
        let mut lines = vec![self.mark().to_owned()];
        for word in sentence.split_whitespace() {
            let fits = |line: &String| line.chars().count() + 1 + word.chars().count() <= COMMENT_COLUMNS;
            match lines.last_mut().filter(|line| fits(line)) {
                Some(line) => {
                    line.push(' ');
                    line.push_str(word);
                }
                None => lines.push(format!("{} {word}", self.mark())),
            }
        }
        lines.join("\n") + "\n"
    }

    fn mark(&self) -> &'static str {
        match self.language {
            Language::Sql => "--",
            Language::Shell => "#",
        }
    }

    fn end(&self) -> &'static str {
        match self.language {
            Language::Sql => ";",
            Language::Shell => "",
        }
    }
}

// === impl TopicUse ===

impl TopicUse {
    /// The topics.
    pub fn topics(&self) -> &BTreeSet<TopicRange> {
        match self {
            Self::Writes(topics) | Self::Reads { topics, .. } => topics,
        }
    }
}

// === impl TopicRange ===

impl TopicRange {
    /// What a pattern with `*` and `?` names: as much as a beginning can say.
    pub fn of_pattern(pattern: &str) -> Self {
        match pattern.split_once(['*', '?']) {
            Some((beginning, _)) => Self::Beginning(beginning.to_owned()),
            None => Self::Named(pattern.to_owned()),
        }
    }

    /// Every topic that there is, and will be.
    pub fn is_everything(&self) -> bool {
        matches!(self, Self::Beginning(beginning) if beginning.is_empty())
    }

    /// Whether a topic is one of them.
    pub fn covers(&self, topic: &str) -> bool {
        match self {
            Self::Named(name) => name == topic,
            Self::Beginning(beginning) => topic.starts_with(beginning),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_reads_as_it_runs() {
        let mut script = Script::new(Language::Sql, "The database shop.");
        script.needed(
            "Rows are read.",
            ["GRANT SELECT ON a".to_owned(), "GRANT SELECT ON b".to_owned()],
        );
        script.needed("Nothing of this is said.", []);
        script.optional("Where there are views:", ["GRANT SELECT ON v\rw".to_owned()]);
        script.note("word ".repeat(30));
        let expected = "-- Connector orders. The database shop.\n\n-- Rows are read.\nGRANT SELECT ON a;\nGRANT SELECT ON b;\n\n\
            -- Where there are views:\n--   GRANT SELECT ON v\n--   w;\n\n";
        let text = script.text("Connector orders.", &mut BTreeSet::new());
        let (begin, note) = text.split_at(expected.len());
        assert_eq!(begin, expected);
        assert!(
            note.lines().count() == 2 && note.lines().all(|line| line.len() <= COMMENT_COLUMNS),
            "{note}"
        );
    }

    #[test]
    fn what_was_said_of_a_place_is_only_mentioned() {
        let mut printed = BTreeSet::new();
        let mut script = Script::new(Language::Shell, "The brokers.");
        script.needed("It writes.", ["kafka-acls.sh --add".to_owned()]);
        assert!(
            script
                .text("Stream events.", &mut printed)
                .contains("\nkafka-acls.sh --add\n")
        );
        let again = script.text("Stream events.", &mut printed);
        assert!(
            again.ends_with("# already above:\n#   kafka-acls.sh --add\n"),
            "{again}"
        );
    }

    #[test]
    fn a_pattern_of_topics_is_as_wide_as_its_beginning() {
        assert_eq!(TopicRange::of_pattern("a.b"), TopicRange::Named("a.b".to_owned()));
        let range = TopicRange::of_pattern("a.*.c");
        assert_eq!(range, TopicRange::Beginning("a.".to_owned()));
        assert!(range.covers("a.b") && !range.covers("b.a") && !range.is_everything());
        assert!(TopicRange::of_pattern("*.c").is_everything());
    }
}
