//! Transcripts: SQL goes in, published events come out, and the whole story stands in one file that people read.
//!
//! ```text
//!   tests/transcripts/x.md ──parse──▶ Document ──run──▶ the same Document, its outputs as they are today
//!                                        │                       │
//!                                        └───────── compare ─────┘ ── any difference is shown and fails the test
//! ```
//!
//! A transcript is Markdown. What is fenced is done, in order: `sql` goes to the database, `yaml connector` configures a
//! connector, `console` starts, stops and kills the daemon. What is fenced as an output (`events`, `status`, `rows`, `error`,
//! `output`) is what was found there the last time somebody reviewed it. docs/transcripts.md explains how they are read and
//! written.
//!
//! Why not assertions in Rust: an assertion says what its author thought of. A transcript shows everything that was published,
//! so that what nobody thought of is in the review too; an event that no block shows is an error.
//!
//! What differs from run to run is replaced by words (see [`words`]): the database's name by `shop`, times by «commit time»,
//! positions in the log and transaction numbers by `lsn#1`, `txn#1`.
//!
//! Read in this order: `document.rs` (the file), `condition.rs` (who can run it), `run.rs` (doing what it says), `stream.rs`
//! (reading what was published), `show.rs` (an event as lines), `words.rs` (volatile values), `difference.rs` (what is printed
//! when something is not as it was).

use std::fs;
use std::path::{Path, PathBuf};

use crate::engine::Target;
use crate::servers::{Result, ServerError};

mod condition;
mod difference;
mod document;
mod json;
mod run;
mod show;
mod stream;
mod words;

pub use document::Document;
pub use stream::StreamKind;

/// Set to `write`, the outputs are written into the files instead of being compared, for review.
const VARIABLE: &str = "TAILRACE_TRANSCRIPTS";

/// One run of a transcript: where it is run, and where the events go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The database.
    pub target: Target,
    /// The stream.
    pub stream: StreamKind,
}

/// Runs the transcript of this name everywhere where its head says that it can be run, and compares; or writes it anew.
///
/// # Errors
/// The differences, or why it could not be run.
pub async fn run(folder: &Path, name: &str) -> Result<()> {
    let path = folder.join(format!("{name}.md"));
    let text = fs::read_to_string(&path).map_err(ServerError::doing(format!("reading {}", path.display())))?;
    let is_writing = std::env::var(VARIABLE).is_ok_and(|value| value == "write");
    let mut document = Document::parse(&text).map_err(|error| in_file(&path, &error))?;
    let mut settled = vec![false; document.parts.len()];
    for setting in document.settings() {
        let found = run::run(&document, setting)
            .await
            .map_err(|error| ServerError::new(format!("{}, on {setting}: {error}", path.display())))?;
        let differences = difference::between(&document, &found);
        let contradicts = differences
            .iter()
            .any(|difference| settled.get(difference.part) == Some(&true));
        if is_writing {
            let text = if contradicts { document.render() } else { found.render() };
            fs::write(&path, text).map_err(ServerError::doing(format!("writing {}", path.display())))?;
        }
        if !differences.is_empty() && (!is_writing || contradicts) {
            let shown: String = differences.iter().map(ToString::to_string).collect();
            return Err(ServerError::new(format!(
                "{}, on {setting}: not as it was (-) but otherwise (+)\n{shown}\nIf it is right so: {VARIABLE}=write, and \
                 review what has changed. Where databases differ, a block says so: `events on postgres 17+`.",
                path.display()
            )));
        }
        document = found;
        for (settled, block) in settled.iter_mut().zip(document.blocks_or_none()) {
            *settled |= block.is_some_and(|block| block.holds_on(setting));
        }
    }
    Ok(())
}

/// The names of the transcripts in a folder.
///
/// # Errors
/// When the folder cannot be read.
pub fn names(folder: &Path) -> Result<Vec<String>> {
    let entries = fs::read_dir(folder).map_err(ServerError::doing(format!("reading {}", folder.display())))?;
    let paths = entries.flatten().map(|entry| entry.path());
    let documents = paths.filter(|path: &PathBuf| path.extension().is_some_and(|extension| extension == "md"));
    let mut names: Vec<String> = documents
        .filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()))
        .collect();
    names.sort();
    Ok(names)
}

fn in_file(path: &Path, error: &ServerError) -> ServerError {
    ServerError::new(format!("{}: {error}", path.display()))
}

impl std::fmt::Display for Setting {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} into {}", self.target, self.stream)
    }
}
