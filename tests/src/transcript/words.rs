//! What differs from run to run, and the words that stand for it.
//!
//! | in the run | in the transcript |
//! |---|---|
//! | the database's name, which is the connector's too and begins topics and slots | `shop` |
//! | its schema, where that is the database itself (MySQL) | `public` |
//! | a time while the transcript ran | «commit time», «publish time», «now» |
//! | a position in the log | `lsn#1`, `lsn#2`: numbered in the log's order |
//! | the number of a transaction | `txn#1`, `txn#2`: numbered as they are shown first |
//! | the source's identity, first part of each event's id | `source#1` |
//!
//! Positions can only be numbered when all are known, so that they are marked first and numbered at the end.

use std::collections::BTreeSet;
use std::time::{SystemTime, UNIX_EPOCH};

/// What the database is called in a transcript.
pub(super) const DATABASE: &str = "shop";

/// What the schema of its tables is called there.
const SCHEMA: &str = "public";

const SECOND_US: i64 = 1_000_000;

/// Around a position until it is numbered: characters that nothing else has, and that JSON does not escape.
const POSITION_MARKS: [char; 2] = ['⟦', '⟧'];

/// The words of one run.
pub(super) struct Words {
    database: String,
    /// The schema, where it is not called as the transcript calls it.
    schema: Option<String>,
    started_us: i64,
    transactions: Vec<String>,
    sources: Vec<String>,
    positions: BTreeSet<u64>,
}

// === impl Words ===

impl Words {
    pub(super) fn new(database: &str, schema: &str) -> Words {
        Words {
            database: database.to_owned(),
            schema: (schema != SCHEMA).then(|| schema.to_owned()),
            // MySQL's log has whole seconds.
            started_us: now_us() / SECOND_US * SECOND_US,
            transactions: Vec::new(),
            sources: Vec::new(),
            positions: BTreeSet::new(),
        }
    }

    /// From the transcript to the run.
    pub(super) fn inward(&self, text: &str) -> String {
        let text = replace_word(text, DATABASE, &self.database);
        match &self.schema {
            Some(schema) => {
                let text = text.replace(&format!("{SCHEMA}."), &format!("{schema}."));
                // In a regular expression.
                text.replace(&format!(r"{SCHEMA}\."), &format!(r"{schema}\."))
            }
            None => text,
        }
    }

    /// From the run to the transcript.
    pub(super) fn outward(&self, text: &str) -> String {
        let text = match &self.schema {
            // Behind the prefix of a topic.
            Some(schema) => text.replace(&format!(".{schema}."), &format!(".{SCHEMA}.")),
            None => text.to_owned(),
        };
        replace_word(&text, &self.database, DATABASE)
    }

    pub(super) fn transaction(&mut self, number: &str) -> String {
        format!("txn#{}", number_of(number, &mut self.transactions))
    }

    pub(super) fn source(&mut self, identity: &str) -> String {
        format!("source#{}", number_of(identity, &mut self.sources))
    }

    pub(super) fn position(&mut self, position: u64) -> String {
        self.positions.insert(position);
        let [begin, end] = POSITION_MARKS;
        format!("{begin}{position:020}{end}")
    }

    /// A time as `word`, where it is one of this run; else as it is.
    pub(super) fn time(&self, time_us: i64, shown: &str, word: &str) -> String {
        if (self.started_us..=now_us()).contains(&time_us) {
            word.to_owned()
        } else {
            shown.to_owned()
        }
    }

    /// A text with words for the log's positions in it: sentences name them.
    pub(super) fn sentence(&self, text: &str) -> String {
        let text = self.outward(text);
        let words = text.split_inclusive([' ', ',', ';', ')', '(']);
        let mut previous = "";
        let replaced = words.map(|word| {
            let before = std::mem::replace(&mut previous, word);
            let bare = word.trim_end_matches([' ', ',', ';', ')', '(', '.', ':']);
            let rest = word.strip_prefix(bare).unwrap_or_default();
            if log_position(bare).is_some() {
                return format!("«position»{rest}");
            }
            // Connectors that share a registry have their schemas numbered as they come.
            if before == "number " && bare.bytes().all(|digit| digit.is_ascii_digit()) {
                return format!("«id»{rest}");
            }
            if is_event_id(bare) {
                return format!("«event id»{rest}");
            }
            match time_us(bare) {
                Some(time_us) => self.time(time_us, bare, "«now»") + rest,
                None => word.to_owned(),
            }
        });
        replaced.collect()
    }

