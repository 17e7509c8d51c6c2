//! Every file in `tests/transcripts/` once: SQL in, published events out, as reviewed. docs/transcripts.md says how they are
//! read and written; `TAILRACE_TRANSCRIPTS=write` writes the outputs anew.

use std::path::Path;

use tailrace_tests::transcript;

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/transcripts");

/// One test for each transcript, and the list of all.
macro_rules! transcripts {
    ($($name:ident),+ $(,)?) => {
        const LISTED: &[&str] = &[$(stringify!($name)),+];

        $(#[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            transcript::run(Path::new(FOLDER), stringify!($name)).await.unwrap();
        })+
    };
}

// In the order in which docs/transcripts.md has them read.
transcripts! {
    first_steps,
    envelopes,
    snapshot_to_stream,
    transactions,
    replica_identity,
    key_changes,
    large_values,
    truncate,
    schema_changes,
    renamed_tables,
    evolving_types,
    generated_columns,
    partitions,
    inheritance,
    triggers_and_constraints,
    logical_messages,
    updated_at,
    transforms,
    unlogged_tables,
    names,
    publications,
    slots,
    two_connectors,
    restarts,
    binlog_rows,
    binlog_schema_changes,
    online_schema_change,
    xa_transactions,
    storage_engines,
    cascades,
    zero_dates,
    two_schemas,
    polling,
    polling_modes,
    change_tables,
    two_databases,
    contracts,
    dead_letters,
}

#[test]
fn every_transcript_is_run() {
    let mut listed = LISTED.to_vec();
    listed.sort_unstable();
    assert_eq!(transcript::names(Path::new(FOLDER)).unwrap(), listed);
}
