//! W1: a backlog of employees, drained by everybody in turn.

use tailrace_tests::servers::{Kafka, Result, ServerError};

use crate::measurement::Measurement;
use crate::options::{Options, Workload};
use crate::readers::Backlog;
use crate::report::Report;
use crate::source::{Shape, Source};

/// Loads the backlog once and lets every reader drain it, in another order in each round, so that nobody is always the first
/// after the load or always behind the same other.
pub(crate) async fn run(
    workload: Workload,
    shape: Shape,
    options: &Options,
    kafka: &Kafka,
    report: &mut Report,
) -> Result<()> {
    let source = Source::with_employees().await?;
    let mut prepared = Vec::new();
    for reader in options.readers.iter().filter(|reader| shape.is_for(**reader, 1)) {
        prepared.push((*reader, reader.prepare(&source, kafka).await?));
    }
    source.insert_employees(1, options.rows, shape).await?;
    let backlog = Backlog {
        workload: workload.name(),
        source: &source,
        kafka,
        rows: options.rows,
        end: source.end_of_log().await?,
    };
    source.settle().await?;
    for round in 1..=options.rounds {
        for (reader, prepared) in &prepared {
            if !shape.is_for(*reader, round) {
                continue;
            }
            let measurement = prepared.drain(&backlog, round).await?;
            check(&measurement)?;
            report.add(measurement)?;
        }
        prepared.rotate_left(1);
    }
    Ok(())
}

/// Figures may be anything; events may not be missing.
pub(crate) fn check(measurement: &Measurement) -> Result<()> {
    match measurement.found {
        Some(found) if found.missing > 0 => Err(ServerError::new(format!(
            "{} lost events in round {}: {found:?}",
            measurement.reader, measurement.round
        ))),
        _ => Ok(()),
    }
}
