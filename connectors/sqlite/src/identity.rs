//! Which file this is: the first part of every `event_id`, and the answer to "is it still the one we read so far?".
//!
//! SQLite writes no identity into a file. At its first start a connector gives the source a random one and remembers it
//! together with the file's mark, its inode, which a rename or a remount leaves alone, and which a restored copy or another
//! file put in its place does not have. (A copy that is written *into* the same file has the same mark; of that only ids
//! that go back tell, see `source_went_back`.)

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tailrace_core::ports::SourceContext;
use tailrace_core::{Error, Result};

use crate::config::SqliteConfig;

/// What tells one file from another at the same path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct FileMark(String);

/// What a connector remembers of its database.
#[derive(Debug, Serialize, Deserialize)]
struct Remembered {
    identity: String,
    file: FileMark,
}

// === impl FileMark ===

impl FileMark {
    /// The mark of the file that is at this path now.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        let metadata = std::fs::metadata(path).map_err(|error| {
            let sentence = format!("database file {} is not there at the moment", path.display());
            Error::transient("source_missing", sentence).with_source(error)
        })?;
        Ok(Self::of_metadata(&metadata))
    }

    fn of_metadata(metadata: &Metadata) -> Self {
        Self(format!("inode-{}", metadata.ino()))
    }
}

/// The source's identity, made at the first start and remembered; a file that is not the remembered one is refused.
///
/// # Errors
/// `source_changed` where another file is at the path, `state_corrupt` where the memory cannot be read.
pub(crate) async fn establish(config: &SqliteConfig, mark: &FileMark, context: &SourceContext) -> Result<Arc<str>> {
    let Some(memory) = context.store.recall().await? else {
        if context.resume.is_some() {
            return Err(Error::definite(
                "state_corrupt",
                "there is progress for this connector, but not the identity of its database; restore the state file from a \
                 backup, or give the connector a new name",
            ));
        }
        let identity = format!("{:016x}", rand::random::<u64>());
        return remember(context, identity, mark).await;
    };
    let known: Remembered = serde_json::from_value(memory).map_err(|error| {
        let sentence = "what is remembered of the database cannot be read; restore the state file from a backup";
        Error::definite("state_corrupt", sentence).with_source(error)
    })?;
    if known.file == *mark {
        return Ok(known.identity.into());
    }
    if config.accept_file.as_ref() == Some(&mark.0) {
        tracing::warn!(
            connector = context.connector,
            file = mark.0,
            "continuing with another file, as configured"
        );
        return remember(context, known.identity, mark).await;
    }
    Err(changed(&config.path, mark))
}

async fn remember(context: &SourceContext, identity: String, mark: &FileMark) -> Result<Arc<str>> {
    let remembered = Remembered {
        identity,
        file: mark.clone(),
    };
    let memory = serde_json::to_value(&remembered).map_err(|error| {
        Error::definite("state_corrupt", "the database's identity cannot be written as JSON").with_source(error)
    })?;
    context.store.remember(&memory).await?;
    Ok(remembered.identity.into())
}

/// Another file is at the path than the one that was read so far.
pub(crate) fn changed(path: &Path, mark: &FileMark) -> Error {
    Error::definite(
        "source_changed",
        format!(
            "{} is another file than the one that was read so far (restored, copied or replaced), and rows could be skipped; if \
             it holds everything that the old one held, set accept_file: {}, else give the connector a new name",
            path.display(),
            mark.0
        ),
    )
}
