//! The two streams that people and pipes read. Standard output carries what was asked for; standard error carries logs
//! and, on a terminal, lines of progress below them that are drawn over and over.

use std::io::{self, IsTerminal, Write};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use tracing_subscriber::fmt::MakeWriter;

/// The lines of progress that stand below the log now.
static FOOT: LazyLock<Mutex<Vec<String>>> = LazyLock::new(Mutex::default);

/// Gives each log event a [`LogLine`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct LogWriter;

/// One event of the log; written when it is complete.
#[derive(Debug, Default)]
pub(crate) struct LogLine(Vec<u8>);

/// Writes to standard output at once. A reader that went away is an error of kind `BrokenPipe`, which ends the program
/// without a word: `tailrace describe x.yaml | head` is not a failure.
pub(crate) fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}

/// A person reads standard output.
pub(crate) fn stdout_is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// A person reads standard error.
pub(crate) fn stderr_is_terminal() -> bool {
    io::stderr().is_terminal()
}

/// Writes a line to standard error, above the progress. A closed standard error is nobody's loss.
pub(crate) fn complain(text: &str) {
    above_foot(format!("{text}\n").as_bytes());
}

/// Replaces the lines of progress.
pub(crate) fn draw_foot(lines: Vec<String>) {
    let mut foot = lock();
    let mut bytes = erase(foot.len());
    bytes.extend(foot_bytes(&lines));
    *foot = lines;
    write_stderr(&bytes);
}

/// Text from outside, made harmless for a terminal and for one line of a log: control characters become visible.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control()
            || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            escaped.extend(letter.escape_default());
        } else {
            escaped.push(letter);
        }
    }
    escaped
}

/// The same for text that has lines of its own.
pub(crate) fn escape_lines(text: &str) -> String {
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn lock() -> MutexGuard<'static, Vec<String>> {
    FOOT.lock().unwrap_or_else(PoisonError::into_inner)
}

fn above_foot(text: &[u8]) {
    let foot = lock();
    let mut bytes = erase(foot.len());
    bytes.extend_from_slice(text);
    bytes.extend(foot_bytes(&foot));
    write_stderr(&bytes);
}

/// Moves to the first line of the foot and clears from there.
fn erase(lines: usize) -> Vec<u8> {
    if lines == 0 {
        Vec::new()
    } else {
        format!("\x1b[{lines}A\r\x1b[J").into_bytes()
    }
}

fn foot_bytes(lines: &[String]) -> Vec<u8> {
    lines
        .iter()
        .flat_map(|line| [line.as_bytes(), b"\n"].concat())
        .collect()
}

fn write_stderr(bytes: &[u8]) {
    let mut stderr = io::stderr().lock();
    // There is nowhere left to complain that the place for complaints is closed.
    drop(stderr.write_all(bytes).and_then(|()| stderr.flush()));
}

// === impl LogWriter, LogLine ===

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = LogLine;

    fn make_writer(&'a self) -> LogLine {
        LogLine::default()
    }
}

impl Write for LogLine {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for LogLine {
    fn drop(&mut self) {
        if !self.0.is_empty() {
            above_foot(&self.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_visible_and_harmless() {
        assert_eq!(escape("a\nb\x1b[2Jc\u{202e}d é"), "a\\nb\\u{1b}[2Jc\\u{202e}d é");
    }

    #[test]
    fn the_foot_is_erased_line_by_line() {
        assert_eq!(erase(0), b"");
        assert_eq!(erase(3), b"\x1b[3A\r\x1b[J");
    }
}
