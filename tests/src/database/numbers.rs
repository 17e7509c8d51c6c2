//! Rows out of nothing: a query of consecutive numbers, in the words of each database.

use std::ops::Range;

use super::{Database, Server};

/// Ten rows, which all servers can make.
const DIGITS: &str = "select 0 as digit union all select 1 union all select 2 union all select 3 union all select 4 \
                      union all select 5 union all select 6 union all select 7 union all select 8 union all select 9";

impl Database {
    /// A query of these numbers, in a column `n`.
    #[must_use]
    pub fn numbers(&self, Range { start, end }: Range<u64>) -> String {
        match self.server() {
            Server::Postgres(_) => format!("select n from generate_series({start}, {end} - 1) n"),
            Server::MySql(_) => format!(
                "select n from ({}) many where n < {end}",
                numbers_from(start, end.saturating_sub(start))
            ),
        }
    }
}

/// A query of at least so many numbers, from this one on, each a combination of digits.
fn numbers_from(start: u64, count: u64) -> String {
    let places = count.max(2).saturating_sub(1).ilog10() + 1;
    let terms: String = (0..places)
        .map(|place| format!(" + {} * d{place}.digit", 10_u64.pow(place)))
        .collect();
    let tables: Vec<String> = (0..places).map(|place| format!("({DIGITS}) d{place}")).collect();
    format!("select {start}{terms} as n from {}", tables.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_digits_as_numbers_need() {
        for (count, places) in [(1, 1), (10, 1), (11, 2), (100, 2), (101, 3), (100_000, 5)] {
            let query = numbers_from(7, count);
            assert_eq!(query.matches(".digit").count(), places, "{count}: {query}");
        }
        assert!(numbers_from(7, 11).starts_with("select 7 + 1 * d0.digit + 10 * d1.digit as n from"));
    }
}
