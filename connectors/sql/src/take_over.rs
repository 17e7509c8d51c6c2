//! Going on where Kafka Connect's JDBC source stopped.
//!
//! | its `mode` stores | and ours | goes on |
//! |---|---|---|
//! | `incrementing`: the id of the last row | `incrementing` | behind it |
//! | `timestamp+incrementing`: time and id of the last row | `timestamp_incrementing` | behind it, in the same order of time and id |
//! | `timestamp`: the time of the last row | either of those with a time | with the rows of that time again: nothing says which of them were read |
//!
//! Its times are moments. A column without a zone holds what its `db.timezone` made of them, which is UTC unless it was set. Where a driver
//! reads a column with a zone as text, as those of MySQL and MariaDB do, that is true of what the text says; see [`Matched::moments`].

use std::collections::BTreeMap;

use tailrace_core::calendar::Civil;
use tailrace_core::predecessor::JdbcOffset;
use tailrace_core::value::LogicalType;
use tailrace_core::{Error, Result};

use crate::config::{QueryConfig, QueryMode};
use crate::cursor::{Cursor, CursorValue, Cursors};
use crate::dialect::DiscoveredTable;
use crate::plan::{PolledTable, blocking_error};

/// Microseconds of a day.
const DAY_US: i64 = 86_400_000_000;

/// Tables, and the offsets that are theirs.
pub struct Matched {
    taken: Vec<Taken>,
    /// Tables without an offset.
    new: Vec<String>,
    /// Offsets of other tables.
    foreign: Vec<String>,
}

/// A table, and how far it was read.
pub struct Taken {
    plan: PolledTable,
    offset: JdbcOffset,
    /// How its time was understood.
    note: Option<String>,
}

// === impl Matched ===

impl Matched {
    /// Finds the offset of each table. All pairs are looked at first: an offset that names its table in part may fit several.
    ///
    /// # Errors
    /// Definite `offsets_ambiguous`, `offsets_missing`, and the code of what blocks a table from being polled.
    pub fn of(tables: Vec<DiscoveredTable>, config: &QueryConfig, offsets: &[JdbcOffset]) -> Result<Self> {
        let plans = tables.into_iter().map(|table| PolledTable::resolve(table, config));
        let plans: Result<Vec<PolledTable>, _> = plans.collect();
        let plans = plans.map_err(|finding| blocking_error(&finding))?;
        let mut left: BTreeMap<&str, &JdbcOffset> = offsets.iter().map(|offset| (&*offset.table, offset)).collect();
        for name in left.keys() {
            refuse_several(name, plans.iter().filter(|plan| is_of(name, plan)))?;
        }
        let (mut taken, mut new) = (Vec::new(), Vec::new());
        for plan in plans {
            match take_one(&mut left, &plan)? {
                Some(offset) => taken.push(Taken {
                    offset: offset.clone(),
                    plan,
                    note: None,
                }),
                None => new.push(plan.name()),
            }
        }
        let foreign: Vec<String> = left.into_keys().map(str::to_owned).collect();
        if taken.is_empty() {
            let message = format!(
                "none of the connector's tables has an offset there; there are offsets of {}",
                foreign.join(", ")
            );
            return Err(Error::definite("offsets_missing", message));
        }
        Ok(Self { taken, new, foreign })
    }

    /// Tables that are read by a column of moments, for databases whose drivers do not read these as such.
    pub fn moments(&mut self) -> impl Iterator<Item = &mut Taken> {
        let of_moments = |taken: &&mut Taken| matches!(time_type(&taken.plan), Some(LogicalType::TimestampTz { .. }));
        self.taken.iter_mut().filter(of_moments)
    }

