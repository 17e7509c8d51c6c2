//! Offsets that consumer groups have stored: one small JSON file per group, replaced as a whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tailrace_core::{Error, Result};

use crate::error::{self, unopenable, unreadable};
use crate::lock::{Lock, Refused};
use crate::topic::{CONSUMERS, encode, sync_folder};

/// The next offset to read, by topic.
pub(crate) type Offsets = BTreeMap<String, u64>;

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    group: String,
    offsets: Offsets,
    /// CRC-32 of the JSON of group and offsets.
    crc32: u32,
}

/// Stored offsets of one group, held by one consumer at a time.
#[derive(Debug)]
pub(crate) struct Group {
    name: String,
    path: PathBuf,
    _lock: Lock,
}

// === impl Group ===

impl Group {
    /// Takes a group, or says that another consumer has it.
    pub(crate) fn take(root: &Path, name: &str) -> Result<Self> {
        let folder = root.join(CONSUMERS);
        fs::create_dir_all(&folder).map_err(|error| unopenable(&folder, error))?;
        let file_name = encode(name)?;
        let lock_path = folder.join(format!("{file_name}.lock"));
        let lock = Lock::take(&lock_path).map_err(|refused| match refused {
            Refused::Failed(error) => unopenable(&lock_path, error),
            Refused::Held(holder) => {
                let message = format!(
                    "consumer group {name} of {} is in use by {holder}: a topic here has one partition, so that one \
                     consumer reads it all; stop the other, or choose another group",
                    root.display()
                );
                Error::definite(error::GROUP_IN_USE, message)
            }
        })?;
        Ok(Self {
            name: name.to_owned(),
            path: folder.join(format!("{file_name}.json")),
            _lock: lock,
        })
    }

    /// What the group has stored; nothing at its first start.
    pub(crate) fn load(&self) -> Result<Offsets> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Offsets::new()),
            Err(error) => return Err(unreadable(&self.path, error)),
        };
        match parse(&bytes) {
            Some(stored) if stored.group == self.name => Ok(stored.offsets),
            _ => {
                let message = format!(
                    "{} is damaged: the offsets of consumer group {} are not known; write it anew with the offsets that \
                     its target has, or delete it to read everything again",
                    self.path.display(),
                    self.name
                );
                Err(Error::definite(error::OFFSETS_CORRUPT, message))
            }
        }
    }

    /// Durable on return. Whoever looks sees the old offsets or the new ones.
    pub(crate) fn store(&self, offsets: &Offsets) -> Result<()> {
        let written = self.write(offsets);
        written.map_err(|error| error::Failure::unwritable(&self.path, &error).error())
    }

    fn write(&self, offsets: &Offsets) -> io::Result<()> {
        let crc32 = checksum(&self.name, offsets);
        let stored = Stored {
            group: self.name.clone(),
            offsets: offsets.clone(),
            crc32,
        };
        let draft = self.path.with_extension("json.new");
        let mut file = File::create(&draft)?;
        serde_json::to_writer(&mut file, &stored)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&draft, &self.path)?;
        self.path.parent().map_or(Ok(()), sync_folder)
    }
}

/// The highest offset that any group has stored for a topic. Damaged files count for nothing here: their own consumer
/// will refuse them.
pub(crate) fn highest_stored(root: &Path, topic: &str) -> u64 {
    let Ok(entries) = fs::read_dir(root.join(CONSUMERS)) else {
        return 0;
    };
    let paths = entries.flatten().map(|entry| entry.path());
    let files = paths.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
    let stored = files.filter_map(|path| parse(&fs::read(path).ok()?));
    stored
        .filter_map(|stored| stored.offsets.get(topic).copied())
        .max()
        .unwrap_or(0)
}

fn parse(bytes: &[u8]) -> Option<Stored> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    (checksum(&stored.group, &stored.offsets) == stored.crc32).then_some(stored)
}

fn checksum(group: &str, offsets: &Offsets) -> u32 {
    crc32fast::hash(&serde_json::to_vec(&(group, offsets)).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_come_back_and_no_flipped_bit_does() {
        let root = tempfile::tempdir().unwrap();
        let group = Group::take(root.path(), "desk/1").unwrap();
        assert_eq!(group.load().unwrap(), Offsets::new());
        let offsets = Offsets::from([("orders".to_owned(), 7), ("customers".to_owned(), u64::MAX / 2)]);
        group.store(&Offsets::new()).unwrap();
        group.store(&offsets).unwrap();
        assert_eq!(group.load().unwrap(), offsets);
        assert_eq!(highest_stored(root.path(), "orders"), 7);
        assert_eq!(highest_stored(root.path(), "unknown"), 0);
        let bytes = fs::read(&group.path).unwrap();
        for bit in 0..(bytes.len() - 1) * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            fs::write(&group.path, &flipped).unwrap();
            match group.load() {
                Ok(read) => assert_eq!(read, offsets, "bit {bit}"),
                Err(error) => assert_eq!(error.code(), "stream_offsets_corrupt"),
            }
        }
        for length in 0..bytes.len() - 1 {
            fs::write(&group.path, &bytes[..length]).unwrap();
            assert_eq!(group.load().unwrap_err().code(), "stream_offsets_corrupt");
        }
    }

    #[test]
    fn a_group_has_one_consumer() {
        let root = tempfile::tempdir().unwrap();
        let held = Group::take(root.path(), "desk").unwrap();
        let error = Group::take(root.path(), "desk").unwrap_err();
        assert_eq!(error.code(), "stream_group_in_use");
        assert!(error.to_string().contains("this process"), "{error}");
        drop(held);
        Group::take(root.path(), "desk").unwrap();
    }
}