    /// The text with its positions numbered.
    pub(super) fn number_positions(&self, text: &str) -> String {
        let [begin, end] = POSITION_MARKS;
        let mut numbered = String::new();
        for piece in text.split(begin) {
            match piece.split_once(end) {
                Some((position, rest)) => {
                    let position: u64 = position.parse().unwrap_or_default();
                    let rank = self.positions.range(..=position).count();
                    numbered.push_str(&format!("lsn#{rank}{rest}"));
                }
                None => numbered.push_str(piece),
            }
        }
        numbered
    }
}

/// The place of a text among those that were shown before, from 1.
fn number_of(text: &str, known: &mut Vec<String>) -> usize {
    let place = known.iter().position(|known| known == text);
    let place = place.unwrap_or_else(|| {
        known.push(text.to_owned());
        known.len() - 1
    });
    place + 1
}

/// Microseconds since 1970 of `2026-03-01T08:30:00.000000Z`, with or without its fraction and its zone.
pub(super) fn time_us(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z').unwrap_or(text).split_once('T')?;
    let numbers = |text: &str, by: char| {
        text.split(by)
            .map(|part| part.parse().ok())
            .collect::<Option<Vec<i64>>>()
    };
    let (seconds, fraction) = time.split_once('.').unwrap_or((time, "0"));
    let ([year, month, day], [hour, minute, second]) = (
        <[i64; 3]>::try_from(numbers(date, '-')?).ok()?,
        <[i64; 3]>::try_from(numbers(seconds, ':')?).ok()?,
    );
    let micros: i64 = format!("{fraction:0<6}").get(..6)?.parse().ok()?;
    // Days since 1970 in the Gregorian calendar, counted in years that begin in March.
    let year = if month <= 2 { year - 1 } else { year };
    let day_of_year = (153 * (if month > 2 { month - 3 } else { month + 9 }) + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    Some((((days * 24 + hour) * 60 + minute) * 60 + second) * 1_000_000 + micros)
}

/// A position in a log, as a number that is in the log's order: `0/16E9018` of PostgreSQL; of MySQL and MariaDB
/// `3e11fa47-71ca-11e1-9e33-c80aa9429562:23`, `0-1-23` or `binlog.000002:1234`.
pub(super) fn log_position(text: &str) -> Option<u64> {
    postgres_position(text).or_else(|| binlog_position(text))
}

fn postgres_position(text: &str) -> Option<u64> {
    let (high, low) = text.split_once('/')?;
    let number = |text: &str| {
        let is_plain = !text.is_empty() && text.len() <= 8 && text.chars().all(|digit| digit.is_ascii_hexdigit());
        is_plain.then(|| u64::from_str_radix(text, 16).ok()).flatten()
    };
    Some((number(high)? << 32) + number(low)?)
}

fn binlog_position(text: &str) -> Option<u64> {
    let is_number = |text: &str| !text.is_empty() && text.chars().all(|digit| digit.is_ascii_digit());
    if let Some((before, number)) = text.rsplit_once(':') {
        let number = is_number(number).then(|| number.parse::<u64>().ok()).flatten()?;
        let is_uuid = before.len() == 36 && before.chars().all(|digit| digit.is_ascii_hexdigit() || digit == '-');
        if is_uuid {
            return Some(number);
        }
        let (name, file) = before.rsplit_once('.')?;
        let file = (is_number(file) && !name.is_empty())
            .then(|| file.parse::<u64>().ok())
            .flatten()?;
        return Some((file << 40) + number);
    }
    let parts: Vec<&str> = text.split('-').collect();
    match parts.as_slice() {
        [domain, server, number] if [domain, server, number].iter().all(|part| is_number(part)) => {
            // A date is written in the same way, and begins with a year.
            (domain.len() < 4).then(|| number.parse().ok()).flatten()
        }
        _ => None,
    }
}

/// Source, position, number.
fn is_event_id(word: &str) -> bool {
    let Some((place, ordinal)) = word.rsplit_once(':') else {
        return false;
    };
    let mut ends = place
        .match_indices(':')
        .map(|(at, _)| place.get(at + 1..).unwrap_or_default());
    ordinal.parse::<u64>().is_ok() && ends.any(|end| log_position(end).is_some())
}

/// Where a word begins in a text: neither letter nor digit stands beside it.
pub(super) fn find_word(text: &str, word: &str) -> Option<usize> {
    let mut places = text.match_indices(word).map(|(place, _)| place);
    places.find(|place| {
        let before = text.get(..*place).and_then(|before| before.chars().next_back());
        let after = text.get(place + word.len()..).and_then(|after| after.chars().next());
        [before, after].iter().flatten().all(|beside| !beside.is_alphanumeric())
    })
}

fn replace_word(text: &str, word: &str, by: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(place) = find_word(rest, word) {
        let (before, after) = rest.split_at(place);
        replaced.push_str(before);
        replaced.push_str(by);
        rest = after.strip_prefix(word).unwrap_or_default();
    }
    replaced.push_str(rest);
    replaced
}

fn now_us() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_databases_name_goes_in_and_comes_out() {
        let words = Words::new("shop12", "public");
        let inside = "drop publication tailrace_shop; select 'shop.public.t', shop_b, workshop, shops";
        let outside = "drop publication tailrace_shop12; select 'shop12.public.t', shop12_b, workshop, shops";
        assert_eq!(words.inward(inside), outside);
        assert_eq!(words.outward(outside), inside);
        assert_eq!(words.outward("shop121 shop1"), "shop121 shop1");
    }

    #[test]
    fn a_schema_that_is_the_database_is_public() {
        let words = Words::new("shop12", "shop12");
        assert_eq!(words.inward("tables: [public.*]"), "tables: [shop12.*]");
        assert_eq!(words.inward(r"^public\.(.*)$"), r"^shop12\.(.*)$");
        let topics = "shop12.shop12.t, shop12_all.shop12.t";
        assert_eq!(words.outward(topics), "shop.public.t, shop_all.public.t");
    }

    #[test]
    fn positions_are_numbered_in_the_logs_order() {
        let mut words = Words::new("shop1", "public");
        let shown = format!("{} {} {}", words.position(30), words.position(10), words.position(30));
        assert_eq!(words.number_positions(&shown), "lsn#2 lsn#1 lsn#2");
        assert_eq!(
            words.sentence("since 0/16E9018, and/or 1/A."),
            "since «position», and/or «position»."
        );
        let event = "(event pg-7:0/16E9018:0), (event a3:3e11fa47-71ca-11e1-9e33-c80aa9429562:23:1)";
        assert_eq!(words.sentence(event), "(event «event id»), (event «event id»)");
    }

    #[test]
    fn positions_of_binary_logs_are_in_their_order() {
        let uuid = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
        assert_eq!(log_position(&format!("{uuid}:23")), Some(23));
        assert_eq!(log_position("0-1-23"), Some(23));
        assert!(log_position("binlog.000002:4") > log_position("binlog.000001:900000"));
        for other in ["2026-03-01", "10:30", "a-b-c", "shop.public.t", "0-1-", "x:y"] {
            assert_eq!(log_position(other), None, "{other}");
        }
    }

    #[test]
    fn times_of_the_run_become_words() {
        assert_eq!(time_us("2020-02-03T04:05:06.789000Z"), Some(1_580_702_706_789_000));
        assert_eq!(time_us("1969-12-31T23:59:59"), Some(-1_000_000));
        assert_eq!(time_us("2020-02-03"), None);
        let words = Words::new("shop1", "public");
        assert_eq!(words.time(words.started_us, "x", "«now»"), "«now»");
        assert_eq!(words.time(words.started_us - 1, "x", "«now»"), "x");
    }
}
