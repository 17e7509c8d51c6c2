//! What change tables, their columns and triggers are called, and the mark by which they are known again.
//!
//! Two tables never have one change table: a name that fits is the table's own behind a prefix; one that does not is cut, gets a
//! hash of the whole name, and begins with a prefix that no name that fits can begin with.

use std::fmt;

use tailrace_core::schema::TableName;

/// How long names may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameLimit {
    /// As long as they like.
    None,
    /// At most so many bytes of UTF-8.
    Bytes(usize),
    /// At most so many characters.
    Characters(usize),
}

/// FNV-1a, because the standard hasher is not promised to stay the same between releases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint(u64);

/// What the comment of a change table begins with.
const MARK: &str = "Tailrace: changes of ";
/// What stands between the captured table's name and the fingerprint.
const MARK_VERSION: &str = ", version ";

/// The change table of a table.
pub fn change_table(table: &str, limit: NameLimit) -> String {
    limited("changes", table, limit)
}

/// The trigger of a table for one event (`insert`, `update`, `delete`), where all triggers of a schema share their names.
pub(super) fn trigger(event: &str, table: &str, limit: NameLimit) -> String {
    limited(event, table, limit)
}

/// The column with the value before.
pub fn before(column: &str, limit: NameLimit) -> String {
    column_name("old", column, limit)
}

/// The column with the value after.
pub fn after(column: &str, limit: NameLimit) -> String {
    column_name("new", column, limit)
}

/// The captured column that a column of a change table holds the value after of. Names that were cut stay cut.
pub fn captured_column(after: &str) -> Option<&str> {
    after.strip_prefix("new_").or_else(|| after.strip_prefix("long_new_"))
}

/// The column with the value before that belongs to one with the value after.
pub fn before_of(after: &str) -> Option<String> {
    let plain = after.strip_prefix("new_").map(|name| format!("old_{name}"));
    plain.or_else(|| after.strip_prefix("long_new_").map(|name| format!("long_old_{name}")))
}

fn limited(what: &str, name: &str, limit: NameLimit) -> String {
    let plain = format!("tailrace_{what}_{name}");
    if limit.holds(&plain) {
        return plain;
    }
    limit.cut(&format!("tailrace_long_{what}_"), name)
}

fn column_name(side: &str, column: &str, limit: NameLimit) -> String {
    let plain = format!("{side}_{column}");
    if limit.holds(&plain) {
        return plain;
    }
    limit.cut(&format!("long_{side}_"), column)
}

/// The comment of a change table.
pub(super) fn mark(captured: &TableName, fingerprint: Fingerprint) -> String {
    format!("{}{MARK_VERSION}{fingerprint}", mark_without_version(captured))
}

/// The same where it cannot be written anew for another version.
pub(super) fn mark_without_version(captured: &TableName) -> String {
    format!("{MARK}{}", captured.qualified())
}

/// Whether a comment is that of a change table.
pub fn is_mark(comment: &str) -> bool {
    comment.starts_with(MARK)
}

/// The fingerprint in a comment.
pub fn fingerprint_in(comment: &str) -> Option<&str> {
    comment.rsplit_once(MARK_VERSION).map(|(_, fingerprint)| fingerprint)
}

/// The qualified name of the captured table in a comment.
pub fn captured_in(comment: &str) -> Option<&str> {
    let name = comment.strip_prefix(MARK)?;
    Some(name.rsplit_once(MARK_VERSION).map_or(name, |(name, _)| name))
}

// === impl NameLimit ===

impl NameLimit {
    fn holds(self, name: &str) -> bool {
        match self {
            Self::None => true,
            Self::Bytes(limit) => name.len() <= limit,
            Self::Characters(limit) => name.chars().count() <= limit,
        }
    }

    /// The prefix, as much of the name as there is room for, and a hash of all of it.
    fn cut(self, prefix: &str, name: &str) -> String {
        let end = format!("_{}", Fingerprint::of(&[name]));
        let mut cut = name.to_owned();
        while !cut.is_empty() && !self.holds(&format!("{prefix}{cut}{end}")) {
            cut.pop();
        }
        format!("{prefix}{cut}{end}")
    }
}

// === impl Fingerprint ===

impl Fingerprint {
    /// Of several texts, one after the other.
    pub fn of(texts: &[&str]) -> Self {
        texts
            .iter()
            .fold(Self(0xcbf2_9ce4_8422_2325), |all, text| all.and(text))
    }

    /// With another text behind. No byte of UTF-8 is the one that ends a text.
    #[must_use]
    pub fn and(self, text: &str) -> Self {
        let bytes = text.bytes().chain([0xff]);
        Self(bytes.fold(self.0, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
        }))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_fit_are_plain_and_others_are_cut_with_a_hash() {
        assert_eq!(change_table("orders", NameLimit::Bytes(63)), "tailrace_changes_orders");
        let long = "o".repeat(60);
        let cut = change_table(&long, NameLimit::Bytes(63));
        assert_eq!(cut.len(), 63);
        assert!(cut.starts_with("tailrace_long_changes_ooo"), "{cut}");
        assert_ne!(cut, change_table(&format!("{long}p"), NameLimit::Bytes(63)));
        assert_eq!(change_table(&long, NameLimit::None), format!("tailrace_changes_{long}"));
        // Characters of several bytes are not cut apart.
        let umlauts = change_table(&"ü".repeat(60), NameLimit::Bytes(63));
        assert!(umlauts.len() <= 63 && umlauts.contains('ü'));
        assert_eq!(
            change_table(&"ü".repeat(60), NameLimit::Characters(64)).chars().count(),
            64
        );
    }

    #[test]
    fn no_two_tables_share_a_name() {
        let longest = "x".repeat(63 - "tailrace_changes_".len());
        let cut = change_table(&format!("{longest}x"), NameLimit::Bytes(63));
        let ending = cut.strip_prefix("tailrace_long_changes_").unwrap();
        let names = [
            change_table(&longest, NameLimit::Bytes(63)),
            change_table(ending, NameLimit::Bytes(63)),
            cut.clone(),
        ];
        assert_eq!(std::collections::BTreeSet::from(names).len(), 3);
    }

    #[test]
    fn columns_are_found_again() {
        let limit = NameLimit::Bytes(63);
        assert_eq!(captured_column(&after("id", limit)), Some("id"));
        assert_eq!(before_of("new_id").as_deref(), Some("old_id"));
        let long = "c".repeat(63);
        assert_eq!(before_of(&after(&long, limit)), Some(before(&long, limit)));
        assert_eq!(captured_column("op"), None);
    }

    #[test]
    fn a_mark_names_table_and_version() {
        let name = TableName {
            database: "d".to_owned(),
            schema: "public".to_owned(),
            table: "orders, version 1".to_owned(),
        };
        let fingerprint = Fingerprint::of(&["a"]);
        let mark = mark(&name, fingerprint);
        assert!(is_mark(&mark));
        assert_eq!(captured_in(&mark), Some("public.orders, version 1"));
        assert_eq!(fingerprint_in(&mark), Some(fingerprint.to_string().as_str()));
        assert_ne!(Fingerprint::of(&["ab", "c"]), Fingerprint::of(&["a", "bc"]));
    }
}
