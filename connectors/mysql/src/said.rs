//! What a server says of an error, without what it says of rows: log and status are read by more people than tables are.

use std::borrow::Cow;

/// Messages in which a value stands in quotes: keys that are there already, numbers, dates and characters that are none, numbers that an
/// expression made too large, vectors.
const QUOTED: [u16; 13] = [
    1062, 1292, 1300, 1366, 1367, 1411, 1525, 1586, 1690, 1977, 3854, 6138, 6139,
];
/// In which there may be several, with names between them: a foreign key that would give two rows one key.
const RECORDS: [u16; 2] = [1761, 1762];
/// In which a value stands as it is: of a row without a partition, of a degree on the globe.
const BARE: [u16; 5] = [1526, 3616, 3617, 3732, 3733];
/// What may follow the value and has a name in quotes itself. A translated message may have other words there, and loses the name.
const BEHIND: [&str; 2] = ["' for key '", "' for column '"];

/// The message of an error with this number, with `…` in the place of values.
pub(crate) fn without_values(number: u16, said: &str) -> Cow<'_, str> {
    if BARE.contains(&number) {
        Cow::Borrowed("a value of the row is the reason")
    } else if RECORDS.contains(&number) {
        masked(said, &[])
    } else if QUOTED.contains(&number) {
        masked(said, &BEHIND)
    } else {
        Cow::Borrowed(said)
    }
}

/// The message with `…` for all between its first quote and its last, or the last before one of these words.
pub(crate) fn masked<'a>(said: &'a str, behind: &[&str]) -> Cow<'a, str> {
    let Some(first) = said.find('\'') else {
        return Cow::Borrowed(said);
    };
    let last = behind.iter().filter_map(|words| said.rfind(words)).max();
    let last = last.or_else(|| said.rfind('\'')).filter(|last| *last > first);
    let (before, after) = (said.get(..=first), said.get(last.unwrap_or(said.len())..));
    Cow::Owned(format!("{}…{}", before.unwrap_or_default(), after.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_left_out_and_names_stay() {
        for (number, said, expected) in [
            (
                1062,
                "Duplicate entry 'c4n4ry-1' for key 't.email'",
                "Duplicate entry '…' for key 't.email'",
            ),
            (
                1062,
                "Duplicate entry 'it's for key 'c4n4ry' for key 'PRIMARY'",
                "Duplicate entry '…' for key 'PRIMARY'",
            ),
            (
                1366,
                "Incorrect integer value: 'c4n4ry' for column 'amount' at row 1",
                "Incorrect integer value: '…' for column 'amount' at row 1",
            ),
            (
                1366,
                "Incorrect integer value: 'it's c4n4ry' for column `d`.`t`.`amount` at row 1",
                "Incorrect integer value: '…' for column `d`.`t`.`amount` at row 1",
            ),
            (
                1292,
                "Truncated incorrect DOUBLE value: 'c4n4ry'",
                "Truncated incorrect DOUBLE value: '…'",
            ),
            (
                1062,
                "Doppelter Eintrag 'c4n4ry' für Schlüssel 'PRIMARY'",
                "Doppelter Eintrag '…'",
            ),
            (1292, "cut off: 'c4n4ry", "cut off: '…"),
            (
                1526,
                "Table has no partition for value c4n4ry",
                "a value of the row is the reason",
            ),
            (
                1761,
                "Foreign key constraint for table 't', record 'c4n4ry' would lead to a duplicate entry in table 'u'",
                "Foreign key constraint for table '…'",
            ),
            (
                1406,
                "Data too long for column 'a' at row 1",
                "Data too long for column 'a' at row 1",
            ),
            (1062, "no quotes", "no quotes"),
        ] {
            assert_eq!(without_values(number, said), expected, "{said}");
        }
    }
}
