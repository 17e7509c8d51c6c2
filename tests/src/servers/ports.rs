//! Loopback ports that stay ours from the moment they are chosen until the server is gone.
//!
//! Asking the kernel for port 0 and giving the port back leaves a gap in which another test, or merely the local end of
//! somebody's outgoing connection, can take it; and a server that is killed and started again must find its port free a
//! second time. So ports come from below the range that the kernel hands out by itself (from 32768), and each is claimed
//! by a lock on a file, which other test processes respect and which the kernel releases when this process ends, however
//! it ends.

use std::fs::{DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{Result, ServerError, own_user_id};

const FIRST: u16 = 20_000;
const COUNT: u16 = 12_000;

/// A TCP port on 127.0.0.1, claimed until this value is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Holds the lock.
    _claim: File,
}

// === impl Port ===

impl Port {
    /// Claims a port that nothing listens on.
    ///
    /// # Errors
    /// When the folder of claims cannot be written, or no port is free.
    pub fn claim() -> Result<Port> {
        let folder = claims_folder()?;
        let start = random_below(COUNT);
        (0..COUNT)
            .map(|step| FIRST + (start + step) % COUNT)
            .find_map(|number| try_claim(&folder, number))
            .ok_or_else(|| {
                ServerError::new(format!(
                    "no port from {FIRST} to {} is free on 127.0.0.1",
                    FIRST + COUNT - 1
                ))
            })
    }

    /// The port's number.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }
}

/// Lock first, then look: whoever holds the lock is the only test process that may listen there.
fn try_claim(folder: &Path, number: u16) -> Option<Port> {
    let claim = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join(number.to_string()))
        .ok()?;
    claim.try_lock().ok()?;
    TcpListener::bind((Ipv4Addr::LOCALHOST, number)).ok()?;
    Some(Port { number, _claim: claim })
}

fn claims_folder() -> Result<PathBuf> {
    let folder = std::env::temp_dir().join(format!("tailrace-test-ports-{}", own_user_id()?));
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(&folder)
        .map_err(ServerError::doing(format!("making {}", folder.display())))?;
    Ok(folder)
}

/// Tests that start together should not all try the same ports first.
fn random_below(bound: u16) -> u16 {
    let random = RandomState::new().hash_one(std::process::id()) % u64::from(bound);
    u16::try_from(random).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn ports_claimed_at_once_differ_and_can_be_listened_on() {
        let threads: Vec<_> = (0..8)
            .map(|_| std::thread::spawn(|| (0..8).map(|_| Port::claim().unwrap()).collect::<Vec<_>>()))
            .collect();
        let ports: Vec<Port> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 64);
        for port in &ports {
            TcpListener::bind((Ipv4Addr::LOCALHOST, port.number())).unwrap();
        }
    }

    #[test]
    fn a_port_in_use_or_claimed_is_not_given_out() {
        let folder = claims_folder().unwrap();
        let port = Port::claim().unwrap();
        let number = port.number();
        assert!(try_claim(&folder, number).is_none(), "claimed");
        drop(port);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        assert!(try_claim(&folder, number).is_none(), "listened on");
        drop(listener);
    }
}
