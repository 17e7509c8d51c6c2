//! Rows that cannot be written.

use super::*;
use crate::transform::Rule;

#[tokio::test(start_paused = true)]
async fn one_poison_among_a_hundred_becomes_a_letter_and_the_others_are_written_in_order() {
    for (place, value) in [(0, "poison"), (50, "poison"), (99, "poison"), (50, "torn")] {
        let bench = Bench::new(store_letters());
        bench.assign(0).await;
        let mut values = numbered(100);
        value.clone_into(&mut values[place]);
        bench.deliver(Delivery::Records(records(0, 0, &as_texts(&values))));
        bench
            .until(|asked| asked.committed.get(&partition(0)) == Some(&100))
            .await;
        values.remove(place);
        assert_eq!(bench.values(), values, "{place}");
        let letters = bench.store.letters();
        let [letter] = &*letters else { panic!("{letters:?}") };
        assert_eq!(letter.letter.position, format!("t-0@{place}"));
        assert_eq!(letter.state, LetterState::Waiting);
    }
}

#[tokio::test(start_paused = true)]
async fn by_default_poison_halts_and_what_was_before_it_is_written() {
    let bench = Bench::new(DeadLetterConfig::default());
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["a", "poison", "b"])));
    let error = bench.running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "value_refused"));
    assert!(error.report().contains("offset 1 of t-0"), "{}", error.report());
    let database = lock(&bench.target.database);
    assert_eq!(database.written, [("k0".to_owned(), "a".to_owned())]);
    assert_eq!(database.offsets[&partition(0)].1, Some(1));
}

#[tokio::test(start_paused = true)]
async fn later_events_of_a_key_wait_and_a_replay_writes_them_in_order() {
    let config = DeadLetterConfig {
        order: LetterOrder::Key,
        ..store_letters()
    };
    let bench = Bench::new(config);
    bench.assign(0).await;
    // Keys repeat after seven.
    let values = ["a", "torn", "c", "d", "e", "f", "g", "h", "behind", "j"];
    bench.deliver(Delivery::Records(records(0, 0, &values)));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&10))
        .await;
    bench.deliver(Delivery::Records(records(0, 15, &["behind too", "q"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&17))
        .await;
    assert_eq!(bench.values(), ["a", "c", "d", "e", "f", "g", "h", "j", "q"]);
    let codes: Vec<String> = bench
        .store
        .letters()
        .iter()
        .map(|letter| letter.letter.code.clone())
        .collect();
    assert_eq!(codes, ["record_unreadable", "behind_dead_letter", "behind_dead_letter"]);
    // The second before the first was dropped or replayed: it waits as before.
    let mut rounds = bench.letters.desk.rounds();
    bench.store.set_letter(2, LetterState::ReplayRequested);
    bench.letters.desk.ask();
    rounds.changed().await.unwrap();
    assert_eq!(bench.store.letters()[1].state, LetterState::Waiting);
    {
        let mut held = bench.letters.desk.hold().await;
        *held += 1;
        bench.store.set_letter(1, LetterState::Dropped);
        bench.store.set_letter(2, LetterState::ReplayRequested);
        bench.store.set_letter(3, LetterState::ReplayRequested);
    }
    bench.letters.desk.ask();
    rounds.changed().await.unwrap();
    assert_eq!(bench.values()[9..], ["behind", "behind too"]);
    bench.deliver(Delivery::Records(records(0, 22, &["after"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&23))
        .await;
    assert_eq!(bench.values()[11..], ["after"]);
}

fn cast_to(written: &str) -> TransformConfig {
    let cast = [("v".to_owned(), written.to_owned())].into();
    let rule = Rule {
        cast,
        ..Rule::default()
    };
    TransformConfig { rules: vec![rule] }
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_cast_becomes_a_letter_and_the_others_are_written() {
    let bench = Bench::with(store_letters(), &cast_to("decimal(3,1)"));
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["1", "two", "3", "torn", "4.50"])));
    bench
        .until(|asked| asked.committed.get(&partition(0)) == Some(&5))
        .await;
    assert_eq!(bench.values(), ["1.0", "3.0", "4.5"]);
    let letters = bench.store.letters().into_iter();
    let mut letters: Vec<_> = letters
        .map(|letter| (letter.letter.position, letter.letter.code))
        .collect();
    letters.sort_unstable();
    let letter = |position: &str, code: &str| (position.to_owned(), code.to_owned());
    assert_eq!(
        letters,
        [letter("t-0@1", "cast_impossible"), letter("t-0@3", "record_unreadable")]
    );
    let mut rounds = bench.letters.desk.rounds();
    let uncast = bench.store.letters().into_iter();
    let mut uncast = uncast.filter(|letter| letter.letter.code == "cast_impossible");
    let id = uncast.next().unwrap().id;
    bench.store.set_letter(id, LetterState::ReplayRequested);
    bench.letters.desk.ask();
    rounds.changed().await.unwrap();
    let still: Vec<_> = bench.store.letters().into_iter().map(|letter| letter.state).collect();
    assert_eq!(still, [LetterState::Waiting; 2]);
    assert_eq!(bench.values().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_cannot_be_cast_halts_by_default() {
    let bench = Bench::with(DeadLetterConfig::default(), &cast_to("int32"));
    bench.assign(0).await;
    bench.deliver(Delivery::Records(records(0, 0, &["secret"])));
    let error = bench.running.await.unwrap().unwrap_err();
    assert_eq!((error.kind(), error.code()), (Kind::Definite, "cast_impossible"));
    let report = error.report();
    assert!(
        report.contains("column v of table") && !report.contains("secret"),
        "{report}"
    );
}
