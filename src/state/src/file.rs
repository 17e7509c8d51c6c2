//! The state's file as the operating system sees it: where it is, who holds it, whose it is, which one it is.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use tailrace_core::{Error, Result};

use crate::error::{self, corrupt, from_file};

/// `TRLS`, as migration 1 sets it.
pub(crate) const APPLICATION_ID: u32 = 0x5452_4c53;
/// First bytes of every SQLite database. Source: <https://www.sqlite.org/fileformat2.html>.
const MAGIC: &[u8] = b"SQLite format 3\0";
/// Where a database header says how the database is written, and what stands there until it is first opened with a log: each state is
/// written with one, and what `VACUUM INTO` makes of it is without.
const WRITE_VERSION_AT: usize = 18;
const WITHOUT_LOG: u8 = 1;
/// Where a database header has its application id, big-endian.
const APPLICATION_ID_AT: usize = 68;
/// Length of the database header.
const HEADER_BYTES: usize = 100;

/// Which file this is, in terms that survive a restart, a rename and a remount, and that no copy shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Home {
    /// Inode number, its bits read as signed because SQLite has no other integers.
    pub(crate) inode: i64,
    /// Birth time, microseconds since 1970, where the file system has one.
    pub(crate) created_us: Option<i64>,
}

/// Held as long as the state is open; the operating system lets it go when the process dies.
#[derive(Debug)]
pub(crate) struct StateLock {
    file: File,
}

/// The path that a `state.url` means: `sqlite://relative/path`, `sqlite:///absolute/path`, or just a path.
///
/// # Errors
/// Definite `state_url_invalid` for any other scheme, and for an empty path.
pub fn path_from_url(url: &str) -> Result<PathBuf> {
    let path = match url.split_once(':') {
        Some(("sqlite", rest)) => rest.strip_prefix("//").unwrap_or(rest),
        Some((scheme, rest)) if rest.starts_with("//") => {
            let message = format!("state.url begins with `{scheme}://`; write sqlite://data/state.db");
            return Err(Error::definite(error::URL, message));
        }
        _ => url,
    };
    if path.is_empty() {
        return Err(Error::definite(
            error::URL,
            "state.url names no file; write sqlite://data/state.db",
        ));
    }
    Ok(PathBuf::from(path))
}

