//! Whether rows can be skipped, as far as the catalogue tells, and why.
//!
//! The proof for ids: an id that is the column's default is made by the insert itself, which holds a lock on the table before and
//! until its transaction ends. So whoever has a lower id than one that is visible either has ended or is among the holders of that
//! lock. It takes a sequence that gives each number alone (`INCREMENT 1`) and when it is asked (`CACHE 1`): otherwise a session
//! or an application keeps numbers for later, and gets its lock long after others have used higher ones.

use tailrace_sql::{GapReport, GapSafety, PolledTable, QueryMode};

use super::catalog::{DefaultFacts, SequenceFacts, TableFacts, TableKind};
use super::tables::{KnownTable, Origin};

/// What to do instead, for every way in which ids come out of order.
const OTHER_MODES: &str = "or poll with mode queue, which remembers no id, or with timestamp_incrementing";

/// Whether rows of a table can be skipped. `in_recovery` says that the server is a standby.
pub(crate) fn gap_safety(known: &KnownTable, table: &PolledTable, in_recovery: bool) -> GapReport {
    match table.mode {
        QueryMode::Bulk => GapReport::new(GapSafety::Proven, "the whole answer is read at every poll"),
        QueryMode::Queue => GapReport::new(
            GapSafety::Proven,
            "no place is remembered: whatever is in the table is read, and each row acknowledged by itself",
        ),
        QueryMode::Incrementing => by_id(known, table, in_recovery),
        QueryMode::Timestamp | QueryMode::TimestampIncrementing => by_time(known, table, in_recovery),
    }
}

fn by_id(known: &KnownTable, table: &PolledTable, in_recovery: bool) -> GapReport {
    let (name, id) = (table.name(), table.id_name());
    let facts = match &known.origin {
        Origin::Relation { facts, .. } if matches!(facts.kind, TableKind::Table | TableKind::Partitioned) => facts,
        Origin::Relation { facts, .. } => {
            let reason = format!(
                "{name} is a {}: who may still insert below the rows that are visible cannot be known",
                facts.kind.name()
            );
            return GapReport::new(GapSafety::None, reason);
        }
        Origin::Query { .. } => {
            let reason = format!(
                "{name} is a query: who may still insert below the rows that are visible cannot be known; nothing is skipped as long as \
                 rows become visible in the order of {id}"
            );
            return GapReport::new(GapSafety::None, reason);
        }
    };
    if in_recovery {
        return GapReport::refused(
            "the server is a standby, which does not tell who writes on the primary: a row that commits after one with a higher id \
             is skipped",
            format!("name the primary in `url`, {OTHER_MODES}"),
        );
    }
    match facts.defaults.get(id) {
        Some(DefaultFacts {
            always,
            sequence: Some(sequence),
        }) => numbered(&name, id, sequence, *always),
        Some(DefaultFacts { sequence: None, .. }) => GapReport::new(
            GapSafety::None,
            format!(
                "the default of {id} of {name} is not simply the next number of a sequence; nothing is skipped as long as each new \
                 row has a higher one"
            ),
        ),
        None => unnumbered(&name, id, facts),
    }
}

fn numbered(name: &str, id: &str, sequence: &SequenceFacts, always: bool) -> GapReport {
    let sequence_name = &sequence.name;
    if let Some(why) = out_of_order(sequence) {
        return GapReport::refused(
            format!("{id} of {name} comes from the sequence {sequence_name}, {why}"),
            format!(
                "ALTER SEQUENCE {sequence_name} INCREMENT 1 CACHE 1, and set the application's id generator to match, {OTHER_MODES}"
            ),
        );
    }
    if sequence.cycles {
        return GapReport::new(
            GapSafety::None,
            format!(
                "the sequence {sequence_name} of {id} of {name} begins again at its end: ALTER SEQUENCE {sequence_name} NO CYCLE"
            ),
        );
    }
    if !sequence.owned || sequence.other_columns > 0 {
        return GapReport::new(
            GapSafety::None,
            format!(
                "{id} of {name} comes from the sequence {sequence_name}, which is not this column's alone: a number may be taken for \
                 something else and used here later (ALTER SEQUENCE {sequence_name} OWNED BY {name}.{id}, where nobody else does)"
            ),
        );
    }
    let by_hand = if always {
        "no statement overrides it (OVERRIDING SYSTEM VALUE)"
    } else {
        "nobody writes ids by hand"
    };
    GapReport::proven_by_ledger(format!(
        "the server itself gives each new row the next number of {sequence_name}, and a gap is waited for until all who held a \
             lock on {name} have ended; this holds as long as {by_hand}"
    ))
}

