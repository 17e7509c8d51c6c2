//! Deleting whole sealed segments by age and size, oldest first. The active segment always stays.
//!
//! Age is counted from the last write to the segment, not from the records' own timestamps: those are the rows'
//! `updated_at`, and a snapshot of an old table would be deleted as it is written.

use std::fs;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::config::FileStreamConfig;
use crate::segment;
use crate::topic::sync_folder;

/// What retention looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Weight {
    bytes: u64,
    last_write: SystemTime,
}

/// Deletes what need not be kept of one topic.
pub(crate) fn apply(folder: &Path, config: &FileStreamConfig, now: SystemTime) -> io::Result<()> {
    if config.retention_ms.is_none() && config.retention_bytes.is_none() {
        return Ok(());
    }
    let segments = segment::list(folder)?;
    let mut weights = Vec::with_capacity(segments.len());
    for segment in &segments {
        let metadata = fs::metadata(&segment.path)?;
        weights.push(Weight {
            bytes: metadata.len(),
            last_write: metadata.modified()?,
        });
    }
    let superfluous = superfluous(&weights, config, now);
    for segment in segments.iter().take(superfluous) {
        fs::remove_file(&segment.path)?;
        tracing::info!(segment = %segment.path.display(), "deleted by retention");
    }
    if superfluous > 0 { sync_folder(folder) } else { Ok(()) }
}

/// Whether something that was last written then is too old to keep.
pub(crate) fn is_expired(last_write: SystemTime, config: &FileStreamConfig, now: SystemTime) -> bool {
    let age = now.duration_since(last_write).unwrap_or_default();
    config
        .retention_ms
        .is_some_and(|limit_ms| age > Duration::from_millis(limit_ms))
}

/// How many of the oldest segments need not be kept.
fn superfluous(segments: &[Weight], config: &FileStreamConfig, now: SystemTime) -> usize {
    let mut kept_bytes: u64 = segments.iter().map(|segment| segment.bytes).sum();
    let sealed = segments.get(..segments.len().saturating_sub(1)).unwrap_or_default();
    let mut count = 0;
    for segment in sealed {
        let without = kept_bytes.saturating_sub(segment.bytes);
        let enough = config.retention_bytes.is_some_and(|limit| without >= limit);
        if !enough && !is_expired(segment.last_write, config, now) {
            break;
        }
        kept_bytes = without;
        count += 1;
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(retention_ms: Option<u64>, retention_bytes: Option<u64>) -> FileStreamConfig {
        FileStreamConfig {
            retention_ms,
            retention_bytes,
            ..FileStreamConfig::at("x")
        }
    }

    fn weights(now: SystemTime, segments: &[(u64, u64)]) -> Vec<Weight> {
        let weight = |(bytes, age_ms): &(u64, u64)| Weight {
            bytes: *bytes,
            last_write: now - Duration::from_millis(*age_ms),
        };
        segments.iter().map(weight).collect()
    }

    #[test]
    fn the_oldest_go_and_the_active_stays() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let segments = weights(now, &[(100, 5000), (100, 4000), (100, 3000), (10, 2000)]);
        let gone = |retention_ms, retention_bytes| superfluous(&segments, &config(retention_ms, retention_bytes), now);
        assert_eq!(gone(None, None), 0);
        assert_eq!(gone(Some(3999), None), 2);
        assert_eq!(gone(Some(1), None), 3);
        assert_eq!(gone(Some(5000), None), 0);
        assert_eq!(gone(None, Some(310)), 0);
        assert_eq!(gone(None, Some(210)), 1);
        assert_eq!(gone(None, Some(209)), 1);
        assert_eq!(gone(None, Some(1)), 3);
        assert_eq!(superfluous(&[], &config(Some(1), None), now), 0);
    }

    #[test]
    fn a_clock_that_was_set_back_deletes_nothing() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let segments = weights(now + Duration::from_secs(9), &[(1, 0), (1, 0)]);
        assert_eq!(superfluous(&segments, &config(Some(1), None), now), 0);
    }
}
