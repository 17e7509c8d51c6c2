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
        let reach = Reach {
            chunk_rows: 1,
            is_shared: false,
        };
        let Expected { missing, extra } = Expected::of(&config(mode, deletes), reach);
        let shared = Expected::of(
            &config(mode, deletes),
            Reach {
                is_shared: true,
                ..reach
            },
        );
        assert_eq!(
            (shared.missing, shared.extra),
            (missing, false),
            "rows of other topics are no drift"
        );
        (missing, extra)
    };
    assert_eq!(of(WriteMode::Upsert, DeleteMode::Hard), (true, true));
    assert_eq!(of(WriteMode::Upsert, DeleteMode::Soft), (true, true));
    assert_eq!(of(WriteMode::Upsert, DeleteMode::Ignore), (true, false));
    assert_eq!(of(WriteMode::Insert, DeleteMode::Hard), (true, true));
    assert_eq!(of(WriteMode::Update, DeleteMode::Hard), (false, false));
}

#[test]
fn rows_that_a_truncate_left_are_no_drift_from_the_source() {
    let reach = Reach {
        chunk_rows: 1,
        is_shared: false,
    };
    let config = WriteConfig {
        truncates: TruncateMode::Ignore,
        ..WriteConfig::default()
    };
    assert!(!Expected::of_source(&config, reach).extra);
    assert!(Expected::of(&config, reach).extra, "the topic says which they are");
    assert!(Expected::of_source(&WriteConfig::default(), reach).extra);
}
