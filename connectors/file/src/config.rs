//! What can be configured, and why the defaults are what they are.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Deserialize;
use tailrace_core::setting::LocalFile;
use tailrace_core::{Error, Result};

use crate::error;

/// 64 MiB: scanned in a fraction of a second at start, and a day of a small shop is still one file.
const DEFAULT_SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Smaller segments would be more files than records.
const SEGMENT_BYTES_MIN: u64 = 4 * 1024;
/// One second: what most people mean who can afford to lose something.
const DEFAULT_FSYNC_INTERVAL_MS: u64 = 1000;

/// An event stream in files of this machine.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FileStreamConfig {
    /// Folder of the stream; created where it is missing. One process writes to it at a time.
    #[schemars(with = "LocalFile")]
    pub path: PathBuf,

    /// A segment that has reached this size is sealed and a new one begins. At least 4096.
    #[serde(default = "default_segment_bytes")]
    pub segment_bytes: u64,

    /// Sealed segments are deleted when nothing was written to them for so long, milliseconds. Without it, nothing is
    /// deleted by age. Consumers that have not read them get an error, not a gap.
    #[serde(default)]
    pub retention_ms: Option<u64>,

    /// The oldest sealed segments of a topic are deleted while the others still hold so many bytes. Without it, nothing
    /// is deleted by size.
    #[serde(default)]
    pub retention_bytes: Option<u64>,

    /// When written events are synced to the disk.
    #[serde(default)]
    pub fsync: FsyncPolicy,

    /// How often, with `fsync: interval`, milliseconds.
    #[serde(default = "default_fsync_interval_ms")]
    pub fsync_interval_ms: u64,
}

/// When written events are synced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FsyncPolicy {
    /// Before a batch counts as delivered: nothing is lost when the machine loses power. The default, because the
    /// source is told to forget what was delivered. Batches that arrive together share one sync.
    #[default]
    Always,
    /// Every `fsync_interval_ms`: a power cut loses up to so much, although the source was told to forget it.
    Interval,
    /// When the operating system pleases: survives the death of the process, not of the machine.
    Never,
}

fn default_segment_bytes() -> u64 {
    DEFAULT_SEGMENT_BYTES
}

fn default_fsync_interval_ms() -> u64 {
    DEFAULT_FSYNC_INTERVAL_MS
}

// === impl FileStreamConfig ===

impl FileStreamConfig {
    /// All defaults, in a folder.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            segment_bytes: DEFAULT_SEGMENT_BYTES,
            retention_ms: None,
            retention_bytes: None,
            fsync: FsyncPolicy::default(),
            fsync_interval_ms: DEFAULT_FSYNC_INTERVAL_MS,
        }
    }

    /// Refuses what cannot be meant.
    pub(crate) fn validate(&self) -> Result<()> {
        let refuse = |finding: &str| {
            let message = format!("the file stream {}: {finding}", self.path.display());
            Err(Error::definite(error::CONFIG, message))
        };
        if self.path.as_os_str().is_empty() {
            return Err(Error::definite(
                error::CONFIG,
                "the file stream has an empty `path`; name a folder",
            ));
        }
        if self.segment_bytes < SEGMENT_BYTES_MIN {
            return refuse("segment_bytes must be at least 4096");
        }
        if self.retention_ms == Some(0) || self.retention_bytes == Some(0) {
            return refuse("a retention of 0 would delete what nobody has read; leave it out to keep everything");
        }
        if self.fsync_interval_ms == 0 {
            return refuse("fsync_interval_ms must be at least 1; to sync each batch, use fsync: always");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_enough_and_the_rest_is_safe() {
        let config: FileStreamConfig = serde_json::from_str(r#"{"path": "data/events"}"#).unwrap();
        config.validate().unwrap();
        assert_eq!(config.fsync, FsyncPolicy::Always);
        assert_eq!(config.retention_ms, None);
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        for wrong in [
            r#"{"path": ""}"#,
            r#"{"path": "x", "segment_bytes": 4095}"#,
            r#"{"path": "x", "retention_ms": 0}"#,
            r#"{"path": "x", "retention_bytes": 0}"#,
            r#"{"path": "x", "fsync_interval_ms": 0}"#,
        ] {
            let config: FileStreamConfig = serde_json::from_str(wrong).unwrap();
            assert_eq!(
                config.validate().unwrap_err().code(),
                "stream_config_invalid",
                "{wrong}"
            );
        }
        serde_json::from_str::<FileStreamConfig>(r#"{"path": "x", "fsnyc": "always"}"#).unwrap_err();
    }
}
