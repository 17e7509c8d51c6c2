//! Preflight of a file stream: every problem at once, creating nothing.

use std::path::{Path, PathBuf};

use rustix::fs::{Access, access, statvfs};
use tailrace_core::check::Finding;
use tailrace_core::ports::TopicSpec;

use crate::config::FileStreamConfig;
use crate::error;
use crate::lock::{Holder, Lock};
use crate::topic;
use crate::writer::LOCK;

/// With less than so many segments' worth of free space, the first busy day fills the disk.
const FREE_SEGMENTS_MIN: u64 = 4;

/// Everything that would stop the stream, or soon will.
pub(crate) fn check(config: &FileStreamConfig, topics: &[TopicSpec]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = config.validate().err().iter().map(Finding::from).collect();
    let names = topics.iter().filter_map(|topic| topic::encode(&topic.name).err());
    findings.extend(names.map(|error| Finding::from(&error)));
    match existing(&config.path) {
        Some(folder) => {
            findings.extend(unwritable(&folder));
            findings.extend(low_on_space(config, &folder));
        }
        None => findings.push(blocked(&config.path, "no part of the path is a folder")),
    }
    findings.extend(locked(&config.path));
    findings
}

/// The folder, or the nearest one above it that is there.
fn existing(path: &Path) -> Option<PathBuf> {
    let absolute = std::path::absolute(path).ok()?;
    absolute
        .ancestors()
        .find(|ancestor| ancestor.exists())
        .map(Path::to_path_buf)
}

fn unwritable(folder: &Path) -> Option<Finding> {
    if !folder.is_dir() {
        return Some(blocked(folder, "it is a file, not a folder"));
    }
    let refused = access(folder, Access::WRITE_OK | Access::EXEC_OK).err()?;
    Some(blocked(folder, &refused.to_string()))
}

fn blocked(path: &Path, finding: &str) -> Finding {
    let problem = format!("the file stream cannot be written at {}: {finding}", path.display());
    let remedy = format!(
        "chown \"$(id -u)\" {}   # or set the stream's `path` to another folder",
        path.display()
    );
    Finding::blocks(error::UNWRITABLE, problem, remedy)
}

fn low_on_space(config: &FileStreamConfig, folder: &Path) -> Option<Finding> {
    let space = statvfs(folder).ok()?;
    let free_bytes = space.f_bavail.saturating_mul(space.f_frsize);
    let wanted_bytes = config.segment_bytes.saturating_mul(FREE_SEGMENTS_MIN);
    if free_bytes >= wanted_bytes {
        return None;
    }
    let problem = format!(
        "the disk of {} has {free_bytes} bytes free, less than {FREE_SEGMENTS_MIN} segments of {} bytes",
        folder.display(),
        config.segment_bytes
    );
    Some(Finding::warning(
        "stream_disk_low",
        problem,
        "free space there, or set retention_bytes",
    ))
}

/// The other process that writes, where it has said which one it is.
pub(crate) fn held_by(root: &Path) -> Option<u32> {
    match Lock::holder(&root.join(LOCK))? {
        Holder::Process(pid) => Some(pid),
        Holder::Us | Holder::Unknown => None,
    }
}

/// Another process writes.
fn locked(root: &Path) -> Option<Finding> {
    let holder = Lock::holder(&root.join(LOCK)).filter(|holder| *holder != Holder::Us)?;
    let problem = format!("{} is being written by {holder}", root.display());
    Some(Finding::blocks(
        error::LOCKED,
        problem,
        "stop that Tailrace, or give this stream another `path`",
    ))
}
