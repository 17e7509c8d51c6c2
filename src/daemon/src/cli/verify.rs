//! `tailrace verify`: compares the tables that a sink writes with the tables of the sources that its topics come from, or with what the topics
//! say, while everything runs.

mod compared;
mod pairings;
mod repair;
mod report;
mod routes;
mod settle;
mod slice;
mod stream;
mod told;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tailrace_core::ports::EventStream;
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::registry::SchemaRegistry;
use tailrace_core::schema::TableName;
use tailrace_core::{Error, Result};
use tailrace_sql::sink::SqlSink;
use tailrace_sql::sink::config::WriteMode;
use tailrace_sql::verify::VerifiedTarget;
use tailrace_sql::verify::origin::Origin;
use tailrace_sql::verify::reader::{Side, TableReader};
use tailrace_sql::verify::repair::Place;
use tailrace_sql::verify::table::{Reach, TableComparison, TargetRows};

use self::compared::Compared;
use self::pairings::Pairings;
use self::report::{Report, TableReport};
use self::routes::{Route, Way};
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
/// A day: who waits longer does so for something that does not come.
const WAIT_MAXIMUM_S: u64 = 86_400;
/// What is said of a million small rows; a part of what a machine has that runs databases.
const MEMORY_MB: usize = 256;
/// Keys that are listed of each table; the counts are of all.
const LISTED_KEYS: usize = 20;

