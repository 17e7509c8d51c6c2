//! The commands that begin a dump.
//!
//! - `COM_REGISTER_SLAVE`: number u8 · server u32 · host, user, password (length u8 each) · port u16 · rank u32 · source u32
//! - `COM_BINLOG_DUMP`: number u8 · offset u32 · flags u16 · server u32 · name of the file, to the end
//! - `COM_BINLOG_DUMP_GTID`: number u8 · flags u16 · server u32 · length u32 · name of the file · offset u64 · length u32 · set
//!
//! A set is what [`crate::decode::PreviousGtids`] is in the log.

const COM_BINLOG_DUMP: u8 = 0x12;
const COM_REGISTER_SLAVE: u8 = 0x15;
const COM_BINLOG_DUMP_GTID: u8 = 0x1e;
/// The set counts, and not the file.
const THROUGH_GTID: u16 = 0x04;
/// Every file begins with a magic number of four bytes.
const FIRST_OFFSET: u8 = 4;
/// `SHOW REPLICAS` shows this as our host.
const HOST: &[u8] = b"tailrace";
const TAGGED: u64 = 1 << 56;
const UUID_DIGITS: usize = 32;

/// Makes us known as a replica.
pub(super) fn register(server_id: u32) -> Vec<u8> {
    let host_bytes = u8::try_from(HOST.len()).unwrap_or_default();
    let mut payload = vec![COM_REGISTER_SLAVE];
    payload.extend(server_id.to_le_bytes());
    payload.push(host_bytes);
    payload.extend(HOST);
    // Neither user nor password nor port; rank and source are zero on every replica.
    payload.extend([0; 12]);
    payload
}

/// From an offset in a file; with an empty name, where MariaDB's session variables say.
pub(super) fn dump_file(server_id: u32, file: &str, offset: u32) -> Vec<u8> {
    let mut payload = vec![COM_BINLOG_DUMP];
    payload.extend(offset.to_le_bytes());
    payload.extend([0; 2]);
    payload.extend(server_id.to_le_bytes());
    payload.extend(file.as_bytes());
    payload
}

/// Everything that is not in the set. `None` where `executed` is no set of transactions of MySQL.
pub(super) fn dump_missing(server_id: u32, executed: &str) -> Option<Vec<u8>> {
    let set = encode_set(executed)?;
    let mut payload = vec![COM_BINLOG_DUMP_GTID];
    payload.extend(THROUGH_GTID.to_le_bytes());
    payload.extend(server_id.to_le_bytes());
    payload.extend([0; 4]);
    payload.extend([FIRST_OFFSET, 0, 0, 0, 0, 0, 0, 0]);
    payload.extend(u32::try_from(set.len()).ok()?.to_le_bytes());
    payload.extend(set);
    Some(payload)
}

/// One server and tag: UUID, tag, first and end of intervals.
type Entry<'t> = (u128, &'t str, Vec<(u64, u64)>);

/// `uuid:1-5:7:tag:1-3,uuid:…` as bytes.
fn encode_set(text: &str) -> Option<Vec<u8>> {
    let mut entries: Vec<Entry<'_>> = Vec::new();
    for server in text.split(',').map(str::trim).filter(|server| !server.is_empty()) {
        read_server(server, &mut entries)?;
    }
    // The server wants them in the order in which it writes them itself.
    entries.sort_by(|left, right| (left.0, left.1).cmp(&(right.0, right.1)));
    let tagged = entries.iter().any(|(_, tag, _)| !tag.is_empty());
    let count = u64::try_from(entries.len()).ok()?;
    let head = if tagged { TAGGED | count << 8 | 1 } else { count };
    let mut set = head.to_le_bytes().to_vec();
    for (uuid, tag, intervals) in entries {
        set.extend(uuid.to_be_bytes());
        if tagged {
            // A variable-length number below 128 is its double.
            set.push(u8::try_from(tag.len()).ok()?.checked_mul(2)?);
            set.extend(tag.as_bytes());
        }
        set.extend(u64::try_from(intervals.len()).ok()?.to_le_bytes());
        for (first, end) in intervals {
            set.extend(first.to_le_bytes());
            set.extend(end.to_le_bytes());
        }
    }
    Some(set)
}

fn read_server<'t>(text: &'t str, entries: &mut Vec<Entry<'t>>) -> Option<()> {
    let mut parts = text.split(':').map(str::trim);
    let digits = parts.next()?.replace('-', "");
    let uuid = u128::from_str_radix(&digits, 16)
        .ok()
        .filter(|_| digits.len() == UUID_DIGITS)?;
    let mut entry: Entry<'t> = (uuid, "", Vec::new());
    for part in parts {
        if part.starts_with(|character: char| character.is_ascii_digit()) {
            entry.2.push(interval(part)?);
        } else {
            let finished = std::mem::replace(&mut entry, (uuid, part, Vec::new()));
            entries.extend(Some(finished).filter(|(_, _, intervals)| !intervals.is_empty()));
        }
    }
    let complete = !entry.2.is_empty();
    entries.push(entry);
    complete.then_some(())
}

fn interval(text: &str) -> Option<(u64, u64)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (u64, u64) = (first.parse().ok()?, last.parse().ok()?);
    let end = last.checked_add(1)?;
    (first > 0 && first < end).then_some((first, end))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decode::PreviousGtids;

    const UUID: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn round_trip(text: &str) -> String {
        PreviousGtids::parse(&encode_set(text).unwrap()).unwrap().to_string()
    }

    #[test]
    fn sets_are_encoded_as_the_log_has_them() {
        for text in [
            String::new(),
            format!("{UUID}:1-5"),
            format!("{UUID}:1-5:7:9-11"),
            format!("0e11fa47-71ca-11e1-9e33-c80aa9429562:1,{UUID}:1"),
            format!("{UUID}:1-5,{UUID}:audit:7"),
        ] {
            assert_eq!(round_trip(&text), text);
        }
        let upper = format!(" {}:1-5:7 ,\n{UUID}:aa:3", UUID.to_uppercase());
        assert_eq!(round_trip(&upper), format!("{UUID}:1-5:7,{UUID}:aa:3"));
        assert_eq!(
            round_trip(&format!("{UUID}:1-5:aa:3:bb:4-5")),
            format!("{UUID}:1-5,{UUID}:aa:3,{UUID}:bb:4-5")
        );
    }

    #[test]
    fn what_is_no_set() {
        for text in [
            "0-1-5",
            "x:1",
            "1:1",
            UUID,
            &format!("{UUID}:5-1"),
            &format!("{UUID}:0"),
            &format!("{UUID}:1-x"),
        ] {
            assert_eq!(encode_set(text), None, "{text}");
        }
    }

    #[test]
    fn commands() {
        assert_eq!(dump_file(7, "bin.1", 4), b"\x12\x04\0\0\0\0\0\x07\0\0\0bin.1");
        assert_eq!(register(7), b"\x15\x07\0\0\0\x08tailrace\0\0\0\0\0\0\0\0\0\0\0\0");
        let expected = b"\x1e\x04\0\x07\0\0\0\0\0\0\0\x04\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0";
        assert_eq!(dump_missing(7, "").unwrap(), expected);
    }
}
