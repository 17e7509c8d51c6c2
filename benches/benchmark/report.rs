//! The report, written anew after every measurement, so that a run that is stopped leaves what it has.

use std::path::{Path, PathBuf};

use serde::Serialize;
use tailrace_tests::servers::Result;

use crate::failed;
use crate::machine::Machine;
use crate::measurement::{FOREIGN_SHARE_LIMIT, Measurement};
use crate::options::{Mode, Options};

mod tables;

/// Where it goes unless `benches/run` says otherwise.
const FOLDER: &str = "target/benchmarks/latest";

/// How the report begins.
const INTRODUCTION: &str = "# Benchmark

Made by `benches/run` in one run on one machine: Tailrace, the physical limit (`pg_recvlogical` or `mysqlbinlog --raw`, which take what the
server sends and throw it away) and Debezium drain the same backlog from the same log into the same broker. Ratios travel better than absolute figures.
";

/// A run's folder and its measurements so far.
pub(crate) struct Report {
    folder: PathBuf,
    mode: Mode,
    conditions: String,
    figures: Figures,
}

/// What `figures.json` holds.
#[derive(Serialize)]
struct Figures {
    machine: Machine,
    measurements: Vec<Measurement>,
}

// === impl Report ===

impl Report {
    /// Makes the folder and looks at the machine.
    pub(crate) fn begin(options: &Options) -> Result<Report> {
        let folder = std::env::var("TAILRACE_BENCHMARK_FOLDER").unwrap_or_else(|_| FOLDER.to_owned());
        let folder = PathBuf::from(folder);
        std::fs::create_dir_all(&folder).map_err(failed("making the report's folder"))?;
        let machine = Machine::look();
        let report = Report {
            folder,
            mode: options.mode,
            conditions: conditions(options),
            figures: Figures {
                machine,
                measurements: Vec::new(),
            },
        };
        report.warnings().iter().for_each(|warning| report.note(warning));
        Ok(report)
    }

    /// Where everything of this run goes.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Tells the terminal what goes on.
    pub(crate) fn note(&self, text: &str) {
        eprintln!("benchmark: {text}");
    }

    /// One more of the conditions, which is known only while it runs.
    pub(crate) fn condition(&mut self, text: &str) {
        self.conditions.push_str(&format!("- {text}\n"));
    }

    /// Takes a measurement up.
    pub(crate) fn add(&mut self, measurement: Measurement) -> Result<()> {
        self.note(&measurement.line());
        if let Some(line) = measurement.thread_line() {
            self.note(&line);
        }
        self.figures.measurements.push(measurement);
        let json = serde_json::to_vec_pretty(&self.figures).map_err(failed("writing figures"))?;
        std::fs::write(self.folder.join("figures.json"), json).map_err(failed("writing figures"))?;
        std::fs::write(self.folder.join("report.md"), self.text()).map_err(failed("writing the report"))
    }

    /// Says where it is.
    pub(crate) fn finish(&self) {
        self.warnings().iter().for_each(|warning| self.note(warning));
        self.note(&format!("the report is {}", self.folder.join("report.md").display()));
    }

    fn text(&self) -> String {
        let mut text = INTRODUCTION.to_owned();
        for warning in self.warnings() {
            text.push_str(&format!("\n> **{warning}**\n"));
        }
        text.push_str(&tables::machine(&self.figures.machine));
        text.push_str(&self.conditions);
        text.push_str(&tables::all(&self.figures.measurements));
        text
    }

    fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        if self.mode == Mode::Smoke {
            let warning = "A smoke run: small sizes and an unoptimised binary. No figure of it means anything.";
            return vec![warning.to_owned()];
        }
        warnings.extend(self.warning_of_load());
        let measurements = &self.figures.measurements;
        let doubtful: Vec<String> = measurements
            .iter()
            .filter(|measurement| measurement.is_doubtful())
            .map(|measurement| format!("{} {} {}", measurement.workload, measurement.reader, measurement.round))
            .collect();
        if !doubtful.is_empty() {
            warnings.push(format!(
                "In {} of {} measurements other processes or other machines used more than {:.0} % of the CPU, and their figures are \
                 not to be trusted: {}.",
                doubtful.len(),
                measurements.len(),
                FOREIGN_SHARE_LIMIT * 100.0,
                doubtful.join(", ")
            ));
        }
        warnings
    }

    fn warning_of_load(&self) -> Option<String> {
        let machine = &self.figures.machine;
        let is_busy = machine.foreign_share > FOREIGN_SHARE_LIMIT;
        is_busy.then(|| {
            format!(
                "The machine was too busy to trust when the run began: load average {:.2}, {:.0} % of the CPU used by others.",
                machine.load,
                machine.foreign_share * 100.0
            )
        })
    }
}

fn conditions(options: &Options) -> String {
    format!(
        "
## Conditions

- All servers, the reader and the harness share the cores above; loopback and Unix sockets only.
- Backlogs hold {} rows (W2: half as many, three times as large); {} rounds, in which the readers' order rotates; the tables hold medians.
  Every reader drains the same log from the place where the load began: a copy of a slot that was made before, or a position.
- PostgreSQL: `fsync = off`, `shared_buffers = 1GB`, no autovacuum. `pg_recvlogical` and Tailrace connect through the Unix socket,
  Debezium, which cannot, through TCP.
- MySQL and MariaDB: `sync_binlog = 0`, no doublewrite, a buffer pool of 1 GB, GTIDs, `binlog_row_metadata = FULL`. Readers connect through
  the Unix socket, Debezium through TCP. The server's CPU time is that of the whole process.
- W4: half as many rows; servers as above. Sinks and sessions by hand connect through the Unix socket.
- Kafka: one broker, one partition (W4: 16), 1 GB of heap and the options of its own scripts; warm before the first measurement. Records
  as JSON.
- Tailrace: as without configuration (idempotent producer, lz4, linger 5 ms; file: every batch synced).
- Debezium: Kafka's usual 256 MB to 2 GB of heap, JSON without schemas; `tuned` has larger batches, lz4, linger 5 ms, a poll
  interval of 10 ms. Its rates count from its first event, its CPU time from when its connector runs: the start of JVM and
  worker is in neither.
- Events are counted by the broker's own offsets (every 10 ms until the first, then every 50 ms, so that counting costs nothing), read back afterwards, and
  compared with the keys that were inserted. CPU time is from `/proc/PID/stat`, peak memory is `VmHWM`.
",
        options.rows, options.rounds
    )
}
