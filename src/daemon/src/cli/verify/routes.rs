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

/// The ways of all tables whose topics the sink reads.
///
/// # Errors
/// Where a source cannot be asked for its tables.
pub(super) async fn routes<'a>(
    plan: &'a Plan,
    sink: &SinkPlan,
    stream: &dyn EventStream,
) -> Result<Vec<Route<'a>>, Failure> {
    let patterns = &sink.subscription.topics;
    let is_read = |topic: &str| patterns.iter().any(|pattern| pattern::glob_matches(pattern, topic));
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
            if is_read(&topic) {
                routes.push(Route {
                    connector,
                    table: table.name.clone(),
                    topic,
                });
            }
        }
    }
    if routes.is_empty() {
        let exist: Vec<String> = stream
            .topics()
            .await?
            .into_iter()
            .filter(|topic| is_read(topic))
            .collect();
        return Err(Failure::Usage(no_source(sink, &exist)));
    }
    Ok(routes)
}

fn no_source(sink: &SinkPlan, exist: &[String]) -> String {
    let read = match exist {
        [] => "none of which is there yet".to_owned(),
        exist => format!("which are {}", exist.join(", ")),
    };
    format!(
        "no source of the file publishes the topics that `{}` reads ({read}), so that there is nothing to compare its tables with; put the \
         source's connector into the same file",
        sink.name
    )
}

/// Those that are asked for, by the table's name in the source, by its topic, or by its name in the target; all where none is.
pub(super) fn choose<'a>(
    routes: Vec<Route<'a>>,
    wanted: &[String],
    rules: &SinkRules,
) -> Result<Vec<Route<'a>>, String> {
    if wanted.is_empty() {
        return Ok(routes);
    }
    let names = |route: &Route<'_>| {
        let mut names = vec![route.name(), route.table.table.clone(), route.topic.to_string()];
        names.extend(
            route
                .sources()
                .iter()
                .map(|source| rules.table_of_events(&route.topic, source)),
        );
        names
    };
    for name in wanted {
        if !routes.iter().any(|route| names(route).contains(name)) {
            let known: Vec<String> = routes.iter().map(Route::name).collect();
            return Err(format!(
                "`--table {name}` is none of the tables that come into the sink; {}",
                suggestion(name, &known)
            ));
        }
    }
    let is_wanted = |route: &Route<'_>| names(route).iter().any(|name| wanted.contains(name));
    Ok(routes.into_iter().filter(is_wanted).collect())
}
