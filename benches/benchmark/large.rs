//! W6: one transaction of millions of rows, while Tailrace follows the log. What counts is from the commit on.

use std::time::Instant;

use tailrace_tests::servers::{Kafka, Result};

use crate::backlogs::check;
use crate::measurement::Measurement;
use crate::options::Options;
use crate::processes::Watch;
use crate::readers::Reader;
use crate::readers::tailrace::Run;
use crate::report::Report;
use crate::source::{Engine, Shape, Table};
use crate::topic::Until;

/// The name of the workload.
pub(crate) const NAME: &str = "W6";

/// Every reader of ours in turn, on a server of its own.
pub(crate) async fn run(options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
    let readers = [Reader::Kafka, Reader::File];
    for round in 1..=options.rounds {
        for reader in readers.into_iter().filter(|reader| options.readers.contains(reader)) {
            // The stream makes no difference to what is held back until the commit: once shows that.
            if reader == Reader::File && round > 1 {
                continue;
            }
            let measurement = follow(reader, options.rows, kafka, round).await?;
            check(&measurement)?;
            report.add(measurement)?;
        }
    }
    Ok(())
}

async fn follow(reader: Reader, rows: u64, kafka: &Kafka, round: u32) -> Result<Measurement> {
    let source = Engine::Postgres.start(Table::Employees).await?;
    let run = Run::new(reader, &source, kafka, &format!("{NAME}-{}-{round}", reader.name())).await?;
    run.start_streaming()?;
    let until = Until::all(rows);
    let arrivals = run.watch_stream(kafka, until)?;
    let watch = Watch::start();
    run.follow(&watch, &source, kafka).await?;
    let began = Instant::now();
    source.insert(Table::Employees, 1, rows, Shape::OneTransaction).await?;
    let committed = Instant::now();
    let arrivals = run.wait(arrivals, until)?;
    let cost = watch.finish();
    let mut measurement = Measurement::new(NAME, reader.name(), round, cost);
    // The client hears of the commit a moment after the log does.
    measurement.arrived(committed, &arrivals);
    measurement.figure("insert_seconds", committed.duration_since(began).as_secs_f64());
    measurement.notes.extend(run.trouble()?);
    run.daemon.terminate()?;
    measurement.holds(run.found(kafka, arrivals.count, rows).await?);
    run.clean_up(kafka).await?;
    Ok(measurement)
}
