//! What the system must let the process do with the folder of a file stream.

use std::path::Path;

use tailrace_core::grants::{Language, Script, TopicUse};

/// The script of a stream.
pub(crate) fn of_stream(path: &Path, uses: &[TopicUse]) -> Script {
    let place = format!(
        "Files in {}: what counts is what the system's user that Tailrace runs as may do there.",
        path.display()
    );
    let mut script = Script::new(Language::Shell, place);
    if uses.iter().any(|usage| matches!(usage, TopicUse::Writes(_))) {
        script.note(
            "It writes: it makes the folder where it is missing, and must be able to read, write and search it and all in it. Nobody else need.",
        );
    }
    if uses.iter().any(|usage| matches!(usage, TopicUse::Reads { .. })) {
        script.note("It reads: it keeps the offsets of groups in the folder too, and must be able to write there.");
    }
    script
}
