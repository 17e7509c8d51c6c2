//! Tables that patterns fit: which those are the server says when it is asked.
//!
//! A grant names a table, a database, or everything, and runs as one statement. What a pattern stands for is in between, and so it is the
//! answers of a query that are run. Names of tables are anybody's who may make one: in the answers they stay within their quotes.

use tailrace_core::pattern::{TablePattern, glob_matches};
use tailrace_sql::grants::fits;

use super::statement;
use crate::config::SYSTEM_SCHEMAS;
use crate::discover::Needed;
use crate::quote::literal;

/// A pattern, and what is left out of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Matched<'a> {
    pub(crate) pattern: &'a TablePattern,
    pub(crate) exclude: &'a [TablePattern],
    pub(crate) needed: Needed,
}

// === impl Matched ===

impl Matched<'_> {
    /// The right to read the whole database that the tables are in, where that may be given: it is named, and nothing of it is left out.
    pub(crate) fn reading(&self, user: &str) -> Option<String> {
        let schema = self.schema()?;
        let is_whole = self.left_out().next().is_none();
        is_whole.then(|| statement::on_schema("SELECT", schema, user))
    }

    /// The right to lock tables, of which there is none on a single table.
    pub(crate) fn locking(&self, user: &str) -> String {
        match self.schema() {
            Some(schema) => statement::on_schema(statement::LOCK, schema, user),
            None => statement::everywhere(statement::LOCK, user),
        }
    }

    /// A query whose answers give rights on each of the tables. Upper and lower case differ in patterns, and not in every catalogue.
    pub(crate) fn query(&self, privileges: &str, user: &str) -> String {
        let types = match self.needed {
            Needed::Log => "= 'BASE TABLE'",
            Needed::Rows => "IN ('BASE TABLE', 'VIEW', 'SYSTEM VERSIONED')",
        };
        let left_out = match self.left_out().map(condition).collect::<Vec<_>>().as_slice() {
            [] => String::new(),
            conditions => format!(" AND NOT ({})", conditions.join(" OR ")),
        };
        format!(
            "SELECT CONCAT({}, REPLACE(d, '`', '``'), '`.`', REPLACE(t, '`', '``'), {}) FROM (SELECT CONVERT(TABLE_SCHEMA USING utf8mb4) COLLATE \
             utf8mb4_bin AS d, CONVERT(TABLE_NAME USING utf8mb4) COLLATE utf8mb4_bin AS t FROM information_schema.TABLES WHERE TABLE_TYPE {types} \
             AND TABLE_SCHEMA NOT IN ({})) AS fitted WHERE {}{left_out} ORDER BY d, t",
            literal(&format!("GRANT {privileges} ON `")),
            literal(&format!("` TO {user};")),
            SYSTEM_SCHEMAS.map(literal).join(", "),
            condition(self.pattern)
        )
    }

    /// What gives the right to read the tables, for who asks why they are not seen.
    pub(crate) fn remedy(&self, user: &str) -> String {
        match (self.pattern.exact(), self.reading(user)) {
            (Some((schema, table)), _) => format!("{};", statement::on_table("SELECT", schema, table, user)),
            (None, Some(grant)) => format!("{grant};"),
            (None, None) => format!("run what this query answers: {};", self.query("SELECT", user)),
        }
    }

    /// The database that the tables are in, where it is named.
    fn schema(&self) -> Option<&str> {
        let is_name = |part: &&str| !part.contains(['*', '?']);
        self.pattern.parts().0.filter(is_name)
    }

    /// What is left out of the database that is named, or of all.
    fn left_out(&self) -> impl Iterator<Item = &TablePattern> {
        let schema = self.schema();
        self.exclude
            .iter()
            .filter(move |pattern| match (schema, pattern.parts().0) {
                (Some(schema), Some(pattern)) => glob_matches(pattern, schema),
                (None, _) | (_, None) => true,
            })
    }
}

fn condition(pattern: &TablePattern) -> String {
    let (schema, table) = pattern.parts();
    let parts = [
        schema.map(|schema| fits("d", schema, literal)),
        Some(fits("t", table, literal)),
    ];
    let parts = Vec::from_iter(parts.into_iter().flatten());
    format!("({})", parts.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: &str = "`u`@`%`";

    fn told(pattern: &str, exclude: &[&str], tell: impl FnOnce(&Matched<'_>) -> String) -> String {
        let parse = |text: &&str| TablePattern::new(text, None);
        tell(&Matched {
            pattern: &parse(&pattern),
            exclude: &Vec::from_iter(exclude.iter().map(parse)),
            needed: Needed::Log,
        })
    }

    #[test]
    fn a_whole_database_is_only_given_where_it_is_meant() {
        let reading =
            |pattern, exclude: &[&str]| told(pattern, exclude, |matched| matched.reading(USER).unwrap_or_default());
        let shop = r"GRANT SELECT ON `my\_shop`.* TO `u`@`%`";
        assert_eq!(reading("my_shop.*", &[]), shop);
        assert_eq!(reading("my_shop.order_?", &["crm.*"]), shop);
        for (pattern, exclude) in [
            ("my_shop.*", "my_shop.cards"),
            ("my_shop.*", "*.cards"),
            ("*.orders", "crm.*"),
            ("shop_?.orders", "crm.*"),
        ] {
            assert_eq!(reading(pattern, &[exclude]), "", "{pattern} without {exclude}");
        }
        assert_eq!(
            told("*.orders", &[], |matched| matched.locking(USER)),
            "GRANT LOCK TABLES ON *.* TO `u`@`%`"
        );
    }

    #[test]
    fn a_query_has_what_is_left_out() {
        let query = told("shop.order_*", &["shop.order_old", "crm.*"], |matched| {
            matched.query("DELETE", USER)
        });
        assert!(
            query.ends_with(
                r" WHERE (d LIKE 'shop' ESCAPE '|' AND t LIKE 'order|_%' ESCAPE '|') AND NOT ((d LIKE 'shop' ESCAPE '|' AND t LIKE 'order|_old' ESCAPE '|')) ORDER BY d, t"
            ),
            "{query}"
        );
        assert!(
            query.starts_with("SELECT CONCAT('GRANT DELETE ON `', REPLACE(d, '`', '``'), "),
            "{query}"
        );
        let remedy = |pattern| told(pattern, &["shop.cards"], |matched| matched.remedy(USER));
        assert_eq!(remedy("\"a.b\".c"), "GRANT SELECT ON `a.b`.`c` TO `u`@`%`;");
        assert_eq!(remedy("crm.*"), "GRANT SELECT ON `crm`.* TO `u`@`%`;");
        assert!(remedy("shop.*").starts_with("run what this query answers: SELECT "));
    }
}
