//! The report, written anew after every measurement, so that a run that is stopped leaves what it has.

use std::path::PathBuf;

use tailrace_tests::servers::Result;

use crate::failed;
use crate::measurement::Measurement;
use crate::options::Options;

/// A run's folder and its measurements so far.
pub(crate) struct Report {
    folder: PathBuf,
    measurements: Vec<Measurement>,
}

// === impl Report ===

impl Report {
    /// Makes the folder.
    pub(crate) fn begin(_options: &Options) -> Result<Report> {
        let folder = PathBuf::from(
            std::env::var("TAILRACE_BENCHMARK_FOLDER").unwrap_or_else(|_| "target/benchmarks/latest".to_owned()),
        );
        std::fs::create_dir_all(&folder).map_err(failed("making the report's folder"))?;
        Ok(Report {
            folder,
            measurements: Vec::new(),
        })
    }

    /// Tells the terminal what goes on.
    pub(crate) fn note(&self, text: &str) {
        eprintln!("benchmark: {text}");
    }

    /// Takes a measurement up.
    pub(crate) fn add(&mut self, measurement: Measurement) -> Result<()> {
        self.note(&measurement.line());
        if let Some(line) = measurement.thread_line() {
            self.note(&line);
        }
        self.measurements.push(measurement);
        let json = serde_json::to_vec_pretty(&self.measurements).map_err(failed("writing figures"))?;
        std::fs::write(self.folder.join("figures.json"), json).map_err(failed("writing figures"))
    }

    /// Says where it is.
    pub(crate) fn finish(&self) -> Result<()> {
        self.note(&format!("figures are in {}", self.folder.display()));
        Ok(())
    }
}