    /// The cursor of each table that has an offset, and what there is to know.
    ///
    /// # Errors
    /// Definite `offsets_foreign` where an offset says nothing in the table's mode, `offsets_unreadable`.
    pub fn cursors(self) -> Result<(Cursors, Vec<String>)> {
        let (mut cursors, mut notes) = (Cursors::new(), Vec::new());
        for Taken { plan, offset, note } in self.taken {
            let cursor = cursor(&plan, &offset)?;
            notes.push(told(&plan, &cursor));
            notes.extend(note.or_else(|| note_of_zoneless(&plan)));
            cursors.insert(plan.name(), cursor);
        }
        if !self.new.is_empty() {
            notes.push(format!("{}: no offset, read from the first row", self.new.join(", ")));
        }
        if !self.foreign.is_empty() {
            notes.push(format!(
                "there are offsets of tables that this connector does not read: {}",
                self.foreign.join(", ")
            ));
        }
        Ok((cursors, notes))
    }
}

// === impl Taken ===

impl Taken {
    /// The time of the offset, microseconds since 1970, where it has one.
    pub fn time_us(&self) -> Option<i64> {
        self.offset.timestamp_us
    }

    /// The table's name, and that of its column.
    pub fn column(&self) -> (String, &str) {
        (self.plan.name(), self.plan.timestamp_name())
    }

    /// The time of the offset is this moment, because of what the note says.
    pub fn set_moment(&mut self, us: i64, note: String) {
        self.offset.timestamp_us = Some(us);
        self.note = Some(note);
    }
}

/// Whether an offset may be that of a table, which it names in full or leaves out what is in front: `shop.public.orders`, `public.orders`,
/// `orders`.
fn is_of(name: &str, plan: &PolledTable) -> bool {
    let table = &plan.table.schema.name;
    let own = [&*table.table, &*table.schema, &*table.database]
        .into_iter()
        .filter(|part| !part.is_empty());
    let named = name.split('.').map(|part| part.trim_matches(['"', '`'])).rev();
    named.zip(own).all(|(named, own)| named == own)
}

fn refuse_several<'p>(name: &str, fitting: impl Iterator<Item = &'p PolledTable>) -> Result<()> {
    let fitting: Vec<String> = fitting.map(PolledTable::name).collect();
    if fitting.len() < 2 {
        return Ok(());
    }
    let message = format!(
        "the offset of `{name}` may be that of any of {}; hand it over with --connect-json and the table's full name",
        fitting.join(", ")
    );
    Err(Error::definite("offsets_ambiguous", message))
}

fn take_one<'o>(left: &mut BTreeMap<&'o str, &'o JdbcOffset>, plan: &PolledTable) -> Result<Option<&'o JdbcOffset>> {
    let found: Vec<&str> = left.keys().copied().filter(|name| is_of(name, plan)).collect();
    match found.as_slice() {
        [] => Ok(None),
        [name] => Ok(left.remove(*name)),
        _ => {
            let message = format!(
                "offsets of several tables may be those of {}: {}; hand over the right ones with --connect-json",
                plan.name(),
                found.join(", ")
            );
            Err(Error::definite("offsets_ambiguous", message))
        }
    }
}

fn cursor(plan: &PolledTable, offset: &JdbcOffset) -> Result<Cursor> {
    let id = plan.id_column.and(offset.incrementing);
    let cursor = match (plan.mode, offset.timestamp_us, offset.incrementing) {
        (QueryMode::Incrementing, None, Some(id)) => Cursor {
            id: Some(CursorValue::Integer(id)),
            load_end: Some(id),
            ..Cursor::default()
        },
        (QueryMode::Timestamp | QueryMode::TimestampIncrementing, Some(time_us), incrementing)
            if id.is_some() || incrementing.is_none() =>
        {
            // Without an id the rows of the last time come again: behind the microsecond before.
            let behind_us = if id.is_some() {
                Some(time_us)
            } else {
                time_us.checked_sub(1)
            };
            let stored = behind_us.and_then(|behind_us| stored_time(plan, behind_us));
            Cursor {
                id: id.map(CursorValue::Integer),
                timestamp: Some(CursorValue::Text(stored.ok_or_else(|| no_time(plan, time_us))?)),
                timestamp_us: behind_us,
                load_end: Some(time_us),
                highest_id: id,
                ..Cursor::default()
            }
        }
        _ => return Err(another_mode(plan, offset)),
    };
    Ok(cursor)
}

