//! Locks between processes: files whose lock somebody holds and whose content says who.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

/// A lock that is held until it is dropped, or until the process dies.
#[derive(Debug)]
pub(crate) struct Lock(File);

/// Why a lock was not taken.
#[derive(Debug)]
pub(crate) enum Refused {
    /// Somebody has it.
    Held(Holder),
    /// Its file cannot be opened or written.
    Failed(io::Error),
}

/// Who has a lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holder {
    /// This process.
    Us,
    /// Another one, by its pid.
    Process(u32),
    /// Another one that has not said yet who it is.
    Unknown,
}

// === impl Lock ===

impl Lock {
    /// Takes the lock, and writes into its file who has it.
    pub(crate) fn take(path: &Path) -> Result<Self, Refused> {
        let opened = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path);
        let mut file = opened.map_err(Refused::Failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => return Err(Refused::Held(Holder::read(&mut file))),
            Err(fs::TryLockError::Error(error)) => return Err(Refused::Failed(error)),
        }
        let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(Refused::Failed)?;
        Ok(Self(file))
    }

    /// Who has the lock, if anybody; creates nothing.
    pub(crate) fn holder(path: &Path) -> Option<Holder> {
        let mut file = OpenOptions::new().read(true).open(path).ok()?;
        match file.try_lock_shared() {
            Err(fs::TryLockError::WouldBlock) => Some(Holder::read(&mut file)),
            _ => None,
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing is not enough: a child process that is just being started has a copy of the descriptor until it runs
        // its own program, and with it the lock.
        self.0.unlock().ok();
    }
}

// === impl Holder ===

impl Holder {
    fn read(file: &mut File) -> Self {
        let mut text = String::new();
        let pid = file
            .read_to_string(&mut text)
            .ok()
            .and_then(|_| text.trim().parse().ok());
        match pid {
            Some(pid) if pid == std::process::id() => Self::Us,
            Some(pid) => Self::Process(pid),
            None => Self::Unknown,
        }
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Us => formatter.write_str("this process"),
            Self::Process(pid) => write!(formatter, "process {pid}"),
            Self::Unknown => formatter.write_str("another process"),
        }
    }
}
