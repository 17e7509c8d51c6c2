//! Names of topics and groups as names of folders and files: injective, readable, and safe on any file system.

use std::fs;
use std::path::{Path, PathBuf};

use tailrace_core::{Error, Result};

use crate::error::{self, unopenable, unreadable};

/// Folder of stored offsets, beside the topics. No topic can have it: topics' folders hold a partition, and this name
/// is written `%63onsumers` when a topic has it.
pub(crate) const CONSUMERS: &str = "consumers";
/// Every topic has one partition.
const PARTITION: &str = "00000";
/// What all file systems allow; some count bytes, some characters, and all names here are ASCII.
const NAME_BYTES_MAX: usize = 250;

/// The folder of a topic's only partition.
pub(crate) fn partition_folder(root: &Path, topic: &str) -> Result<PathBuf> {
    Ok(root.join(encode(topic)?).join(PARTITION))
}

/// Makes the folders of a topic, and makes sure that no other topic has them: on a file system that does not tell
/// `Orders` from `orders`, both would be one.
pub(crate) fn create(root: &Path, topic: &str) -> Result<PathBuf> {
    let name = encode(topic)?;
    let folder = root.join(&name).join(PARTITION);
    if !folder.is_dir() {
        let made = fs::create_dir_all(&folder)
            .and_then(|()| sync_folder(&root.join(&name)))
            .and_then(|()| sync_folder(root));
        made.map_err(|error| unopenable(&folder, error))?;
    }
    let entries = fs::read_dir(root).map_err(|error| unreadable(root, error))?;
    let exact = entries.flatten().any(|entry| entry.file_name() == name.as_str());
    if exact {
        return Ok(folder);
    }
    let message = format!(
        "topic {topic} cannot have a folder in {}: another topic's name differs only in upper and lower case, which this \
         file system does not tell apart; rename one of them",
        root.display()
    );
    Err(Error::definite(error::TOPIC_COLLISION, message))
}

/// Names of all topics, sorted. A stream that was never written to has none.
pub(crate) fn list(root: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(root) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(root, error)),
    };
    let folders = entries.flatten().filter(|entry| entry.path().join(PARTITION).is_dir());
    let mut topics: Vec<String> = folders
        .filter_map(|entry| decode(entry.file_name().to_str()?))
        .collect();
    topics.sort();
    Ok(topics)
}

/// Makes the names in a folder survive a power cut.
pub(crate) fn sync_folder(folder: &Path) -> std::io::Result<()> {
    fs::File::open(folder)?.sync_all()
}

/// A name for the file system: every byte but letters, digits, `.`, `_` and `-` becomes `%xx`, and so does a first `.`
/// (hidden files, `..`) and the first byte of our own folder's name.
pub(crate) fn encode(name: &str) -> Result<String> {
    let mut encoded = String::with_capacity(name.len());
    for (index, byte) in name.bytes().enumerate() {
        let plain = byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        let reserved = index == 0 && (byte == b'.' || name == CONSUMERS);
        if plain && !reserved {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02x}"));
        }
    }
    if encoded.is_empty() || encoded.len() > NAME_BYTES_MAX {
        let message = format!(
            "the name `{name}` cannot be a file's name: it must have 1 to {NAME_BYTES_MAX} bytes, where each byte but \
             letters, digits, `.`, `_` and `-` counts three; set another topic"
        );
        return Err(Error::definite(error::TOPIC_NAME, message));
    }
    Ok(encoded)
}

/// The name that was encoded; `None` where it was not made by [`encode`].
fn decode(encoded: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| {
            char::from(byte?)
                .to_digit(16)
                .and_then(|digit| u8::try_from(digit).ok())
        };
        let (high, low) = (digit(rest.next())?, digit(rest.next())?);
        bytes.push(high * 16 + low);
    }
    let name = String::from_utf8(bytes).ok()?;
    encode(&name).is_ok_and(|again| again == encoded).then_some(name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_stay_readable() {
        assert_eq!(encode("legacy.public.orders").unwrap(), "legacy.public.orders");
        assert_eq!(encode("a/b %").unwrap(), "a%2fb%20%25");
        assert_eq!(encode("..").unwrap(), "%2e.");
        assert_eq!(encode("consumers").unwrap(), "%63onsumers");
        assert_eq!(encode("größe").unwrap(), "gr%c3%b6%c3%9fe");
        assert_eq!(encode("").unwrap_err().code(), "topic_name_invalid");
        assert_eq!(encode(&"x".repeat(251)).unwrap_err().code(), "topic_name_invalid");
        assert_eq!(decode("%2F"), None);
        assert_eq!(decode("%2"), None);
    }

    proptest! {
        #[test]
        fn every_name_has_its_own_folder(name in ".{1,60}") {
            prop_assume!(encode(&name).is_ok());
            prop_assert_eq!(decode(&encode(&name).unwrap()), Some(name));
        }
    }
}
