//! Whether rows can be skipped, and why.

use tailrace_sql::{GapReport, GapSafety, IdGeneration, PolledTable, QueryMode};

use super::catalogue::{Known, Origin, Stamp};
use super::facts::{Facts, Ledger};
use crate::check::rights;
use crate::column_type::TypeKind;
use crate::grants::statement;

/// Microseconds of the unit that a column without fractions counts in.
const SECOND_US: i64 = 1_000_000;

/// What is done where ids are not the server's own.
const WITHOUT_CURSOR: &str = "query: { mode: queue }, or read the binary log of this server";

/// The verdict on one table.
pub(super) fn gap_safety(facts: &Facts, known: Option<&Known>, table: &PolledTable) -> GapReport {
    let Some(known) = known else {
        return GapReport::new(GapSafety::None, "the table is not known any more");
    };
    match table.mode {
        QueryMode::Bulk => GapReport::new(GapSafety::Proven, "every poll reads the whole table"),
        QueryMode::Queue => GapReport::new(
            GapSafety::Proven,
            "every row is read that is in the table, until it is acknowledged",
        ),
        QueryMode::Timestamp | QueryMode::TimestampIncrementing => by_time(facts, known, table),
        QueryMode::Incrementing => by_id(facts, known, table),
    }
}

fn by_id(facts: &Facts, known: &Known, table: &PolledTable) -> GapReport {
    if known.origin != Origin::Table {
        return GapReport::new(
            GapSafety::None,
            "it is the answer of a query, and nobody can say who writes to what it reads: a row that commits after a row with a higher id is skipped",
        );
    }
    if let Some((reason, instead)) = certain_gaps(facts, known, table) {
        return GapReport::refused(reason, instead);
    }
    if facts.server.replica.is_replica.is_none() {
        return GapReport::new(
            GapSafety::None,
            format!(
                "the user may not see whether the server is a replica, where rows come in the order in which they committed elsewhere: {};",
                statement::everywhere(
                    statement::replica_monitor(facts.server.flavour()),
                    &rights::user(&facts.server)
                )
            ),
        );
    }
    match &facts.ledger {
        Ledger::Missing { reason, remedy } => GapReport::new(
            GapSafety::None,
            format!("a row that commits after a row with a higher id is skipped, because {reason}; remedy: {remedy}"),
        ),
        Ledger::Ready { .. } if table.id_generation() != IdGeneration::NeverReused => GapReport {
            ledger: true,
            ..GapReport::new(
                GapSafety::None,
                "the server forgets its highest id in a restart, and gives ids of deleted newest rows out again; as long as those are not \
                 deleted nothing is skipped",
            )
        },
        Ledger::Ready { .. } => GapReport::proven_by_ledger(
            "rows behind a gap in the ids wait for every transaction that may still fill it; provided that the application lets the server \
             number all rows",
        ),
    }
}

/// Where waiting for this server's transactions does not help.
fn certain_gaps(facts: &Facts, known: &Known, table: &PolledTable) -> Option<(String, &'static str)> {
    let engine = known.definition.engine.as_deref().unwrap_or("an unknown engine");
    let numbering = facts.server.numbering;
    if table.id_generation() == IdGeneration::Application {
        let reason = format!(
            "{} is not numbered by the server (AUTO_INCREMENT), and an application may insert a lower id after a higher one",
            table.id_name()
        );
        return Some((reason, WITHOUT_CURSOR));
    }
    if numbering.galera {
        let reason = "the server is a node of a Galera cluster, whose nodes number rows independently of each other";
        return Some((reason.to_owned(), WITHOUT_CURSOR));
    }
    if numbering.increment > 1 {
        let reason = format!(
            "auto_increment_increment is {}: another server numbers rows of the same table, and its rows come late",
            numbering.increment
        );
        return Some((reason, WITHOUT_CURSOR));
    }
    if facts.server.replica.is_replica == Some(true) {
        let reason = "the server is a replica: its rows were numbered elsewhere, and come in the order in which they were committed there";
        return Some((reason.to_owned(), "poll the server that it replicates from"));
    }
    (!known.transactional).then(|| {
        let reason = format!("the table is stored in {engine}, which has no transactions that could be waited for");
        (reason, "ALTER TABLE … ENGINE = InnoDB, or query: { mode: queue }")
    })
}

