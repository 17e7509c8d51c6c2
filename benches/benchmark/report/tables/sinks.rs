//! W4: what sinks write, beside the same rows by hand.

use super::{Rounds, header, line, megabytes, number, thousands};
use crate::measurement::{Measurement, median};
use crate::sink::{PASSES, Writer};

pub(super) fn written(measurements: &[&Measurement]) -> String {
    let mut text = header(&[
        "rows",
        "written by",
        "rows/s",
        "× by hand",
        "first rows, s",
        "rows/s from the first",
        "× by hand",
        "CPU s per million rows",
        "rows per CPU-s of its own",
        "peak MB",
    ]);
    for (pass, pass_title) in PASSES {
        let of = |writer: Writer| {
            let reader = writer.reader(pass);
            let mine = measurements.iter().copied().filter(|one| one.reader == reader);
            Rounds(mine.collect())
        };
        for writer in Writer::ALL {
            let rounds = of(writer);
            if rounds.0.is_empty() {
                continue;
            }
            let limits = of(writer.limit());
            let ratio = |rate: fn(&Measurement) -> Option<f64>| {
                let in_round = |one: &Measurement| {
                    let limit = limits.0.iter().find(|other| other.round == one.round)?;
                    Some(rate(one)? / limit.rate())
                };
                number(rounds.median(in_round), 2)
            };
            line(
                &mut text,
                &[
                    pass_title.to_owned(),
                    writer.title().to_owned(),
                    thousands(rounds.median(|one| Some(one.rate()))),
                    ratio(|one| Some(one.rate())),
                    number(rounds.median(|one| one.first_event_seconds), 2),
                    thousands(rounds.median(from_the_first)),
                    ratio(from_the_first),
                    rounds.cpu(),
                    thousands(rounds.own_cpu().map(|seconds| 1e6 / seconds)),
                    megabytes(rounds.own_peak()),
                ],
            );
        }
    }
    let row_bytes = median(
        measurements
            .iter()
            .filter_map(|one| one.figures.get("row_bytes").copied()),
    );
    let row_bytes = number(row_bytes, 0);
    text + &format!(
        "\nRows of {row_bytes} bytes (as text) and thirteen columns, in transactions of 5000; the table has a primary key and nothing else. By hand \
         the rows are ready before the clock starts; a sink's rate counts from the start of its process. From Kafka two writers share 16 partitions; \
         a topic of the embedded stream has one partition, and so one writer. Rows that are there come in an order of which the index has nothing. \
         Published: the JDBC sink of Confluent with 16 tasks, 182 K rows/s into PostgreSQL and 44 K into MySQL.\n"
    )
}

/// By hand there is no start; and where all rows were there at the first look, there is nothing to be counted behind it.
fn from_the_first(measurement: &Measurement) -> Option<f64> {
    measurement.first_event_seconds?;
    (measurement.first_events < measurement.events).then(|| measurement.sustained_rate())
}