fn another_mode(plan: &PolledTable, offset: &JdbcOffset) -> Error {
    let mode = match (offset.timestamp_us, offset.incrementing) {
        (Some(_), Some(_)) => "timestamp_incrementing",
        (Some(_), None) => "timestamp",
        (None, Some(_)) => "incrementing",
        (None, None) => "bulk",
    };
    let message = format!(
        "the offset of {} was made in mode `{mode}`, and means nothing in mode `{}`; set `query: {{ mode: {mode} }}`, with the same columns, \
         or an override for this table",
        plan.name(),
        plan.mode.name()
    );
    Error::definite("offsets_foreign", message)
}

fn no_time(plan: &PolledTable, time_us: i64) -> Error {
    let message = format!(
        "the offset of {} is a moment ({time_us} µs since 1970) that column {} cannot be compared with; it is to be a date or a timestamp",
        plan.name(),
        plan.timestamp_name()
    );
    Error::definite("offsets_unreadable", message)
}

fn time_type(plan: &PolledTable) -> Option<&LogicalType> {
    let column = plan.table.schema.columns.get(plan.timestamp_column?)?;
    Some(&column.logical_type)
}

fn note_of_zoneless(plan: &PolledTable) -> Option<String> {
    let is_zoneless = matches!(time_type(plan), Some(LogicalType::Timestamp { .. } | LogicalType::Date));
    is_zoneless.then(|| {
        format!(
            "column {} of {} has no time zone: it is taken to hold UTC, as with the other connector's `db.timezone` UTC, which is its default",
            plan.timestamp_name(),
            plan.name()
        )
    })
}

/// A moment as the database reads it where it is compared with the column.
fn stored_time(plan: &PolledTable, us: i64) -> Option<String> {
    let (day, time) = day_and_time(us)?;
    match time_type(plan)? {
        LogicalType::Date => Some(day),
        LogicalType::Timestamp { .. } => Some(format!("{day} {time}")),
        LogicalType::TimestampTz { .. } => Some(format!("{day} {time}+00:00")),
        _ => None,
    }
}

/// A time as a clock shows it that began at 1970: `2026-01-31 10:00:00.123456`. None outside of the years that databases write with
/// four digits.
pub fn clock_text(us: i64) -> Option<String> {
    let (day, time) = day_and_time(us)?;
    Some(format!("{day} {time}"))
}

fn day_and_time(us: i64) -> Option<(String, String)> {
    let date = Civil::from_days(us.div_euclid(DAY_US));
    if !(1..=9999).contains(&date.year) {
        return None;
    }
    let day = format!("{:04}-{:02}-{:02}", date.year, date.month, date.day);
    let (seconds, fraction) = (us.rem_euclid(DAY_US) / 1_000_000, us.rem_euclid(1_000_000));
    let (hours, minutes) = (seconds / 3_600, seconds / 60 % 60);
    let time = format!("{hours:02}:{minutes:02}:{:02}.{fraction:06}", seconds % 60);
    Some((day, time))
}

