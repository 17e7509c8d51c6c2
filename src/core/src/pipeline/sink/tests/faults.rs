//! The target, the stream or a writer fails.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_topic_that_was_made_anew_halts() {
    let bench = Bench::new(DeadLetterConfig::default());
    lock(&bench.target.database)
        .offsets
        .insert(partition(0), (7, Some(2), Some(RecordMark(1))));
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 1, &["b", "c"])));
    let error = bench.running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "topic_rewound"));
    assert!(lock(&bench.target.database).written.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_deadlock_and_a_lost_answer_are_decided_by_the_target() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    let faults = [Fault::Deadlock, Fault::Deadlock, Fault::AnswerLost];
    lock(&bench.target.database).faults.extend(faults);
    bench.deliver(Delivery::Records(records(0, 0, &["a", "b"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&2))
        .await;
    bench.deliver(Delivery::Records(records(0, 2, &["c"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&3))
        .await;
    assert_eq!(bench.values(), ["a", "b", "c"], "neither lost nor twice");
}

#[tokio::test(start_paused = true)]
async fn a_zombie_writes_nothing_and_joins_again() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    lock(&bench.target.database).faults.push_back(Fault::Taken);
    bench.deliver(Delivery::Records(records(0, 0, &["a"])));
    let error = bench.running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, "partition_taken"));
    assert!(lock(&bench.target.database).written.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_target_that_went_back_is_told_again_what_it_lost() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["a"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&1))
        .await;
    lock(&bench.target.database).faults.push_back(Fault::WentBack);
    bench.deliver(Delivery::Records(records(0, 1, &["b"])));
    let error = bench.running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, "target_went_back"));
    assert!(
        lock(&bench.target.database).written.is_empty(),
        "`b` must not be written before `a`"
    );
}

#[tokio::test(start_paused = true)]
async fn a_group_that_may_not_be_told_is_no_reason_to_end() {
    let bench = Bench::new(DeadLetterConfig::default());
    lock(&bench.asked.0).refuses = true;
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["a"])));
    bench.until(|asked| asked.refused > 0).await;
    assert!(bench.telemetry.snapshot().notices.contains_key("group_offsets"));
    lock(&bench.asked.0).refuses = false;
    bench.deliver(Delivery::Records(records(0, 1, &["b"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&2))
        .await;
    assert_eq!(bench.values(), ["a", "b"]);
    assert_eq!(bench.stop().await.unwrap(), Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_writer_that_panics_is_noticed() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["panic"])));
    let error = bench.running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Transient, "writer_gone"));
}

#[tokio::test(start_paused = true)]
async fn writers_end_with_their_pipeline() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.target.closed.send_replace(true);
    bench.deliver(Delivery::Records(records(0, 0, &["a"])));
    bench.target.begun.notified().await;
    // The stream fails while a transaction hangs.
    let Bench {
        target,
        deliveries,
        running,
        ..
    } = bench;
    drop(deliveries);
    running.await.unwrap().unwrap_err();
    for _ in 0..1000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(Arc::strong_count(&target), 1, "nobody writes any more");
}
