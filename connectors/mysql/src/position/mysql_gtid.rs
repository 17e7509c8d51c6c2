//! MySQL's sets of transaction identifiers: intervals of numbers per server, and since MySQL 8.3 per tag.
//!
//! A set has one normal form: sources in the order of their UUIDs and tags, intervals sorted, disjoint and never touching. Two sets
//! are equal exactly if their texts are, and that text is what `@@gtid_executed` prints without its line breaks.
//! Source: MySQL 9 manual 19.1.3.1, "GTID Format and Storage".

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// Longest tag, as MySQL has it.
const TAG_BYTES_MAXIMUM: usize = 32;
/// The highest number of a transaction, 2^63 - 2: MySQL's `GNO_END - 1`.
const NUMBER_MAXIMUM: u64 = (1 << 63) - 2;

/// Who gave a transaction its number: a server, and for tagged transactions a name within it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct GtidSource {
    /// `server_uuid` of the server where the transaction was executed first, or the name of a group.
    pub(crate) uuid: [u8; 16],
    /// In lower case; empty where there is none.
    pub(crate) tag: String,
}

/// One transaction.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct MySqlGtid {
    /// Who numbered it.
    pub(crate) source: GtidSource,
    /// From 1 on.
    pub(crate) number: u64,
}

/// Executed transactions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct MySqlGtidSet {
    sources: BTreeMap<GtidSource, Intervals>,
}

/// Sorted, disjoint, and with at least one number missing between two of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Intervals(Vec<Interval>);

/// Numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Interval {
    first: u64,
    last: u64,
}

/// A text is no set of MySQL's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no set of MySQL's transaction identifiers")]
pub(crate) struct InvalidGtidSet(pub(crate) String);

// === impl MySqlGtidSet ===

impl MySqlGtidSet {
    /// Nothing is in it.
    pub(crate) fn is_empty(&self) -> bool {
        self.sources.is_empty()
    }

    /// A transaction is in it.
    pub(crate) fn contains(&self, gtid: &MySqlGtid) -> bool {
        let intervals = self.sources.get(&gtid.source);
        intervals.is_some_and(|intervals| intervals.contains(gtid.number))
    }

    /// Some transaction in it was executed first on this server.
    pub(crate) fn names(&self, uuid: [u8; 16]) -> bool {
        self.sources.keys().any(|source| source.uuid == uuid)
    }

    /// Adds one transaction. The usual one, which follows the last of its source, costs nothing.
    pub(crate) fn add(&mut self, gtid: &MySqlGtid) {
        let one = Interval {
            first: gtid.number,
            last: gtid.number,
        };
        if let Some(intervals) = self.sources.get_mut(&gtid.source) {
            return intervals.insert(one);
        }
        self.sources.insert(gtid.source.clone(), Intervals(vec![one]));
    }

    /// What is in this set and not in the other.
    pub(crate) fn minus(&self, other: &Self) -> Self {
        let left = self.sources.iter().filter_map(|(source, intervals)| {
            let left = match other.sources.get(source) {
                Some(others) => intervals.minus(others),
                None => intervals.clone(),
            };
            (!left.0.is_empty()).then(|| (source.clone(), left))
        });
        Self {
            sources: left.collect(),
        }
    }

    /// Every transaction of this set is in the other.
    pub(crate) fn is_subset_of(&self, other: &Self) -> bool {
        self.minus(other).is_empty()
    }
}

impl fmt::Display for MySqlGtidSet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut uuid_before = None;
        for (source, intervals) in &self.sources {
            if uuid_before != Some(source.uuid) {
                let separator = if uuid_before.is_some() { "," } else { "" };
                write!(formatter, "{separator}{}", UuidText(source.uuid))?;
                uuid_before = Some(source.uuid);
            }
            if !source.tag.is_empty() {
                write!(formatter, ":{}", source.tag)?;
            }
            write!(formatter, "{intervals}")?;
        }
        Ok(())
    }
}

impl FromStr for MySqlGtidSet {
    type Err = InvalidGtidSet;

    /// Spaces and line breaks do not count, intervals may come in any order and overlap.
    fn from_str(text: &str) -> Result<Self, InvalidGtidSet> {
        let invalid = || InvalidGtidSet(text.to_owned());
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        let mut set = Self::default();
        for part in compact.split(',').filter(|part| !part.is_empty()) {
            set.parse_server(part).ok_or_else(invalid)?;
        }
        Ok(set)
    }
}