fn told(plan: &PolledTable, cursor: &Cursor) -> String {
    let name = plan.name();
    match (&cursor.timestamp, &cursor.id) {
        (Some(time), Some(id)) => format!("{name}: behind the row of {time} with id {id}"),
        (Some(time), None) => format!("{name}: behind {time}, so that the rows of the last time come again"),
        (None, Some(id)) => format!("{name}: behind id {id}"),
        (None, None) => format!("{name}: from the first row"),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;
    use tailrace_core::schema::{Column, TableKind, TableName, TableSchema};

    use super::*;

    fn column(name: &str, logical_type: LogicalType) -> Column {
        Column {
            name: name.to_owned(),
            source_type: String::new(),
            logical_type,
            nullable: false,
            default: None,
            default_is_computed: false,
            documentation: None,
        }
    }

    fn table(time: LogicalType) -> DiscoveredTable {
        let schema = TableSchema {
            name: TableName {
                database: "shop".to_owned(),
                schema: "public".to_owned(),
                table: "orders".to_owned(),
            },
            kind: TableKind::Table,
            columns: vec![column("id", LogicalType::Int64), column("changed", time)],
            key: vec![0],
            documentation: None,
        };
        DiscoveredTable {
            schema: Arc::new(schema),
            generated_id: None,
            unique_columns: vec!["id".to_owned()],
            indexes: Vec::new(),
            query: None,
        }
    }

    fn config(mode: QueryMode) -> QueryConfig {
        QueryConfig {
            timestamp_column: Some("changed".to_owned()),
            ..QueryConfig::new(mode)
        }
    }

    /// Of the tables, from offsets.
    fn cursors(
        tables: Vec<DiscoveredTable>,
        config: &QueryConfig,
        offsets: &[JdbcOffset],
    ) -> Result<(Cursors, Vec<String>)> {
        Matched::of(tables, config, offsets)?.cursors()
    }

    fn offset(incrementing: Option<i64>, timestamp_us: Option<i64>) -> JdbcOffset {
        JdbcOffset {
            table: "shop.public.orders".to_owned(),
            incrementing,
            timestamp_us,
        }
    }

    fn taken(mode: QueryMode, stored: JdbcOffset) -> Result<Cursor, &'static str> {
        let tables = vec![table(LogicalType::TimestampTz { precision: 6 })];
        let cursors = cursors(tables, &config(mode), &[stored]).map_err(|error| error.code())?;
        Ok(cursors.0["public.orders"].clone())
    }

    /// 2026-01-31 10:00:00.123456
    const TIME_US: i64 = 1_769_853_600_123_456;

    #[test]
    fn each_mode_goes_on_where_the_same_mode_stopped() {
        let cursor = taken(QueryMode::Incrementing, offset(Some(17), None)).unwrap();
        assert_eq!((cursor.id, cursor.load_end), (Some(CursorValue::Integer(17)), Some(17)));
        let cursor = taken(QueryMode::TimestampIncrementing, offset(Some(17), Some(TIME_US))).unwrap();
        let stored = CursorValue::Text("2026-01-31 10:00:00.123456+00:00".to_owned());
        assert_eq!(
            (cursor.id, cursor.timestamp),
            (Some(CursorValue::Integer(17)), Some(stored))
        );
        assert_eq!(cursor.timestamp_us, Some(TIME_US));
    }

    #[test]
    fn without_an_id_the_rows_of_the_last_time_come_again() {
        for mode in [QueryMode::Timestamp, QueryMode::TimestampIncrementing] {
            let cursor = taken(mode, offset(None, Some(TIME_US))).unwrap();
            let stored = CursorValue::Text("2026-01-31 10:00:00.123455+00:00".to_owned());
            assert_eq!((cursor.id, cursor.timestamp), (None, Some(stored)));
        }
    }

    #[test]
    fn another_mode_is_refused() {
        for (mode, stored) in [
            (QueryMode::Incrementing, offset(Some(17), Some(TIME_US))),
            (QueryMode::Incrementing, offset(None, Some(TIME_US))),
            (QueryMode::TimestampIncrementing, offset(Some(17), None)),
            (QueryMode::Timestamp, offset(None, None)),
            (QueryMode::Bulk, offset(Some(17), None)),
            (QueryMode::Queue, offset(Some(17), None)),
        ] {
            assert_eq!(
                taken(mode, stored.clone()).unwrap_err(),
                "offsets_foreign",
                "{mode:?} {stored:?}"
            );
        }
    }

    #[test]
    fn tables_are_found_by_the_end_of_their_names() {
        let found = |names: &[&str]| {
            let offsets: Vec<JdbcOffset> = names
                .iter()
                .map(|name| JdbcOffset {
                    table: (*name).to_owned(),
                    ..offset(Some(1), None)
                })
                .collect();
            let tables = vec![table(LogicalType::Timestamp { precision: 6 })];
            cursors(tables, &config(QueryMode::Incrementing), &offsets)
                .map(|(_, notes)| notes.join("\n"))
                .map_err(|error| error.code())
        };
        for name in [
            "shop.public.orders",
            "public.orders",
            "orders",
            "\"shop\".\"public\".\"orders\"",
        ] {
            assert!(found(&[name]).is_ok(), "{name}");
        }
        for name in ["crm.public.orders", "shop.orders", "xorders", ""] {
            assert_eq!(found(&[name]), Err("offsets_missing"), "{name}");
        }
        assert_eq!(found(&["orders", "shop.public.orders"]), Err("offsets_ambiguous"));
        assert!(
            found(&["orders", "crm.public.people"])
                .unwrap()
                .contains("crm.public.people")
        );
    }

    #[test]
    fn an_offset_that_fits_several_tables_is_refused_whichever_comes_first() {
        let named = |schema: &str| {
            let mut table = table(LogicalType::Timestamp { precision: 6 });
            let mut own = (*table.schema).clone();
            own.name.schema = schema.to_owned();
            table.schema = Arc::new(own);
            table
        };
        let taken = |names: &[&str]| {
            let offsets = names.iter().map(|name| JdbcOffset {
                table: (*name).to_owned(),
                ..offset(Some(1), None)
            });
            let offsets: Vec<JdbcOffset> = offsets.collect();
            let tables = vec![named("archive"), named("public")];
            cursors(tables, &config(QueryMode::Incrementing), &offsets)
                .map(|(cursors, _)| cursors.into_keys().collect::<Vec<_>>())
                .map_err(|error| error.code())
        };
        assert_eq!(taken(&["orders"]), Err("offsets_ambiguous"));
        assert_eq!(taken(&["archive.orders", "orders"]), Err("offsets_ambiguous"));
        assert_eq!(taken(&["public.orders"]), Ok(vec!["public.orders".to_owned()]));
        assert_eq!(
            taken(&["public.orders", "shop.archive.orders"]).map(|tables| tables.len()),
            Ok(2)
        );
    }

    #[test]
    fn only_columns_of_moments_are_asked_about() {
        let moments = |logical_type| {
            let offsets = [offset(Some(1), Some(TIME_US))];
            let config = config(QueryMode::TimestampIncrementing);
            let mut matched = Matched::of(vec![table(logical_type)], &config, &offsets).unwrap();
            for taken in matched.moments() {
                taken.set_moment(TIME_US - 1_000_000, "an hour".to_owned());
            }
            let (cursors, notes) = matched.cursors().unwrap();
            (cursors["public.orders"].timestamp_us, notes.join("\n"))
        };
        let (us, notes) = moments(LogicalType::TimestampTz { precision: 6 });
        assert_eq!(us, Some(TIME_US - 1_000_000));
        assert!(notes.contains("an hour"), "{notes}");
        let (us, notes) = moments(LogicalType::Timestamp { precision: 6 });
        assert_eq!(us, Some(TIME_US));
        assert!(notes.contains("has no time zone"), "{notes}");
    }

    #[test]
    fn a_column_that_is_no_time_is_refused() {
        let stored = [offset(Some(1), Some(TIME_US))];
        let code = |logical_type| {
            cursors(
                vec![table(logical_type)],
                &config(QueryMode::TimestampIncrementing),
                &stored,
            )
            .err()
            .map(|error| error.code())
        };
        assert_eq!(code(LogicalType::Date), None);
        assert_eq!(code(LogicalType::Int64), Some("offsets_unreadable"));
    }

    proptest! {
        #[test]
        fn any_offset_is_taken_or_refused(id: Option<i64>, time_us: Option<i64>, name in "\\PC{0,24}") {
            for mode in [QueryMode::Incrementing, QueryMode::Timestamp, QueryMode::TimestampIncrementing] {
                drop(taken(mode, offset(id, time_us)));
                drop(taken(mode, JdbcOffset { table: name.clone(), ..offset(id, time_us) }));
            }
        }
    }
}
