//! Allocations per event, in a pass of its own: counting costs too much for a measurement.
//!
//! A library that is preloaded into Tailrace counts (`allocations.c` beside this file says what). Two backlogs of different
//! size are drained; the difference of the counts belongs to the difference of the events, and the start cancels out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use tailrace_tests::daemon::binary;
use tailrace_tests::servers::{Kafka, Result, ServerError};

use crate::backlogs::check;
use crate::failed;
use crate::measurement::Measurement;
use crate::options::{Mode, Options};
use crate::processes::{Watch, as_float};
use crate::readers::Reader;
use crate::readers::tailrace::Prepared;
use crate::report::Report;
use crate::source::{Engine, Shape, Source, Table};
use crate::topic::Until;

/// The name of the workload.
pub(crate) const NAME: &str = "allocations";

/// The library's source.
const COUNTER: &str = include_str!("allocations.c");

/// How many of the places that allocate most are named.
const PLACES_NAMED: usize = 8;

/// What the library counted in one run: allocations and bytes by the address that asked for them.
struct Counts(BTreeMap<u64, (u64, u64)>);

/// Functions of the binary by their addresses.
struct Symbols(BTreeMap<u64, String>);

/// What more events cost more, by function.
struct Difference {
    events: u64,
    functions: BTreeMap<String, (u64, u64)>,
}

/// Into Kafka and into a file.
pub(crate) async fn run(options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
    let library = build(report.folder())?;
    let symbols = Symbols::of(&binary()?)?;
    let sizes = if options.mode == Mode::Full {
        [200_000, 600_000]
    } else {
        [5_000, 20_000]
    };
    let source = Engine::Postgres.start(Table::Employees).await?;
    let readers = [Reader::Kafka, Reader::File]
        .into_iter()
        .filter(|reader| options.readers.contains(reader));
    let mut prepared = Vec::new();
    for reader in readers {
        prepared.push((reader, Prepared::new(reader, &source, kafka).await?, Vec::new()));
    }
    let mut loaded = 0;
    for rows in sizes {
        source
            .insert(Table::Employees, loaded + 1, rows, Shape::Transactions(500))
            .await?;
        loaded = rows;
        for (reader, prepared, runs) in &mut prepared {
            runs.push(count(&library, *reader, prepared, &source, (kafka, rows)).await?);
        }
    }
    for (_, _, runs) in prepared {
        let [(_, fewer), (mut measurement, more)] =
            <[_; 2]>::try_from(runs).map_err(|_| ServerError::new("two runs"))?;
        let [less, all] = sizes;
        let difference = Difference::between(&fewer, &more, all - less, &symbols);
        measurement.figure(
            "allocations_per_event",
            difference.per_event(|_, (allocations, _)| allocations),
        );
        let rust = |name: &str, (allocations, _)| if is_rust(name) { allocations } else { 0 };
        measurement.figure("allocations_per_event_rust", difference.per_event(rust));
        measurement.figure("allocated_bytes_per_event", difference.per_event(|_, (_, bytes)| bytes));
        measurement.notes.extend(difference.greatest());
        report.add(measurement)?;
    }
    Ok(())
}

async fn count(
    library: &Path,
    reader: Reader,
    prepared: &Prepared,
    source: &Source,
    (kafka, rows): (&Kafka, u64),
) -> Result<(Measurement, Counts)> {
    let mut run = prepared
        .run(source, kafka, &format!("{NAME}-{}-{rows}", reader.name()))
        .await?;
    let counts = run.daemon.path().join("allocations");
    run.daemon.set_variable("LD_PRELOAD", &library.to_string_lossy());
    run.daemon.set_variable("ALLOCATIONS_FILE", &counts.to_string_lossy());
    let until = Until::all(rows);
    let arrivals = run.watch_stream(kafka, until)?;
    let watch = Watch::start();
    let began = Instant::now();
    run.start_on_copied_state()?;
    let arrivals = run.wait(arrivals, until)?;
    let mut measurement = Measurement::new(NAME, reader.name(), 1, watch.finish());
    measurement.arrived(began, &arrivals);
    run.daemon.terminate()?;
    measurement.holds(run.found(kafka, arrivals.count, rows).await?);
    check(&measurement)?;
    run.clean_up(kafka).await?;
    Ok((measurement, Counts::read(&counts)?))
}