/// The one name of the file, whatever links lead to it, so that two daemons cannot lock the same state twice. Makes
/// the folder, for nobody but the user, where it is missing.
pub(crate) fn settle(path: &Path) -> Result<PathBuf> {
    if let Ok(settled) = fs::canonicalize(path) {
        return Ok(settled);
    }
    let Some(name) = path.file_name() else {
        let message = format!("the state {} is a folder; name a file", path.display());
        return Err(Error::definite(error::URL, message));
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(folder);
    made.map_err(|error| from_file(path, error))?;
    let folder = fs::canonicalize(folder).map_err(|error| from_file(path, error))?;
    Ok(folder.join(name))
}

/// `path` with something behind its name.
pub(crate) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

/// Creates an empty file for nobody but the user.
pub(crate) fn create_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Makes everything in the file, and its name, survive a power cut.
pub(crate) fn sync_with_folder(path: &Path) -> std::io::Result<()> {
    File::open(path)?.sync_all()?;
    match path.parent() {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

/// Tells a state from everything else, before SQLite touches it. Must not be called while SQLite has the file open:
/// closing any descriptor of a file gives up all POSIX locks of the process on it.
pub(crate) fn check_header(path: &Path) -> Result<()> {
    let mut header = Vec::with_capacity(HEADER_BYTES);
    let file = File::open(path).map_err(|error| from_file(path, error))?;
    let limit = u64::try_from(HEADER_BYTES).unwrap_or(u64::MAX);
    file.take(limit)
        .read_to_end(&mut header)
        .map_err(|error| from_file(path, error))?;
    if header.is_empty() {
        return Err(corrupt(path, "it is empty"));
    }
    if !header.starts_with(MAGIC) {
        return Err(foreign(path, "it is not an SQLite database"));
    }
    let Some(id) = header
        .get(APPLICATION_ID_AT..)
        .and_then(|bytes| bytes.first_chunk::<4>())
    else {
        return Err(corrupt(path, "it ends within its header"));
    };
    if u32::from_be_bytes(*id) != APPLICATION_ID {
        return Err(foreign(path, "it is an SQLite database of another program"));
    }
    if header.get(WRITE_VERSION_AT) == Some(&WITHOUT_LOG) {
        has_no_log_of_another(path)?;
    }
    Ok(())
}

/// SQLite would play a log that is left under the name of a copy into it: neither the state that was copied nor the one that the log is of.
fn has_no_log_of_another(path: &Path) -> Result<()> {
    let log = beside(path, "-wal");
    match fs::metadata(&log) {
        Ok(found) if found.len() > 0 => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(from_file(path, error)),
    }
    let message = format!(
        "the state {} is a copy, and {} is the log of the file that was there before it: read together they are neither; move the log to the \
         file that it is of, or away, with the -shm beside it, and start once with --adopt-state",
        path.display(),
        log.display()
    );
    Err(Error::definite(error::CLONED, message))
}

fn foreign(path: &Path, finding: &str) -> Error {
    let message = format!(
        "{} is no state of Tailrace: {finding}; set state.url to another file",
        path.display()
    );
    Error::definite(error::FOREIGN, message)
}

// === impl Home ===

impl Home {
    /// Reads it off the file under this name.
    pub(crate) fn of(path: &Path) -> std::io::Result<Self> {
        let metadata = fs::metadata(path)?;
        let since_1970 = metadata
            .created()
            .ok()
            .and_then(|created| created.duration_since(UNIX_EPOCH).ok());
        Ok(Self {
            inode: metadata.ino().cast_signed(),
            created_us: since_1970.and_then(|since| i64::try_from(since.as_micros()).ok()),
        })
    }

    /// Whether both are the same file; a birth time that either does not know decides nothing.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let born_apart = matches!((self.created_us, other.created_us), (Some(left), Some(right)) if left != right);
        self.inode == other.inode && !born_apart
    }
}

// === impl StateLock ===

impl StateLock {
    /// Takes the lock of a state, or says who has it.
    pub(crate) fn take(state: &Path) -> Result<Self> {
        let path = beside(state, ".lock");
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let mut file = opened.map_err(|error| from_file(state, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(locked(state, &mut file)),
            Err(fs::TryLockError::Error(error)) => return Err(from_file(state, error)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(|error| from_file(state, error))?;
        Ok(Self { file })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started has a copy of the descriptor until it runs
        // its own program, and with it the lock.
        self.file.unlock().ok();
    }
}

/// The process that has the lock of a state, where one has it; creates nothing.
pub(crate) fn holder(state: &Path) -> Option<u32> {
    let path = beside(&fs::canonicalize(state).ok()?, ".lock");
    let mut file = OpenOptions::new().read(true).open(path).ok()?;
    match file.try_lock_shared() {
        Err(fs::TryLockError::WouldBlock) => said(&mut file).trim().parse().ok(),
        _ => None,
    }
}

/// What the holder has written into the file of a lock.
fn said(lock: &mut File) -> String {
    let mut holder = String::new();
    lock.read_to_string(&mut holder).map(|_| holder).unwrap_or_default()
}

fn locked(state: &Path, lock: &mut File) -> Error {
    let holder = match said(lock).trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    };
    let message = format!(
        "the state {} is in use by {holder}; stop that Tailrace, or give this one a state.url of its own",
        state.display()
    );
    Error::definite(error::LOCKED, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_files() {
        assert_eq!(
            path_from_url("sqlite://data/state.db").unwrap(),
            Path::new("data/state.db")
        );
        assert_eq!(
            path_from_url("sqlite:///var/lib/state.db").unwrap(),
            Path::new("/var/lib/state.db")
        );
        assert_eq!(path_from_url("sqlite:state.db").unwrap(), Path::new("state.db"));
        assert_eq!(
            path_from_url("/var/lib/state.db").unwrap(),
            Path::new("/var/lib/state.db")
        );
        assert_eq!(
            path_from_url("postgresql://db/state").unwrap_err().code(),
            "state_url_invalid"
        );
        assert_eq!(path_from_url("sqlite://").unwrap_err().code(), "state_url_invalid");
    }

    #[test]
    fn a_home_without_birth_time_goes_by_its_inode() {
        let born = Home {
            inode: 7,
            created_us: Some(1),
        };
        let unborn = Home {
            inode: 7,
            created_us: None,
        };
        assert!(born.is(&unborn) && unborn.is(&born));
        assert!(!born.is(&Home {
            inode: 7,
            created_us: Some(2)
        }));
        assert!(!born.is(&Home {
            inode: 8,
            created_us: Some(1)
        }));
    }
}
