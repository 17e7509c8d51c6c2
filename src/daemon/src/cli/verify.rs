//! `tailrace verify`: compares the tables that a sink writes with the tables of the sources that its topics come from, while both run.

mod offsets;
mod repair;
mod report;
mod routes;
mod settle;
mod stream;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::ports::EventStream;
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::telemetry::Telemetry;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::SqlSink;
use tailrace_sql::sink::config::WriteMode;
use tailrace_sql::verify::VerifiedTarget;
use tailrace_sql::verify::origin::Origin;
use tailrace_sql::verify::reader::TableReader;
use tailrace_sql::verify::repair::Place;
use tailrace_sql::verify::table::{TableComparison, TargetRows};
use tokio::time::Instant;

use self::offsets::Offsets;
use self::report::{Report, TableReport};
use self::routes::Route;
use self::settle::Settlement;
use self::stream::TopicReader;
use super::{Exit, Failure};
use crate::config::fault::suggestion;
use crate::config::plan::{Plan, SinkPlan};
use crate::registries;
use crate::screen;

/// Rows of a chunk: a page of some hundred kilobytes, and a statement that names as many keys.
const CHUNK_ROWS: u32 = 1_000;
/// Longer than a sink takes for a batch, shorter than anybody waits at a prompt without a word.
const WAIT_S: u64 = 30;
/// Keys that are listed of each table; the counts are of all.
const LISTED_KEYS: usize = 20;
/// The number that no writer of a connector has: the origin that its rows are marked with is then another one, too.
const WRITER: usize = 99;

/// What is compared, and what is done about it.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArguments {
    /// The configuration, with the sink and the sources of its topics.
    pub(crate) file: PathBuf,
    /// The sink.
    connector: String,
    /// Only these tables, by their names in the source or in the target, or by their topics.
    #[arg(long)]
    table: Vec<String>,
    /// Write what the source has where the target drifted.
    #[arg(long)]
    repair: bool,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// Rows that are read at a time.
    #[arg(long, value_name = "N", default_value_t = CHUNK_ROWS)]
    chunk_rows: u32,
    /// How long the sink is waited for that has not written everything yet, seconds, for each table.
    #[arg(long, value_name = "SECONDS", default_value_t = WAIT_S)]
    wait: u64,
    /// Keys that are listed of each table.
    #[arg(long, value_name = "N", default_value_t = LISTED_KEYS)]
    keys: usize,
    /// Show the values that differ; they may be secret.
    #[arg(long)]
    show_values: bool,
}

/// Both sides of the sink, as far as they are the same for all its tables.
struct Sides<'a> {
    plan: &'a Plan,
    sink: &'a SinkPlan,
    stream: Arc<dyn EventStream>,
    target: Arc<dyn VerifiedTarget>,
    session: SqlSink,
}

/// Compares, and prints what was found.
pub(crate) async fn run(plan: Plan, arguments: VerifyArguments) -> Result<Exit, Failure> {
    let sink = find(&plan, &arguments.connector)?;
    let target = sink.sink.verified()?;
    let config = target.rules().config();
    if config.mode == WriteMode::Append {
        let sentence = format!(
            "`{}` writes a history (`mode: append`), which has every event and is compared with nothing that a table has now",
            sink.name
        );
        return Err(Failure::Usage(sentence));
    }
    if arguments.repair {
        tailrace_sql::verify::repair::check(config)?;
    }
    let stream = plan.stream(&sink.stream)?.connect()?;
    let routes = routes::routes(&plan, sink, &*stream).await?;
    let chosen = routes::choose(routes, &arguments.table, target.rules()).map_err(Failure::Usage)?;
    let context = SinkContext {
        connector: sink.name.clone(),
        writer: WRITER,
        telemetry: Arc::new(Telemetry::new(&sink.name)),
    };
    let session = target.sink(context).await?;
    let mut sides = Sides {
        plan: &plan,
        sink,
        stream,
        target,
        session,
    };
    let mut report = Report::new(&sink.name);
    for route in &chosen {
        report.tables.push(sides.compare(route, &arguments).await);
    }
    let text = if arguments.json {
        report.as_json()
    } else {
        report.as_text()
    };
    screen::print(&text)?;
    Ok(report.exit())
}

