//! The replication slot: whether it can be used, or made.

use tailrace_core::check::{Finding, SLOT_ACTIVE};

use super::{Facts, Holder, OldTransaction, PLUGIN};
use crate::quote::literal;
use crate::slot::Slot;

pub(super) fn judge(facts: &Facts<'_>) -> Vec<Finding> {
    match &facts.slot {
        Some(slot) => existing(slot, &facts.discovery.server.database),
        None => facts.surroundings.transactions.iter().map(in_the_way).collect(),
    }
}

fn existing(slot: &Slot, database: &str) -> Vec<Finding> {
    let name = &slot.name;
    let drop = format!("SELECT pg_drop_replication_slot({})", literal(name));
    let mut findings = Vec::new();
    if slot.plugin.as_deref() != Some(PLUGIN) {
        let plugin = slot.plugin.as_deref().unwrap_or("none, it is a physical slot");
        findings.push(Finding::blocks(
            "slot_foreign",
            format!("the replication slot \"{name}\" is somebody else's: its output plugin is {plugin}"),
            "name another slot in `slot`",
        ));
    } else if slot.database.as_deref() != Some(database) {
        let other = slot.database.as_deref().unwrap_or_default();
        findings.push(Finding::blocks(
            "slot_foreign",
            format!("the replication slot \"{name}\" is of the database \"{other}\", not \"{database}\""),
            "name another slot in `slot`",
        ));
    }
    if slot.wal_status.as_deref() == Some("lost") {
        findings.push(Finding::blocks(
            "slot_lost",
            format!("the server has given up the replication slot \"{name}\": the WAL that it needs is gone"),
            format!("{drop}; -- then start the connector anew with a snapshot"),
        ));
    }
    if let Some(pid) = slot.active_pid {
        findings.push(Finding::warning(
            SLOT_ACTIVE,
            format!("the replication slot \"{name}\" is in use by process {pid} of the server: this connector, or another on the same slot, is running"),
            format!("SELECT * FROM pg_stat_replication WHERE pid = {pid}"),
        ));
    }
    findings
}

fn in_the_way(transaction: &OldTransaction) -> Finding {
    let OldTransaction {
        holder,
        role,
        age_seconds,
    } = transaction;
    let since =
        format!("of role \"{role}\" is open since {age_seconds} s; a replication slot cannot be made before it ends");
    match holder {
        Holder::Process(pid) => Finding::warning(
            "waiting_for_old_transactions",
            format!("the transaction of process {pid} {since}"),
            format!("wait for it, or SELECT pg_terminate_backend({pid})"),
        ),
        Holder::Prepared(gid) => Finding::warning(
            "waiting_for_old_transactions",
            format!("the prepared transaction {} {since}", literal(gid)),
            format!("COMMIT PREPARED {gid} or ROLLBACK PREPARED {gid}", gid = literal(gid)),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tailrace_core::check::Severity;

    fn slot() -> Slot {
        Slot {
            name: "s".to_owned(),
            plugin: Some("pgoutput".to_owned()),
            database: Some("shop".to_owned()),
            active_pid: None,
            confirmed_flush: None,
            wal_status: Some("reserved".to_owned()),
            safe_wal_bytes: None,
            retained_bytes: Some(0),
            unconfirmed_bytes: Some(0),
        }
    }

    #[test]
    fn our_own_slot_is_no_problem() {
        assert!(existing(&slot(), "shop").is_empty());
    }

    fn codes(change: impl FnOnce(&mut Slot)) -> Vec<&'static str> {
        let mut slot = slot();
        change(&mut slot);
        existing(&slot, "shop").iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn foreign_lost_and_busy_slots() {
        assert_eq!(
            codes(|slot| slot.plugin = Some("wal2json".to_owned())),
            ["slot_foreign"]
        );
        assert_eq!(codes(|slot| slot.plugin = None), ["slot_foreign"]);
        assert_eq!(codes(|slot| slot.database = Some("other".to_owned())), ["slot_foreign"]);
        assert_eq!(codes(|slot| slot.wal_status = Some("lost".to_owned())), ["slot_lost"]);
        assert_eq!(codes(|slot| slot.active_pid = Some(7)), [SLOT_ACTIVE]);
    }

    #[test]
    fn a_prepared_transaction_comes_with_its_statement() {
        let finding = in_the_way(&OldTransaction {
            holder: Holder::Prepared("it's".to_owned()),
            role: "app".to_owned(),
            age_seconds: 90,
        });
        assert_eq!(finding.severity, Severity::Warning);
        assert!(
            finding.remedy.contains("ROLLBACK PREPARED 'it''s'"),
            "{}",
            finding.remedy
        );
    }
}