fn by_time(facts: &Facts, known: &Known, table: &PolledTable) -> GapReport {
    let name = table.timestamp_name();
    let none = |reason: String| GapReport::new(GapSafety::None, reason);
    if known.origin != Origin::Table {
        return none(format!(
            "it is the answer of a query, and nothing says that {name} changes with every change of a row"
        ));
    }
    let stamp = known.stamps.get(name).copied().unwrap_or_default();
    if let Some(missing) = unstamped(stamp) {
        return none(format!(
            "the server does not set {name} when a row is {missing}, and what the application leaves as it is, or sets by a clock of its own, may \
             be skipped: declare it TIMESTAMP(6) NOT NULL DEFAULT CURRENT_TIMESTAMP(6) ON UPDATE CURRENT_TIMESTAMP(6)"
        ));
    }
    let kind = table
        .timestamp_column
        .and_then(|column| known.definition.columns.get(column))
        .map(|column| &column.column_type.kind);
    let unit = match kind {
        Some(TypeKind::Date) => {
            return none(format!(
                "{name} counts whole days: a row that changes again on the same day is skipped"
            ));
        }
        Some(TypeKind::DateTime { .. }) if !facts.clock_is_utc => {
            return none(format!(
                "{name} is a DATETIME, which holds the local time of whoever writes, and the server's time zone is not UTC: rows come hours too late, and \
                 those of the hour that comes twice a year are skipped; make it a TIMESTAMP, or set time_zone = '+00:00' on the server"
            ));
        }
        Some(TypeKind::DateTime { precision: 0 } | TypeKind::Timestamp { precision: 0 }) => "; it counts whole seconds",
        _ => "",
    };
    if !unit.is_empty() && table.delay_us < SECOND_US {
        return none(format!(
            "{name} counts whole seconds, and query.delay_ms is shorter than one: a row that changes again in the second that it names is skipped"
        ));
    }
    let replica = match facts.server.replica.is_replica {
        Some(true) => "; the server is a replica, and the time by which it is behind its source counts as well",
        _ => "",
    };
    GapReport::new(
        GapSafety::DelayWindow,
        format!(
            "rows are seen that commit within {} ms (query.delay_ms) after the statement that wrote them began{unit}{replica}",
            table.delay_us / 1_000
        ),
    )
}