fn find<'a>(plan: &'a Plan, name: &str) -> Result<&'a SinkPlan, Failure> {
    if let Some(sink) = plan.sinks.iter().find(|sink| sink.name == name) {
        return Ok(sink);
    }
    if plan.connectors.iter().any(|connector| connector.name == name) {
        let sentence =
            format!("`{name}` reads a database; name a connector with a `sink`, whose tables are to be compared");
        return Err(Failure::Usage(sentence));
    }
    let known: Vec<String> = plan.sinks.iter().map(|sink| sink.name.clone()).collect();
    let sentence = format!(
        "there is no connector `{name}` with a `sink`; {}",
        suggestion(name, &known)
    );
    Err(Failure::Usage(sentence))
}

// === impl Sides ===

impl Sides<'_> {
    /// Compares one table; what keeps it from being compared is said in its place, so that the others are compared all the same.
    async fn compare(&mut self, route: &Route<'_>, arguments: &VerifyArguments) -> TableReport {
        let mut report = TableReport::new(route);
        if let Err(error) = self.try_to_compare(route, arguments, &mut report).await {
            report.problem = Some(format!("{} [{}]", error.report(), error.code()));
        }
        report
    }

    async fn try_to_compare(
        &mut self,
        route: &Route<'_>,
        arguments: &VerifyArguments,
        report: &mut TableReport,
    ) -> Result<()> {
        let (mut comparison, place) = self.comparison(route, arguments, report).await?;
        report.left_out.clone_from(&comparison.pairing().left_out);
        let tally = comparison.walk().await?;
        report.count(&tally);
        if tally.suspects.is_empty() {
            return Ok(());
        }
        let target_schema = Arc::clone(comparison.pairing().target());
        let registry = match &self.sink.format.registry {
            Some(name) => self
                .plan
                .registries
                .get(name)
                .map(|registry| registry.connect())
                .transpose()?,
            None => registries::of_stream(self.plan, &self.sink.stream).await?,
        };
        let mut settlement = Settlement {
            topic: TopicReader::open(&*self.stream, self.sink, (&route.topic, target_schema), registry).await?,
            offsets: Offsets::find(&*self.target, &mut self.session, &self.sink.name).await?,
            session: &mut self.session,
            config: self.target.rules().config(),
            deadline: Instant::now() + Duration::from_secs(arguments.wait),
        };
        let settled = settlement.settle(&mut comparison, tally.suspects).await?;
        let drift: BTreeSet<_> = settled.drift.keys().cloned().collect();
        report.settle(&settled, comparison.pairing(), arguments);
        if arguments.repair && !drift.is_empty() {
            let offsets = &mut settlement.offsets;
            let repaired = repair::repair(&mut comparison, settlement.session, &place, (offsets, drift)).await?;
            report.repaired(&repaired, comparison.pairing());
        }
        Ok(())
    }

    /// The two tables of a route, and what the rows of one are called as events.
    async fn comparison(
        &mut self,
        route: &Route<'_>,
        arguments: &VerifyArguments,
        report: &mut TableReport,
    ) -> Result<(TableComparison, Place)> {
        let config = self.target.rules().config().clone();
        let source = route.connector.source.readable()?;
        let origin = TableReader::open(source.read(&route.table).await?, &route.table.table).await?;
        let transforms = route.transforms(self.sink)?;
        let origin = Origin::new(origin, transforms)?.ok_or_else(|| {
            let message = "the sink's `transforms` leave the table out; there is nothing to compare";
            Error::definite("table_left_out", message)
        })?;
        let (name, place) = self.target_table(route).await?;
        report.target = name.qualified();
        let reader = TableReader::open(self.target.read(&name).await?, &name.table).await?;
        let target = TargetRows::new(reader, &config);
        let comparison = TableComparison::new(origin, target, &config, arguments.chunk_rows)?;
        Ok((comparison, place))
    }

    /// The table that the topic's events are written into. Which table they say they are of depends on their envelope.
    async fn target_table(&mut self, route: &Route<'_>) -> Result<(tailrace_core::schema::TableName, Place)> {
        let rules = Arc::clone(self.target.rules());
        let mut tried = Vec::new();
        for source in route.sources() {
            let written = rules.table_of_events(&route.topic, &source);
            let name = self.session.table_name(&written);
            if self.session.named_table(&written).await?.is_some() {
                let place = Place {
                    topic: Arc::clone(&route.topic),
                    source,
                };
                return Ok((name, place));
            }
            tried.push(name.qualified());
        }
        tried.dedup();
        let message = format!(
            "the target has no table {} for the topic {}; has the sink written anything yet? `tailrace check` says what it lacks",
            tried.join(" or "),
            route.topic
        );
        Err(Error::definite("table_missing", message))
    }
}
