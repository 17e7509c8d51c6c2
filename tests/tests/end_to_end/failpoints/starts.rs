//! Deaths from the first start to the end of the snapshot.

use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::workload::TABLES;

use super::{count, ends_well, publications, slots, unstarted};

#[tokio::test(flavor = "multi_thread")]
async fn fm_001_before_the_source_is_connected_nothing_is_made_on_it() {
    for lane in Lane::ALL {
        let scenario = unstarted(lane).await;
        scenario.dies_at("after_config").await.unwrap();
        assert!(!scenario.daemon.state_file().exists());
        scenario.dies_at("before_source").await.unwrap();
        assert_eq!((publications(&scenario).await, slots(&scenario).await), (0, 0));
        let findings = ends_well(scenario, Snapshot::Whole).await;
        assert_eq!(findings.duplicates, 0, "{findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_002_after_the_publication_it_is_used_and_the_slot_comes_after_it() {
    for lane in Lane::ALL {
        let scenario = unstarted(lane).await;
        scenario.dies_at("after_publication").await.unwrap();
        assert_eq!((publications(&scenario).await, slots(&scenario).await), (1, 0));
        let identity = "select oid from pg_publication";
        let made = count(&scenario, identity).await;
        scenario.start().unwrap();
        assert_eq!(count(&scenario, identity).await, made, "the same publication");
        scenario.daemon.kill9().unwrap();
        ends_well(scenario, Snapshot::Whole).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_003_around_the_slot_none_is_left_that_nobody_knows() {
    for lane in Lane::ALL {
        let scenario = unstarted(lane).await;
        scenario.dies_at("slot_announced").await.unwrap();
        assert_eq!(slots(&scenario).await, 0);
        scenario.dies_at("after_slot_create").await.unwrap();
        // It exists and was announced, so the next start knows it for its own, although not where it began.
        assert_eq!(slots(&scenario).await, 1);
        scenario.dies_at("after_slot_create").await.unwrap();
        assert_eq!(
            slots(&scenario).await,
            1,
            "the old one was dropped and another one made"
        );
        scenario.dies_at("after_slot_saved").await.unwrap();
        scenario.start().unwrap();
        // The snapshot was begun anew under a temporary slot, which went with its connection.
        let name = scenario.database.name();
        let query = format!("(select count(*) = 1 from pg_replication_slots where database = '{name}')");
        scenario.database.wait_until(&query).await.unwrap();
        scenario.daemon.kill9().unwrap();
        ends_well(scenario, Snapshot::Interrupted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_004_in_the_middle_of_the_snapshot() {
    for lane in Lane::ALL {
        let scenario = unstarted(lane).await;
        // Several batches of one table.
        scenario.workload.commit_rows(10_000).await.unwrap();
        for failpoint in [
            "snapshot_rows",
            "snapshot_rows@3",
            "schema_saved@2",
            "topics_ready@2",
            "snapshot_table_finished",
            "snapshot_table_finished@2",
        ] {
            scenario.dies_at(failpoint).await.unwrap();
            assert_eq!(publications(&scenario).await, 1);
            scenario.commit(5).await.unwrap();
        }
        ends_well(scenario, Snapshot::Interrupted).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_005_after_the_last_row_before_it_is_durable() {
    for lane in Lane::ALL {
        let scenario = unstarted(lane).await;
        for failpoint in [
            "snapshot_complete",
            "after_enqueue@3",
            "after_durable",
            "before_checkpoint",
        ] {
            scenario.dies_at(failpoint).await.unwrap();
            scenario.commit(5).await.unwrap();
        }
        let findings = ends_well(scenario, Snapshot::Interrupted).await;
        assert!(findings.reads > 0, "{findings:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fm_006_between_the_end_of_the_snapshot_and_the_log() {
    for lane in Lane::ALL {
        for failpoint in ["between_marker_and_promote", "after_promote"] {
            let scenario = unstarted(lane).await;
            scenario.dies_at(failpoint).await.unwrap();
            let read_before = reads(&scenario).await;
            let findings = ends_well(scenario, Snapshot::Whole).await;
            assert!(read_before > 0);
            assert_eq!(findings.reads, read_before, "the rows are not read again: {findings:?}");
            assert_eq!(findings.duplicates, 0, "{findings:?}");
        }
    }
}

/// Rows of the snapshot that are published.
async fn reads(scenario: &Scenario) -> usize {
    let mut reads = 0;
    for (table, _) in TABLES {
        let events = scenario.events(table).await.unwrap();
        reads += events.iter().filter(|event| event.operation() == "r").count();
    }
    reads
}
