//! Which tables of which sources come into the sink.

use std::sync::Arc;

use tailrace_codec::Envelope;
use tailrace_core::ports::EventStream;
use tailrace_core::schema::TableName;
use tailrace_core::transform::Transform;
use tailrace_core::{Result, pattern};
use tailrace_sql::sink::SinkRules;

use crate::cli::Failure;
use crate::config::fault::suggestion;
use crate::config::plan::{ConnectorPlan, Plan, SinkPlan};

/// The way of one table.
pub(super) struct Route<'a> {
    /// Whose table it is.
    pub(super) connector: &'a ConnectorPlan,
    /// The table of the source.
    pub(super) table: TableName,
    /// The topic of its events.
    pub(super) topic: Arc<str>,
}

// === impl Route ===

impl Route<'_> {
    /// What happens to the table's rows: the source's rules, then the sink's.
    pub(super) fn transforms(&self, sink: &SinkPlan) -> Result<Vec<Transform>> {
        let connector = self.connector;
        Ok(vec![
            Transform::new(&connector.transforms, connector.updated_at_column.clone())?,
            Transform::new(&sink.transforms, None)?,
        ])
    }

    /// The tables that the events may say they are of, the likelier one first.
    pub(super) fn sources(&self) -> Vec<TableName> {
        let by_topic = SinkRules::source_of_topic(&self.topic);
        match self.connector.format.envelope {
            Envelope::Debezium => vec![self.table.clone(), by_topic],
            Envelope::Entity => vec![by_topic, self.table.clone()],
        }
    }

    /// The table, in full.
    pub(super) fn name(&self) -> String {
        self.table.qualified()
    }
}

/// What a table of the target is compared with.
pub(super) enum Way<'a> {
    /// The table of a source.
    Source(Route<'a>),
    /// The topic alone.
    Topic(Arc<str>),
}

// === impl Way ===

impl Way<'_> {
    fn name(&self) -> String {
        match self {
            Self::Source(route) => route.name(),
            Self::Topic(topic) => topic.to_string(),
        }
    }

    /// Everything that it may be called by.
    fn names(&self, rules: &SinkRules) -> Vec<String> {
        match self {
            Self::Source(route) => {
                let mut names = vec![route.name(), route.table.table.clone(), route.topic.to_string()];
                let sources = route.sources();
                let written = sources.iter().map(|source| rules.table_of_events(&route.topic, source));
                names.extend(written);
                names
            }
            Self::Topic(topic) => vec![topic.to_string(), rules.table_of_topic(topic)],
        }
    }
}

/// The topics that are there and that the sink reads.
pub(super) async fn topics(sink: &SinkPlan, stream: &dyn EventStream) -> Result<Vec<Arc<str>>> {
    let topics = stream.topics().await?.into_iter().filter(|topic| is_read(sink, topic));
    Ok(topics.map(Arc::from).collect())
}

fn is_read(sink: &SinkPlan, topic: &str) -> bool {
    let patterns = &sink.subscription.topics;
    patterns.iter().any(|pattern| pattern::glob_matches(pattern, topic))
}

/// The ways of all tables that the sink writes: from the sources of the file, where they may be asked; else from the topics that are there.
///
/// # Errors
/// Where a source cannot be asked for its tables; where there is nothing to compare.
pub(super) async fn ways<'a>(
    plan: &'a Plan,
    sink: &SinkPlan,
    topics: &[Arc<str>],
    with_sources: bool,
) -> Result<Vec<Way<'a>>, Failure> {
    let routes = if with_sources {
        routes(plan, sink).await?
    } else {
        Vec::new()
    };
    let has_source = |topic: &&Arc<str>| routes.iter().any(|route| route.topic == **topic);
    let told: Vec<_> = topics.iter().filter(|topic| !has_source(topic)).cloned().collect();
    let ways: Vec<_> = routes
        .into_iter()
        .map(Way::Source)
        .chain(told.into_iter().map(Way::Topic))
        .collect();
    if ways.is_empty() {
        return Err(Failure::Usage(format!(
            "none of the topics that `{}` reads is there yet, and no source of the file publishes one, so that there is nothing to compare its \
             tables with",
            sink.name
        )));
    }
    Ok(ways)
}

/// The topic of each table of a source, and what the table may be called in the target.
pub(super) fn of_sources(ways: &[Way<'_>], rules: &SinkRules) -> Vec<(Arc<str>, String)> {
    let mut found = Vec::new();
    for way in ways {
        let Way::Source(route) = way else { continue };
        let mut names: Vec<String> = route
            .sources()
            .iter()
            .map(|source| rules.table_of_events(&route.topic, source))
            .collect();
        names.dedup();
        found.extend(names.into_iter().map(|name| (Arc::clone(&route.topic), name)));
    }
    found
}

async fn routes<'a>(plan: &'a Plan, sink: &SinkPlan) -> Result<Vec<Route<'a>>, Failure> {
    let mut routes = Vec::new();
    for connector in plan
        .connectors
        .iter()
        .filter(|connector| connector.stream == sink.stream)
    {
        let mut transform = Transform::new(&connector.transforms, connector.updated_at_column.clone())?;
        let tables = connector.source_connector()?.describe().await?;
        let is_outbox = |table: &_| connector.outbox.as_ref().is_some_and(|outbox| outbox.selects(table));
        for table in tables.iter().filter(|table| !is_outbox(table)) {
            let Some(events) = transform.describe(table)? else {
                continue;
            };
            let topic: Arc<str> = match transform.route(table)? {
                Some(topic) => topic,
                None => connector.topic.topic_of(&connector.prefix, &events)?.into(),
            };
            if is_read(sink, &topic) {
                routes.push(Route {
                    connector,
                    table: table.name.clone(),
                    topic,
                });
            }
        }
    }
    Ok(routes)
}

/// Those that are asked for, by the table's name in the source, by its topic, or by its name in the target; all where none is.
pub(super) fn choose<'a>(ways: Vec<Way<'a>>, wanted: &[String], rules: &SinkRules) -> Result<Vec<Way<'a>>, String> {
    if wanted.is_empty() {
        return Ok(ways);
    }
    for name in wanted {
        if !ways.iter().any(|way| way.names(rules).contains(name)) {
            let known: Vec<String> = ways.iter().map(Way::name).collect();
            return Err(format!(
                "`--table {name}` is none of the tables that come into the sink; {}",
                suggestion(name, &known)
            ));
        }
    }
    let is_wanted = |way: &Way<'_>| way.names(rules).iter().any(|name| wanted.contains(name));
    Ok(ways.into_iter().filter(is_wanted).collect())
}
