//! W1 and W2: a backlog, drained by everybody in turn.

use tailrace_tests::servers::{Kafka, Result, ServerError};

use crate::measurement::Measurement;
use crate::options::{Options, Workload};
use crate::readers::{Backlog, Reader};
use crate::report::Report;
use crate::source::{Engine, Shape, Table};

/// What a backlog consists of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Content {
    engine: Engine,
    table: Table,
    shape: Shape,
}

// === impl Content ===

impl Content {
    pub(crate) fn new(engine: Engine, table: Table, shape: Shape) -> Content {
        Content { engine, table, shape }
    }
}

/// Loads the backlog once and lets every reader drain it, in another order in each round, so that nobody is always the first
/// after the load or always behind the same other.
pub(crate) async fn run(
    workload: Workload,
    content: Content,
    options: &Options,
    kafka: &Kafka,
    report: &mut Report,
) -> Result<()> {
    let Content { engine, table, shape } = content;
    let source = engine.start(table).await?;
    let mut prepared = Vec::new();
    let can_read = |reader: &&Reader| engine.is_for(**reader) && shape.is_for(**reader, 1);
    for reader in options.readers.iter().filter(can_read) {
        prepared.push((*reader, reader.prepare(&source, kafka).await?));
    }
    let rows = options.rows / table.rows_divisor();
    source.insert(table, 1, rows, shape).await?;
    let backlog = Backlog {
        workload: workload.name(),
        source: &source,
        kafka,
        rows,
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