impl MySqlGtidSet {
    /// `uuid:1-5:7:tag:1-3`; a tag holds for the intervals after it.
    fn parse_server(&mut self, text: &str) -> Option<()> {
        let mut parts = text.split(':');
        let uuid = parse_uuid(parts.next()?)?;
        let mut tag = String::new();
        let mut pending = true;
        for part in parts {
            if part.starts_with(|c: char| c.is_ascii_digit()) {
                let source = GtidSource { uuid, tag: tag.clone() };
                let interval = Interval::parse(part)?;
                self.sources.entry(source).or_default().insert(interval);
                pending = false;
            } else {
                // Each tag is followed by what it holds for.
                if !tag.is_empty() && pending {
                    return None;
                }
                tag = parse_tag(part)?;
                pending = true;
            }
        }
        (!pending).then_some(())
    }
}

// === impl MySqlGtid ===

impl fmt::Display for MySqlGtid {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", UuidText(self.source.uuid))?;
        if !self.source.tag.is_empty() {
            write!(formatter, ":{}", self.source.tag)?;
        }
        write!(formatter, ":{}", self.number)
    }
}

// === impl Intervals ===

impl Intervals {
    fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|interval| interval.last < number);
        self.0.get(at).is_some_and(|interval| interval.first <= number)
    }

    fn insert(&mut self, new: Interval) {
        if let Some(last) = self.0.last_mut()
            && last.last + 1 == new.first
        {
            last.last = new.last;
            return;
        }
        // Those that overlap or touch the new one become one with it.
        let from = self.0.partition_point(|interval| interval.last + 1 < new.first);
        let to = self.0.partition_point(|interval| interval.first <= new.last + 1);
        let met = self.0.get(from..to).unwrap_or_default();
        let merged = Interval {
            first: met.first().map_or(new.first, |met| met.first.min(new.first)),
            last: met.last().map_or(new.last, |met| met.last.max(new.last)),
        };
        drop(self.0.splice(from..to, [merged]));
    }

    fn minus(&self, other: &Self) -> Self {
        let mut left = Vec::new();
        for interval in &self.0 {
            let mut first = interval.first;
            let from = other.0.partition_point(|cut| cut.last < interval.first);
            let cuts = other.0.iter().skip(from).take_while(|cut| cut.first <= interval.last);
            for cut in cuts {
                if first < cut.first {
                    left.push(Interval {
                        first,
                        last: cut.first - 1,
                    });
                }
                first = cut.last + 1;
            }
            if first <= interval.last {
                left.push(Interval {
                    first,
                    last: interval.last,
                });
            }
        }
        Self(left)
    }
}

impl fmt::Display for Intervals {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for interval in &self.0 {
            if interval.first == interval.last {
                write!(formatter, ":{}", interval.first)?;
            } else {
                write!(formatter, ":{}-{}", interval.first, interval.last)?;
            }
        }
        Ok(())
    }
}

// === impl Interval ===

impl Interval {
    fn parse(text: &str) -> Option<Self> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let interval = Self {
            first: first.parse().ok()?,
            last: last.parse().ok()?,
        };
        (1 <= interval.first && interval.first <= interval.last && interval.last <= NUMBER_MAXIMUM).then_some(interval)
    }
}

// === parts of the text ===

struct UuidText([u8; 16]);

impl fmt::Display for UuidText {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, byte) in self.0.iter().enumerate() {
            if matches!(index, 4 | 6 | 8 | 10) {
                formatter.write_str("-")?;
            }
            write!(formatter, "{byte:02x}")?;
        }
        Ok(())
    }
}

/// 32 hexadecimal digits, with or without the usual hyphens.
pub(crate) fn parse_uuid(text: &str) -> Option<[u8; 16]> {
    let digits: Vec<u32> = text
        .chars()
        .filter(|c| *c != '-')
        .map(|c| c.to_digit(16))
        .collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits
        .chunks_exact(2)
        .filter_map(|pair| match pair {
            [high, low] => u8::try_from(high << 4 | low).ok(),
            _ => None,
        })
        .collect();
    (digits.len() == 32).then(|| bytes.try_into().ok()).flatten()
}