/// What is compared, and what is done about it.
#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArguments {
    /// The configuration, with the sink, and with the sources of its topics unless they are not at hand.
    pub(crate) file: PathBuf,
    /// The sink.
    connector: String,
    /// Only these tables, by their names in the source or in the target, or by their topics.
    #[arg(long)]
    table: Vec<String>,
    /// Compare with what the topics say last of each key, and leave the sources alone. Topics without a source in the file are compared so
    /// in any case.
    #[arg(long)]
    stream: bool,
    /// Write what the source has, or what the topic says, where the target drifted.
    #[arg(long)]
    repair: bool,
    /// One JSON document instead of text.
    #[arg(long)]
    json: bool,
    /// Rows that are read at a time.
    #[arg(long, value_name = "N", default_value_t = CHUNK_ROWS)]
    chunk_rows: u32,
    /// How long the sink is waited for that has not written everything yet, seconds, for each table.
    #[arg(long, value_name = "SECONDS", default_value_t = WAIT_S, value_parser = clap::value_parser!(u64).range(..=WAIT_MAXIMUM_S))]
    wait: u64,
    /// What a topic says is held in about so much memory, megabytes; a topic that says more is read several times.
    #[arg(long, value_name = "MB", default_value_t = MEMORY_MB)]
    memory_mb: usize,
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
    /// The topics that are there and that the sink reads.
    topics: Vec<Arc<str>>,
    /// The topic of each table of a source, and what it may be called in the target.
    of_sources: Vec<(Arc<str>, String)>,
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
    let topics = routes::topics(sink, &*stream).await?;
    let ways = routes::ways(&plan, sink, &topics, !arguments.stream).await?;
    let of_sources = routes::of_sources(&ways, target.rules());
    let chosen = routes::choose(ways, &arguments.table, target.rules()).map_err(Failure::Usage)?;
    // The origin that its rows are marked with is then none of a writer's.
    let session = target.sink(SinkContext::beside(&sink.name), arguments.repair).await?;
    let mut sides = Sides {
        plan: &plan,
        sink,
        stream,
        target,
        session,
        topics,
        of_sources,
    };
    let mut report = Report::new(&sink.name);
    for way in &chosen {
        match way {
            Way::Source(route) => report.tables.push(sides.compare(route, &arguments).await),
            Way::Topic(topic) => report.tables.extend(sides.compare_topic(topic, &arguments).await),
        }
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
            report.problem = Some(problem(&error));
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
        let mut topic = self.topic(&route.topic).await?;
        let mut pairings = self.pairings(route, &comparison);
        let mut settlement = self.settlement((&mut topic, &mut pairings), arguments);
        settlement.has_snapshot = route.connector.source.has_snapshot();
        let mut compared = Compared::Source(&mut comparison);
        compared
            .conclude(&mut settlement, tally.suspects, (&place, arguments), report)
            .await
    }

    /// Somebody who reads a topic from where the sink is.
    async fn topic(&mut self, topic: &str) -> Result<TopicReader> {
        let registry = match &self.sink.format.registry {
            Some(name) => self
                .plan
                .registries
                .get(name)
                .map(|registry| registry.connect())
                .transpose()?,
            None => self.registry_of_stream().await?,
        };
        let written = self.session.written_of(topic).await?;
        TopicReader::open(&*self.stream, self.sink, (topic, &written), registry).await
    }

    /// Where the sources of the file publish their schemas; without one, where the sink itself looks for them.
    async fn registry_of_stream(&self) -> Result<Option<Arc<dyn SchemaRegistry>>> {
        let stream = &self.sink.stream;
        if self.plan.connectors.iter().any(|connector| connector.stream == *stream) {
            return registries::of_stream(self.plan, stream).await;
        }
        registries::embedded(self.plan).await.map(Some)
    }

    /// Which events of a route's topic are about its table: their own name of it may be one of several.
    fn pairings(&self, route: &Route<'_>, comparison: &TableComparison) -> Pairings {
        let rules = Arc::clone(self.target.rules());
        let topic = Arc::clone(&route.topic);
        let written: Vec<String> = route
            .sources()
            .iter()
            .map(|source| rules.table_of_events(&topic, source))
            .collect();
        let config = self.target.rules().config();
        let is_written_there = move |name: &_| written.contains(&rules.table_of_events(&topic, name));
        let mut pairings = Pairings::new(Arc::clone(comparison.pairing().target()), config, is_written_there);
        pairings.known = Some(Arc::new(comparison.pairing().clone()));
        pairings
    }

    fn settlement<'s>(
        &'s mut self,
        (topic, pairings): (&'s mut TopicReader, &'s mut Pairings),
        arguments: &VerifyArguments,
    ) -> Settlement<'s> {
        Settlement {
            topic,
            pairings,
            has_snapshot: true,
            session: &mut self.session,
            wait: Duration::from_secs(arguments.wait),
            deadline: None,
        }
    }

    /// Whether other topics are written into a table, too. Only `tables` can say so: what a template would give to two topics is refused.
    fn is_shared(&self, topic: &str, name: &TableName) -> bool {
        let rules = self.target.rules();
        let named = &rules.config().tables;
        let others = self
            .topics
            .iter()
            .map(|other| &**other)
            .chain(named.keys().map(String::as_str));
        others
            .filter(|other| *other != topic && (named.contains_key(*other) || named.contains_key(topic)))
            .any(|other| self.session.table_name(&rules.table_of_topic(other)) == *name)
    }

    /// Whether other tables of the sources come into a table by the same topic.
    fn is_merged(&self, topic: &str, written: &str) -> bool {
        let same = |(of, called): &&(Arc<str>, String)| **of == *topic && called == written;
        self.of_sources.iter().filter(same).count() > 1
    }

    /// The two tables of a route, and what the rows of one are called as events.
    async fn comparison(
        &mut self,
        route: &Route<'_>,
        arguments: &VerifyArguments,
        report: &mut TableReport,
    ) -> Result<(TableComparison, Place)> {
        let config = self.target.rules().config().clone();
        check_table(route)?;
        let source = route.connector.source.readable(&route.connector.name)?;
        let origin = TableReader::open(source.read(&route.table).await?, &route.table.table, Side::Source).await?;
        let transforms = route.transforms(self.sink)?;
        let origin = Origin::new(origin, transforms)?.ok_or_else(|| {
            let message = "the sink's `transforms` leave the table out; there is nothing to compare";
            Error::definite("table_left_out", message)
        })?;
        let (name, reach, place) = self.target_table(route, arguments).await?;
        report.target = name.qualified();
        report.is_shared = reach.is_shared;
        let reader = TableReader::open(self.target.read(&name).await?, &name.table, Side::Target).await?;
        let target = TargetRows::new(reader, &config);
        let comparison = TableComparison::new(origin, target, &config, reach)?;
        Ok((comparison, place))
    }

    /// The table that the topic's events are written into. Which table they say they are of depends on their envelope.
    async fn target_table(
        &mut self,
        route: &Route<'_>,
        arguments: &VerifyArguments,
    ) -> Result<(TableName, Reach, Place)> {
        let rules = Arc::clone(self.target.rules());
        let mut tried = Vec::new();
        for source in route.sources() {
            let written = rules.table_of_events(&route.topic, &source);
            let name = self.session.table_name(&written);
            // As the target itself calls it: names may be found whatever their case.
            if let Some(table) = self.session.named_table(&written).await? {
                let reach = Reach {
                    chunk_rows: arguments.chunk_rows,
                    is_shared: self.is_shared(&route.topic, &name) || self.is_merged(&route.topic, &written),
                };
                let place = Place {
                    topic: Arc::clone(&route.topic),
                    source,
                };
                return Ok((table.name().clone(), reach, place));
            }
            tried.push(name.qualified());
        }
        tried.dedup();
        Err(table_missing(&tried.join(" or "), &route.topic))
    }
}

/// The answer of a query is no table whose rows could be looked up by their keys.
fn check_table(route: &Route<'_>) -> Result<()> {
    let name = route.name();
    let query = route.connector.source.query();
    if !query.is_some_and(|query| query.queries.contains_key(&name)) {
        return Ok(());
    }
    let message = format!(
        "{name} is the answer of a query of the configuration (`query.queries`), which is not compared; compare its target with what the topic \
         says: --stream"
    );
    Err(Error::definite("query_not_compared", message))
}

fn table_missing(names: &str, topic: &str) -> Error {
    let message = format!(
        "the target has no table {names} for the topic {topic}; has the sink written anything yet? `tailrace check` says what it lacks"
    );
    Error::definite("table_missing", message)
}

fn problem(error: &Error) -> String {
    format!("{} [{}]", error.report(), error.code())
}
