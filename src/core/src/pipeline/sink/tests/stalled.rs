//! Rows that refer to others, and parts of rows that are not there.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_row_waits_for_the_one_that_it_refers_to() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.assign(1).await;
    let values = ["a", "child of b", "c", "child of d"];
    bench.deliver(Delivery::Records(records(0, 0, &values)));
    bench.until(|asked| asked.paused == [partition(0)]).await;
    // What was read before it stood still is not written either, nor lost.
    bench.deliver(Delivery::Records(records(0, 4, &["e"])));
    let values = [&values[..], &["e"]].concat();
    let since = Instant::now();
    bench
        .serve_until(&values, |_| since.elapsed() > TICK_INTERVAL * 5)
        .await;
    assert_eq!(bench.values(), ["a"]);
    assert_eq!(bench.next_offset(0), Some(1));
    assert!(bench.telemetry.snapshot().notices.contains_key("waiting_rows"));
    bench.deliver(Delivery::Records(records(1, 0, &["b"])));
    bench
        .serve_until(&values, |asked| asked.committed.get(&partition(0)) == Some(&3))
        .await;
    assert_eq!(bench.values(), ["a", "b", "child of b", "c"]);
    bench.deliver(Delivery::Records(records(1, 1, &["d"])));
    bench
        .serve_until(&values, |asked| asked.committed.get(&partition(0)) == Some(&5))
        .await;
    assert_eq!(bench.values()[4..], ["d", "child of d", "e"]);
    assert_eq!(bench.stop().await.unwrap(), Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn rows_that_refer_to_nothing_become_letters_when_the_others_have_come_no_closer_for_long() {
    let bench = Bench::new(store_letters());
    bench.assign(0).await;
    bench.assign(1).await;
    let values = ["child of x", "a", "child of y", "child of z", "b"];
    lock(&bench.asked.0).ends = vec![(partition(0), 3), (partition(1), 100)];
    bench.deliver(Delivery::Records(records(0, 0, &values)));
    // A minute in which the other partition comes closer.
    for offset in 0..60 {
        bench.deliver(Delivery::Records(records(1, offset, &["p"])));
        let is_written = |asked: &Asked| asked.committed.get(&partition(1)) == Some(&(offset + 1));
        bench.serve_until(&values, is_written).await;
    }
    assert!(bench.store.letters().is_empty());
    let since = Instant::now();
    bench
        .serve_until(&values, |asked| asked.committed.get(&partition(0)) == Some(&3))
        .await;
    let first = since.elapsed();
    assert!(first > Duration::from_secs(25), "{first:?}");
    let positions = || -> Vec<String> {
        bench
            .store
            .letters()
            .iter()
            .map(|letter| letter.letter.position.clone())
            .collect()
    };
    assert_eq!(
        positions(),
        ["t-0@0", "t-0@2"],
        "what was in the stream with it has waited as long"
    );
    bench
        .serve_until(&values, |asked| asked.committed.get(&partition(0)) == Some(&5))
        .await;
    assert!(
        since.elapsed() > first + Duration::from_secs(25),
        "what came later has its own time"
    );
    assert_eq!(positions(), ["t-0@0", "t-0@2", "t-0@3"]);
    assert!(bench.values().ends_with(&["a".to_owned(), "b".to_owned()]));
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_row_that_is_deleted_behind_it_is_passed_over() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    // Keys repeat after seven. The delete of another key, and what comes before the delete of this one, decide nothing.
    let values = [
        "a", "half", "c", "gone", "e", "f", "g", "h", "gone", "half", "k", "l", "m", "n", "o", "p", "gone", "r",
    ];
    bench.deliver(Delivery::Records(records(0, 0, &values[..5])));
    let since = Instant::now();
    bench
        .serve_until(&values, |asked| asked.committed.get(&partition(0)) == Some(&18))
        .await;
    assert!(since.elapsed() < Duration::from_secs(25), "{:?}", since.elapsed());
    let written: Vec<&str> = values.into_iter().filter(|value| *value != "half").collect();
    assert_eq!(bench.values(), written);
    assert_eq!(bench.stop().await.unwrap(), Ended::Drained);
}

#[tokio::test(start_paused = true)]
async fn a_part_of_a_row_that_nothing_deletes_becomes_a_letter() {
    let bench = Bench::new(store_letters());
    bench.assign(0).await;
    let values = ["a", "half", "c", "gone"];
    bench.deliver(Delivery::Records(records(0, 0, &values)));
    let since = Instant::now();
    bench
        .serve_until(&values, |asked| asked.committed.get(&partition(0)) == Some(&4))
        .await;
    assert!(
        since.elapsed() > Duration::from_secs(25),
        "its delete may be on its way"
    );
    assert_eq!(bench.values(), ["a", "c", "gone"]);
    let letters = bench.store.letters();
    let [letter] = &*letters else { panic!("{letters:?}") };
    assert_eq!(
        (letter.letter.position.as_str(), letter.letter.code.as_str()),
        ("t-0@1", ROW_MISSING)
    );
}