fn unstamped(stamp: Stamp) -> Option<&'static str> {
    match (stamp.on_insert, stamp.on_update) {
        (true, true) => None,
        (true, false) => Some("updated"),
        (false, true) => Some("inserted"),
        (false, false) => Some("inserted or updated"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use tailrace_sql::{DiscoveredTable, QueryConfig};

    use super::*;
    use crate::column_type::{ColumnType, TypePolicy};
    use crate::server::testing::mysql;
    use crate::table::{ColumnDefinition, TableDefinition};

    fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = Facts {
            server: mysql(),
            ledger: Ledger::Ready {
                tells_transactions: true,
            },
            sees_others: true,
            clock_is_utc: true,
        };
        change(&mut facts);
        facts
    }

    /// A table `shop.orders` with an id and a time of this type.
    fn known(time: &str) -> Known {
        let column = |name: &str, column_type: &str| ColumnDefinition {
            name: name.to_owned(),
            column_type: ColumnType::parse(column_type, None).unwrap(),
            nullable: false,
            default: None,
            generated: false,
            documentation: None,
        };
        let mut definition = TableDefinition::unknown("shop", "orders");
        definition.columns = vec![column("id", "bigint(20)"), column("at", time)];
        definition.key = vec![0];
        definition.engine = Some("InnoDB".to_owned());
        let always = Stamp {
            on_insert: true,
            on_update: true,
        };
        Known {
            definition,
            origin: Origin::Table,
            transactional: true,
            stamps: BTreeMap::from([("at".to_owned(), always)]),
        }
    }

    fn report(facts: &Facts, known: &Known, mode: QueryMode, generation: IdGeneration) -> GapReport {
        let table = DiscoveredTable {
            schema: Arc::new(known.definition.to_schema(&TypePolicy::default())),
            generated_id: (generation != IdGeneration::Application).then(|| ("id".to_owned(), generation)),
            unique_columns: vec!["id".to_owned()],
            indexes: Vec::new(),
            query: None,
        };
        let mut config = QueryConfig::new(mode);
        config.timestamp_column = mode.by_time().then(|| "at".to_owned());
        gap_safety(facts, Some(known), &PolledTable::resolve(table, &config).unwrap())
    }

    fn by_id(change: impl FnOnce(&mut Facts), generation: IdGeneration) -> GapReport {
        report(
            &facts(change),
            &known("timestamp(6)"),
            QueryMode::Incrementing,
            generation,
        )
    }

    #[test]
    fn ids_of_the_server_alone_are_proven_by_waiting() {
        let proven = by_id(|_| {}, IdGeneration::NeverReused);
        assert!(proven.safety == GapSafety::Proven && proven.ledger && proven.refused.is_none());
        // Waiting helps there too, but a restart gives ids out again.
        let old = by_id(|_| {}, IdGeneration::AboveExisting);
        assert!(old.safety == GapSafety::None && old.ledger && old.refused.is_none());
        let unseen = by_id(
            |facts| {
                facts.ledger = Ledger::Missing {
                    reason: "nobody sees".to_owned(),
                    remedy: "GRANT sight".to_owned(),
                };
            },
            IdGeneration::NeverReused,
        );
        assert!(unseen.safety == GapSafety::None && !unseen.ledger && unseen.refused.is_none());
        assert!(
            unseen.reason.contains("nobody sees; remedy: GRANT sight"),
            "{}",
            unseen.reason
        );
        let perhaps = by_id(
            |facts| facts.server.replica.is_replica = None,
            IdGeneration::NeverReused,
        );
        assert!(
            perhaps.safety == GapSafety::None && perhaps.reason.contains("GRANT"),
            "{}",
            perhaps.reason
        );
    }

    #[test]
    fn ids_from_elsewhere_are_refused() {
        let refused = |change: fn(&mut Facts), generation| by_id(change, generation).refused.is_some();
        assert!(refused(|_| {}, IdGeneration::Application));
        assert!(refused(
            |facts| facts.server.numbering.galera = true,
            IdGeneration::NeverReused
        ));
        assert!(refused(
            |facts| facts.server.numbering.increment = 2,
            IdGeneration::NeverReused
        ));
        assert!(refused(
            |facts| facts.server.replica.is_replica = Some(true),
            IdGeneration::NeverReused
        ));
        let mut my_isam = known("timestamp(6)");
        my_isam.transactional = false;
        my_isam.definition.engine = Some("MyISAM".to_owned());
        let report = report(
            &facts(|_| {}),
            &my_isam,
            QueryMode::Incrementing,
            IdGeneration::AboveExisting,
        );
        assert!(
            report.refused.is_some() && report.reason.contains("MyISAM"),
            "{}",
            report.reason
        );
    }

    #[test]
    fn times_are_never_proven() {
        let told = |time: &str, change: fn(&mut Known), facts: &Facts| {
            let mut known = known(time);
            change(&mut known);
            let report = report(
                facts,
                &known,
                QueryMode::TimestampIncrementing,
                IdGeneration::NeverReused,
            );
            (report.safety, report.reason)
        };
        let utc = facts(|_| {});
        assert_eq!(told("timestamp(6)", |_| {}, &utc).0, GapSafety::DelayWindow);
        let (safety, reason) = told("datetime", |_| {}, &utc);
        assert!(
            safety == GapSafety::DelayWindow && reason.contains("whole seconds"),
            "{reason}"
        );
        for (time, change, word) in [
            ("date", (|_| {}) as fn(&mut Known), "whole days"),
            ("datetime(6)", |known| known.stamps.clear(), "inserted or updated"),
            (
                "datetime(6)",
                |known| {
                    known.stamps.values_mut().for_each(|stamp| stamp.on_update = false);
                },
                "is updated",
            ),
            ("timestamp(6)", |known| known.origin = Origin::View, "answer of a query"),
        ] {
            let (safety, reason) = told(time, change, &utc);
            assert!(safety == GapSafety::None && reason.contains(word), "{time}: {reason}");
        }
        let local = facts(|facts| facts.clock_is_utc = false);
        let (safety, reason) = told("datetime(6)", |_| {}, &local);
        assert!(safety == GapSafety::None && reason.contains("time_zone"), "{reason}");
        assert_eq!(told("timestamp(6)", |_| {}, &local).0, GapSafety::DelayWindow);
    }

    #[test]
    fn what_remembers_nothing_skips_nothing() {
        for mode in [QueryMode::Bulk, QueryMode::Queue] {
            let report = report(&facts(|_| {}), &known("timestamp"), mode, IdGeneration::Application);
            assert!(report.safety == GapSafety::Proven && !report.ledger);
        }
    }
}