fn parse_tag(text: &str) -> Option<String> {
    let tag = text.to_ascii_lowercase();
    let begins = tag.starts_with(|c: char| c.is_ascii_lowercase() || c == '_');
    let goes_on = tag
        .bytes()
        .all(|byte| byte == b'_' || byte.is_ascii_lowercase() || byte.is_ascii_digit());
    (begins && goes_on && tag.len() <= TAG_BYTES_MAXIMUM).then_some(tag)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const A: &str = "3e11fa47-71ca-11e1-9e33-c80aa9429562";
    const B: &str = "4e11fa47-71ca-11e1-9e33-c80aa9429562";

    fn set(text: &str) -> MySqlGtidSet {
        text.replace('A', A).replace('B', B).parse().unwrap()
    }

    fn gtid(text: &str, tag: &str, number: u64) -> MySqlGtid {
        let source = GtidSource {
            uuid: parse_uuid(text).unwrap(),
            tag: tag.to_owned(),
        };
        MySqlGtid { source, number }
    }

    #[test]
    fn the_normal_form_is_what_the_server_prints() {
        for (text, normal) in [
            ("", ""),
            (",", ""),
            ("A:1", "A:1"),
            ("A:1-5", "A:1-5"),
            ("A:1-100:102-200", "A:1-100:102-200"),
            ("A:5:1-4", "A:1-5"),
            ("A:3-9:1-5", "A:1-9"),
            ("B:1,\nA:1-3", "A:1-3,B:1"),
            ("A:1-2,A:4,A:3", "A:1-4"),
            ("A:1-5:Tag_1:7:9:other:1,B:t:1", "A:1-5:other:1:tag_1:7:9,B:t:1"),
            ("A:1:9223372036854775806", "A:1:9223372036854775806"),
        ] {
            assert_eq!(set(text).to_string(), normal.replace('A', A).replace('B', B), "{text}");
        }
        let without_hyphens: MySqlGtidSet = format!("{}:1", A.replace('-', "").to_uppercase()).parse().unwrap();
        assert_eq!(without_hyphens, set("A:1"));
    }

    #[test]
    fn what_is_no_set_is_refused() {
        for text in [
            "A",
            "A:",
            "A:0",
            "A:5-3",
            "A:1-",
            "A:-1",
            "A:x-",
            "A:1:tag",
            "A:tag",
            "A:tag:other:1",
            "A:1 :é:1",
            "A:9223372036854775807",
            "A:99999999999999999999",
            "0-1-12",
            "zz:1",
            "A0:1",
            "A:1;B:1",
        ] {
            let text = text.replace('A', A).replace('B', B);
            assert!(text.parse::<MySqlGtidSet>().is_err(), "{text}");
        }
        assert!(format!("{A}:{}:1", "t".repeat(33)).parse::<MySqlGtidSet>().is_err());
    }

    #[test]
    fn sets_with_gaps_are_compared_number_by_number() {
        // A restored set that was merged as ranges would claim what was never carried.
        let (carried, restored) = (set("A:1-100:102-200"), set("A:106-150"));
        assert!(restored.is_subset_of(&carried));
        assert!(!carried.is_subset_of(&restored));
        assert_eq!(carried.minus(&restored), set("A:1-100:102-105:151-200"));
        assert!(!set("A:1-200").is_subset_of(&carried));
        assert_eq!(set("A:1-200").minus(&carried), set("A:101"));
        assert!(!set("A:1").is_subset_of(&set("B:1")) && !set("A:1").is_subset_of(&set("A:t:1")));
    }

    #[test]
    fn transactions_are_added_one_by_one() {
        let mut all = MySqlGtidSet::default();
        for number in [1, 2, 5, 4, 3, 3] {
            all.add(&gtid(A, "", number));
        }
        all.add(&gtid(A, "batch", 1));
        assert_eq!(all, set("A:1-5:batch:1"));
        assert!(all.contains(&gtid(A, "", 3)) && !all.contains(&gtid(A, "", 6)) && !all.contains(&gtid(B, "", 3)));
        assert_eq!(gtid(A, "batch", 7).to_string(), format!("{A}:batch:7"));
    }

    fn from_numbers(numbers: &BTreeSet<u64>) -> MySqlGtidSet {
        let mut set = MySqlGtidSet::default();
        numbers.iter().rev().for_each(|number| set.add(&gtid(A, "", *number)));
        set
    }

    proptest! {
        /// Set arithmetic on intervals is set arithmetic on numbers.
        #[test]
        fn arithmetic_is_that_of_sets(
            a in prop::collection::btree_set(1_u64..40, 0..30),
            b in prop::collection::btree_set(1_u64..40, 0..30),
        ) {
            let (left, right) = (from_numbers(&a), from_numbers(&b));
            let difference: BTreeSet<u64> = a.difference(&b).copied().collect();
            prop_assert_eq!(left.minus(&right), from_numbers(&difference));
            prop_assert_eq!(left.is_subset_of(&right), a.is_subset(&b));
            prop_assert_eq!(left.to_string().parse::<MySqlGtidSet>().unwrap(), left.clone());
            for number in 1..40 {
                prop_assert_eq!(left.contains(&gtid(A, "", number)), a.contains(&number));
            }
        }

        /// Whatever bytes come, reading them ends with a set or an error.
        #[test]
        fn any_text_is_read_or_refused(text in "[0-9a-f:,_t-]{0,60}") {
            if let Ok(set) = text.parse::<MySqlGtidSet>() {
                prop_assert_eq!(set.to_string().parse::<MySqlGtidSet>().unwrap(), set);
            }
        }
    }
}