/// Why numbers of a sequence are used in another order than they were given out.
fn out_of_order(sequence: &SequenceFacts) -> Option<String> {
    if sequence.increment != 1 {
        return Some(format!(
            "whose increment is {}: an application that takes numbers in blocks uses them later than others use higher ones",
            sequence.increment
        ));
    }
    (sequence.cache != 1).then(|| {
        format!(
            "of which each session takes {} numbers at a time, and uses them later than others use higher ones",
            sequence.cache
        )
    })
}

/// Hibernate and its like ask a sequence of the table's name, often for a block, before they insert.
fn unnumbered(name: &str, id: &str, facts: &TableFacts) -> GapReport {
    let pooled = facts
        .lone_sequences
        .iter()
        .find_map(|sequence| Some((sequence, out_of_order(sequence)?)));
    let reason = match pooled {
        Some((sequence, why)) => format!(
            "{id} of {name} has no default, and the application most likely takes it from {}, {why}",
            sequence.name
        ),
        None => format!(
            "{id} of {name} is not numbered by the server, and an application may insert a lower one after a higher one, however long \
             before it made it"
        ),
    };
    GapReport::refused(
        reason,
        format!(
            "let the server number the rows (ALTER TABLE … ALTER {id} ADD GENERATED BY DEFAULT AS IDENTITY) and the application \
             leave {id} out, {OTHER_MODES}"
        ),
    )
}