/// Compiles the library.
fn build(folder: &Path) -> Result<PathBuf> {
    let (source, library) = (folder.join("allocations.c"), folder.join("allocations.so"));
    std::fs::write(&source, COUNTER).map_err(failed("writing the counter of allocations"))?;
    let mut compiler = Command::new("cc");
    compiler
        .args(["-O2", "-shared", "-fPIC", "-fno-builtin", "-o"])
        .args([&library, &source]);
    let built = compiler.output().map_err(failed("running cc"))?;
    if !built.status.success() {
        let said = String::from_utf8_lossy(&built.stderr).into_owned();
        return Err(ServerError::new(format!(
            "cc cannot build the counter of allocations: {said}"
        )));
    }
    library
        .canonicalize()
        .map_err(failed("finding the counter of allocations"))
}

/// By the mangled name.
fn is_rust(name: &str) -> bool {
    name.starts_with("_R") || name.starts_with("_ZN")
}

// === impl Counts ===

impl Counts {
    fn read(path: &Path) -> Result<Counts> {
        let text = std::fs::read_to_string(path).map_err(failed("reading the counts of allocations"))?;
        let line = |line: &str| {
            let mut words = line.split_whitespace();
            let place = u64::from_str_radix(words.next()?, 16).ok()?;
            Some((place, (words.next()?.parse().ok()?, words.next()?.parse().ok()?)))
        };
        let counts: Option<BTreeMap<u64, (u64, u64)>> = text.lines().map(line).collect();
        let counts = counts.filter(|counts| !counts.is_empty());
        counts
            .map(Counts)
            .ok_or_else(|| ServerError::new(format!("{} does not hold counts", path.display())))
    }
}

// === impl Symbols ===

impl Symbols {
    fn of(binary: &Path) -> Result<Symbols> {
        let output = Command::new("nm").arg("--defined-only").arg(binary).output();
        let output = output.map_err(failed("running nm"))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let symbol = |line: &str| {
            let mut words = line.split_whitespace();
            let (address, kind, name) = (words.next()?, words.next()?, words.next()?);
            let is_code = kind.eq_ignore_ascii_case("t") || kind.eq_ignore_ascii_case("w");
            Some((
                u64::from_str_radix(address, 16).ok().filter(|_| is_code)?,
                name.to_owned(),
            ))
        };
        let symbols: BTreeMap<u64, String> = text.lines().filter_map(symbol).collect();
        if symbols.is_empty() {
            return Err(ServerError::new(format!("{} has no symbols", binary.display())));
        }
        Ok(Symbols(symbols))
    }

    /// The function around an address.
    fn name(&self, address: u64) -> &str {
        let found = self.0.range(..address).next_back().filter(|_| address > 0);
        found.map_or("shared libraries", |(_, name)| name)
    }
}

// === impl Difference ===

impl Difference {
    fn between(fewer: &Counts, more: &Counts, events: u64, symbols: &Symbols) -> Difference {
        let mut functions: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        for (place, (allocations, bytes)) in &more.0 {
            let before = fewer.0.get(place).copied().unwrap_or_default();
            let function = functions.entry(symbols.name(*place).to_owned()).or_default();
            function.0 += allocations.saturating_sub(before.0);
            function.1 += bytes.saturating_sub(before.1);
        }
        Difference { events, functions }
    }

    fn per_event(&self, value: impl Fn(&str, (u64, u64)) -> u64) -> f64 {
        let sum: u64 = self.functions.iter().map(|(name, counts)| value(name, *counts)).sum();
        as_float(sum) / as_float(self.events)
    }

    /// The functions that allocate most often; each takes the place of those that were inlined into it.
    fn greatest(&self) -> Vec<String> {
        let mut functions: Vec<(&String, &(u64, u64))> = self.functions.iter().collect();
        functions.sort_by_key(|(_, (allocations, _))| std::cmp::Reverse(*allocations));
        let named = functions
            .into_iter()
            .take(PLACES_NAMED)
            .map(|(name, (allocations, bytes))| {
                let [allocations, bytes] = [allocations, bytes].map(|number| as_float(*number) / as_float(self.events));
                format!("{allocations:.3} allocations and {bytes:.0} bytes per event in `{name}`")
            });
        named.collect()
    }
}
