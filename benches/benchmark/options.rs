//! The command line.

use std::fmt;

use tailrace_tests::servers::{Kafka, Result, ServerError};

use crate::backlogs::Content;
use crate::readers::Reader;
use crate::report::Report;
use crate::source::{Engine, Shape, Table};
use crate::{allocations, backlogs, codec, large, latency, outage, outbox, sink};

/// How large everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Whether the machinery works and the counts are right; no figure of it means anything.
    Smoke,
    /// The sizes that are quoted.
    Full,
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Workload {
    /// W1 in one `INSERT … SELECT`.
    Bulk,
    /// W1 in transactions of 500 rows.
    Transactions,
    /// W2 in transactions of 500 rows, on each database.
    Cart(Engine),
    /// W3: latency at a fixed rate.
    Latency,
    /// W4: a backlog of events, written into each database.
    Sink(Engine),
    /// W5: idle, and killed.
    Outage,
    /// W6: one transaction, followed live.
    Large,
    /// W7: an outbox that is polled.
    Outbox,
    /// The encoder alone.
    Codec,
    /// Allocations per event.
    Allocations,
}

/// What was asked for.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) workloads: Vec<Workload>,
    pub(crate) rounds: u32,
    /// Rows of a backlog.
    pub(crate) rows: u64,
    /// Those who drain the backlogs.
    pub(crate) readers: Vec<Reader>,
}

// === impl Workload ===

impl Workload {
    pub(crate) const ALL: [Workload; 14] = [
        Workload::Transactions,
        Workload::Bulk,
        Workload::Cart(Engine::Postgres),
        Workload::Cart(Engine::MySql),
        Workload::Cart(Engine::MariaDb),
        Workload::Latency,
        Workload::Sink(Engine::Postgres),
        Workload::Sink(Engine::MySql),
        Workload::Sink(Engine::MariaDb),
        Workload::Outage,
        Workload::Large,
        Workload::Outbox,
        Workload::Codec,
        Workload::Allocations,
    ];

    /// As it is called on the command line and in the raw figures.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Workload::Bulk => "W1-bulk",
            Workload::Transactions => "W1-500",
            Workload::Cart(Engine::Postgres) => "W2-postgresql",
            Workload::Cart(Engine::MySql) => "W2-mysql",
            Workload::Cart(Engine::MariaDb) => "W2-mariadb",
            Workload::Latency => latency::NAME,
            Workload::Sink(Engine::Postgres) => "W4-postgresql",
            Workload::Sink(Engine::MySql) => "W4-mysql",
            Workload::Sink(Engine::MariaDb) => "W4-mariadb",
            Workload::Outage => "W5",
            Workload::Large => large::NAME,
            Workload::Outbox => outbox::NAME,
            Workload::Codec => codec::NAME,
            Workload::Allocations => allocations::NAME,
        }
    }

    pub(crate) async fn run(self, options: &Options, kafka: &Kafka, report: &mut Report) -> Result<()> {
        let transactions = Shape::Transactions(500);
        match self {
            Workload::Bulk => {
                let content = Content::new(Engine::Postgres, Table::Employees, Shape::OneTransaction);
                backlogs::run(self, content, options, kafka, report).await
            }
            Workload::Transactions => {
                let content = Content::new(Engine::Postgres, Table::Employees, transactions);
                backlogs::run(self, content, options, kafka, report).await
            }
            Workload::Cart(engine) => {
                let content = Content::new(engine, Table::Cart, transactions);
                backlogs::run(self, content, options, kafka, report).await
            }
            Workload::Latency => latency::run(options, kafka, report).await,
            Workload::Sink(engine) => sink::run(self.name(), engine, options, kafka, report).await,
            Workload::Outage => outage::run(options, kafka, report).await,
            Workload::Large => large::run(options, kafka, report).await,
            Workload::Outbox => outbox::run(options, kafka, report).await,
            Workload::Codec => codec::run(options, report),
            Workload::Allocations => allocations::run(options, kafka, report).await,
        }
    }
}

impl fmt::Display for Workload {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl Options ===

impl Options {
    /// `[smoke|full] [WORKLOAD…] [--rounds N] [--rows N] [--readers NAME,…]`
    pub(crate) fn from_arguments(arguments: impl Iterator<Item = String>) -> Result<Options> {
        // Cargo adds this one to every benchmark.
        let mut arguments = arguments.filter(|argument| argument != "--bench");
        let mut options = Options {
            mode: Mode::Full,
            workloads: Vec::new(),
            rounds: 0,
            rows: 0,
            readers: Vec::new(),
        };
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "smoke" => options.mode = Mode::Smoke,
                "full" => options.mode = Mode::Full,
                "--rounds" => options.rounds = number(&argument, arguments.next())?,
                "--rows" => options.rows = number(&argument, arguments.next())?,
                "--readers" => options.readers = readers(&arguments.next().unwrap_or_default())?,
                name => options.workloads.push(workload(name)?),
            }
        }
        options.fill_in();
        Ok(options)
    }

    fn fill_in(&mut self) {
        let (rounds, rows) = match self.mode {
            Mode::Smoke => (1, 20_000),
            Mode::Full => (3, 2_000_000),
        };
        if self.rounds == 0 {
            self.rounds = rounds;
        }
        if self.rows == 0 {
            self.rows = rows;
        }
        if self.readers.is_empty() {
            // One of each kind; but a worker of Kafka Connect takes longer to start than everything else of a smoke run.
            self.readers = match self.mode {
                Mode::Smoke => vec![Reader::Limit, Reader::Kafka, Reader::File],
                Mode::Full => Reader::ALL.to_vec(),
            };
        }
        if self.workloads.is_empty() {
            self.workloads = Workload::ALL.to_vec();
        }
    }
}

fn number<T: std::str::FromStr>(option: &str, value: Option<String>) -> Result<T> {
    let value = value.unwrap_or_default();
    value
        .parse()
        .map_err(|_| ServerError::new(format!("{option} takes a number and not {value:?}")))
}

fn workload(name: &str) -> Result<Workload> {
    let found = Workload::ALL
        .into_iter()
        .find(|workload| workload.name().eq_ignore_ascii_case(name));
    found.ok_or_else(|| {
        let names = Workload::ALL.map(Workload::name).join(", ");
        ServerError::new(format!("{name:?} is no workload; there are {names}"))
    })
}

fn readers(names: &str) -> Result<Vec<Reader>> {
    let one = |name: &str| {
        let names = Reader::ALL.map(Reader::name).join(", ");
        Reader::by_name(name).ok_or_else(|| ServerError::new(format!("{name:?} is no reader; there are {names}")))
    };
    names.split(',').map(one).collect()
}