fn by_time(known: &KnownTable, table: &PolledTable, in_recovery: bool) -> GapReport {
    let (name, column) = (table.name(), table.timestamp_name());
    let facts = match &known.origin {
        Origin::Relation { facts, .. } if facts.kind == TableKind::Table || facts.kind == TableKind::Partitioned => {
            facts
        }
        Origin::Relation { .. } | Origin::Query { .. } => {
            let reason = format!(
                "{name} is no table, and nothing tells what sets {column}: a row that changes without it is not seen again"
            );
            return GapReport::new(GapSafety::None, reason);
        }
    };
    let nullable = table
        .table
        .schema
        .columns
        .iter()
        .any(|it| it.name == column && it.nullable);
    let (on_insert, on_update) = (facts.sets_on_insert(column), facts.sets_on_update(column));
    if !on_insert && !on_update {
        let unset = if nullable {
            "; rows without one are never seen"
        } else {
            ""
        };
        return GapReport::new(
            GapSafety::None,
            format!(
                "nothing in the database sets {column} of {name} (no default, no trigger): what is seen depends on every statement of \
                 the application, and on its clock{unset}"
            ),
        );
    }
    if nullable && !on_insert {
        return GapReport::new(
            GapSafety::None,
            format!(
                "{column} of {name} may be NULL and has no default: new rows without it are not seen before they change"
            ),
        );
    }
    let updates = if on_update {
        ""
    } else {
        "; only its default sets it: of changed rows only those are seen whose statement sets it too"
    };
    let standby = if in_recovery {
        "; the time is that up to which the standby has replayed the primary's changes"
    } else {
        ""
    };
    GapReport::new(
        GapSafety::DelayWindow,
        format!(
            "rows are seen that commit within {} ms (query.delay_ms) after their {column}, and now() is the start of a transaction\
             {updates}{standby}",
            table.delay_us / 1000
        ),
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tailrace_core::schema::{Column, TableKind as RowKind, TableName, TableSchema};
    use tailrace_core::value::LogicalType;
    use tailrace_sql::{DiscoveredTable, QueryConfig};

    use super::super::catalog::TriggerFacts;
    use super::*;

    fn sequence() -> SequenceFacts {
        SequenceFacts {
            oid: 2,
            name: "public.orders_id_seq".to_owned(),
            increment: 1,
            cache: 1,
            cycles: false,
            owned: true,
            other_columns: 0,
            readable: true,
        }
    }

    fn serial(change: impl FnOnce(&mut SequenceFacts)) -> TableFacts {
        let mut sequence = sequence();
        change(&mut sequence);
        let default = DefaultFacts {
            always: false,
            sequence: Some(sequence),
        };
        TableFacts {
            defaults: [("id".to_owned(), default)].into(),
            ..TableFacts::default()
        }
    }

    fn table() -> DiscoveredTable {
        let column = |name: &str, logical_type, nullable| Column {
            nullable,
            ..Column::new(name, logical_type)
        };
        let name = TableName {
            database: "shop".to_owned(),
            schema: "public".to_owned(),
            table: "orders".to_owned(),
        };
        DiscoveredTable {
            schema: Arc::new(TableSchema {
                name,
                kind: RowKind::Table,
                columns: vec![
                    column("id", LogicalType::Int64, false),
                    column("changed", LogicalType::TimestampTz { precision: 6 }, true),
                ],
                key: vec![0],
                documentation: None,
            }),
            generated_id: None,
            unique_columns: vec!["id".to_owned()],
            indexes: Vec::new(),
            query: None,
        }
    }

    fn report(mode: QueryMode, facts: TableFacts, in_recovery: bool) -> GapReport {
        let mut config = QueryConfig::new(mode);
        config.timestamp_column = Some("changed".to_owned());
        let known = KnownTable {
            table: table(),
            columns: Vec::new(),
            generated_columns: Vec::new(),
            origin: Origin::Relation {
                oid: 1,
                facts: Box::new(facts),
            },
        };
        let polled = PolledTable::resolve(table(), &config).unwrap();
        gap_safety(&known, &polled, in_recovery)
    }

    fn by_id(facts: TableFacts) -> (GapSafety, bool) {
        let report = report(QueryMode::Incrementing, facts, false);
        (report.safety, report.refused.is_some())
    }

    #[test]
    fn only_the_servers_own_numbers_are_proven() {
        assert_eq!(by_id(serial(|_| {})), (GapSafety::Proven, false));
        assert_eq!(by_id(serial(|it| it.cycles = true)), (GapSafety::None, false));
        assert_eq!(by_id(serial(|it| it.owned = false)), (GapSafety::None, false));
        assert_eq!(by_id(serial(|it| it.other_columns = 1)), (GapSafety::None, false));
        assert_eq!(by_id(TableFacts::default()), (GapSafety::None, true));
        let view = TableFacts {
            kind: TableKind::View,
            ..serial(|_| {})
        };
        assert_eq!(by_id(view), (GapSafety::None, false));
    }

    #[test]
    fn numbers_in_blocks_are_refused() {
        assert_eq!(by_id(serial(|it| it.increment = 50)), (GapSafety::None, true));
        assert_eq!(by_id(serial(|it| it.cache = 20)), (GapSafety::None, true));
        let hibernate = |increment| TableFacts {
            lone_sequences: vec![SequenceFacts {
                increment,
                ..sequence()
            }],
            ..TableFacts::default()
        };
        assert_eq!(by_id(hibernate(50)), (GapSafety::None, true));
        assert_eq!(by_id(hibernate(1)), (GapSafety::None, true));
    }

    #[test]
    fn a_standby_does_not_know_the_writers() {
        assert!(report(QueryMode::Incrementing, serial(|_| {}), true).refused.is_some());
        assert_eq!(report(QueryMode::Queue, serial(|_| {}), true).safety, GapSafety::Proven);
    }

    fn by_time(default: bool, trigger: Option<(bool, bool)>) -> (GapSafety, String) {
        let default = default.then(|| {
            let now = DefaultFacts {
                always: false,
                sequence: None,
            };
            ("changed".to_owned(), now)
        });
        let trigger = trigger.map(|(on_insert, on_update)| TriggerFacts {
            on_insert,
            on_update,
            text: "begin NEW.CHANGED := now(); return new; end".to_owned(),
        });
        let facts = TableFacts {
            defaults: default.into_iter().collect(),
            triggers: trigger.into_iter().collect(),
            ..TableFacts::default()
        };
        let report = report(QueryMode::TimestampIncrementing, facts, false);
        (report.safety, report.reason)
    }

    #[test]
    fn timestamps_are_as_good_as_what_sets_them() {
        assert_eq!(by_time(false, None).0, GapSafety::None);
        assert_eq!(by_time(false, Some((false, true))).0, GapSafety::None);
        assert_eq!(by_time(false, Some((true, true))).0, GapSafety::DelayWindow);
        let (safety, reason) = by_time(true, None);
        assert!(
            safety == GapSafety::DelayWindow && reason.contains("only its default"),
            "{reason}"
        );
        let (safety, reason) = by_time(true, Some((false, true)));
        assert!(
            safety == GapSafety::DelayWindow && !reason.contains("only its default"),
            "{reason}"
        );
    }
}
