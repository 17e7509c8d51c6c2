use super::*;

fn config(mode: WriteMode, deletes: DeleteMode) -> WriteConfig {
    WriteConfig {
        mode,
        deletes,
        ..WriteConfig::default()
    }
}

#[test]
fn what_counts_as_a_difference_is_what_the_sink_would_change() {
    let of = |mode, deletes| {
        let Expected { missing, extra } = Expected::of(&config(mode, deletes));
        (missing, extra)
    };
    assert_eq!(of(WriteMode::Upsert, DeleteMode::Hard), (true, true));
    assert_eq!(of(WriteMode::Upsert, DeleteMode::Soft), (true, true));
    assert_eq!(of(WriteMode::Upsert, DeleteMode::Ignore), (true, false));
    assert_eq!(of(WriteMode::Insert, DeleteMode::Hard), (true, true));
    assert_eq!(of(WriteMode::Update, DeleteMode::Hard), (false, false));
}
