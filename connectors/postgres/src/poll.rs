//! From nothing, or from what was saved, to a source that polls: nothing is created on the server.

use std::sync::Arc;

use tailrace_core::ports::{Source, SourceContext};
use tailrace_core::predecessor::{JdbcOffset, TakeOver};
use tailrace_core::schema::SharedSchema;
use tailrace_core::telemetry::Life;
use tailrace_core::{Error, Result};
use tailrace_sql::config::QueryConfig;
use tailrace_sql::take_over::Matched;
use tailrace_sql::{Dialect, Opening, PollingSource, cursor};

use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::dialect::PostgresDialect;
use crate::discover::server::{ServerFacts, server_facts};
use crate::memory::PolledMemory;

/// Opens the source where `context.resume` says.
pub(crate) async fn open(
    config: Arc<PostgresConfig>,
    query: QueryConfig,
    context: SourceContext,
) -> Result<Box<dyn Source>> {
    context.telemetry.enter(Life::Starting, "connecting to PostgreSQL");
    let session = connect(&config, &context.connector, Purpose::Poll).await?;
    let server = server_facts(&session).await?;
    establish(&server, &context).await?;
    let identity = identity(&server);
    let opening = Opening {
        dialect: PostgresDialect::new(session, config, query.clone(), server).await?,
        identity,
        config: query,
        context,
    };
    Ok(Box::new(PollingSource::open(opening).await?))
}

/// The tables and queries as they are now.
pub(crate) async fn describe(config: &Arc<PostgresConfig>, query: &QueryConfig) -> Result<Vec<SharedSchema>> {
    let session = connect(config, "describe", Purpose::Poll).await?;
    let server = server_facts(&session).await?;
    let mut dialect = PostgresDialect::new(session, Arc::clone(config), query.clone(), server).await?;
    let discovery = dialect.discover().await?;
    Ok(discovery.tables.into_iter().map(|table| table.schema).collect())
}

/// Where to go on from what Kafka Connect's JDBC source stored.
pub(crate) async fn take_over(
    config: &Arc<PostgresConfig>,
    query: &QueryConfig,
    connector: &str,
    offsets: &[JdbcOffset],
) -> Result<TakeOver> {
    let session = connect(config, connector, Purpose::Poll).await?;
    let server = server_facts(&session).await?;
    let memory = PolledMemory::of(&server).to_json()?;
    let mut dialect = PostgresDialect::new(session, Arc::clone(config), query.clone(), server).await?;
    let discovery = dialect.discover().await?;
    // The driver reads a time with a zone as the moment that it is.
    let (cursors, notes) = Matched::of(discovery.tables, query, offsets)?.cursors()?;
    Ok(TakeOver {
        position: cursor::to_position(&cursors)?,
        memory,
        notes,
    })
}

/// The cluster and the database. Not the connector: a row has the same `event_id` whichever of several daemons reads it.
fn identity(server: &ServerFacts) -> Arc<str> {
    format!("{}.{}", server.system_identifier, server.database_oid).into()
}

/// Remembers the server at the first start, and refuses another one later.
async fn establish(server: &ServerFacts, context: &SourceContext) -> Result<()> {
    let mut now = PolledMemory::of(server);
    let store = &*context.store;
    let Some(known) = PolledMemory::recall(store).await? else {
        if context.resume.is_some() {
            return Err(Error::definite(
                "state_corrupt",
                "the state has progress of this source but does not know whose it is; restore the state file from a backup",
            ));
        }
        return now.remember(store).await;
    };
    known.verify(&now)?;
    // A standby does not say on which timeline it is.
    now.timeline = now.timeline.or(known.timeline);
    let took_over = known.timeline.is_some() && now.timeline > known.timeline;
    let notice = took_over.then(|| {
        "another server was promoted, or this one was restored, since the last start: rows that were published before and did not \
         reach it are not there any more, and their ids may come again with other rows, which mode incrementing does not see"
            .to_owned()
    });
    context.telemetry.set_notice("server_promoted", notice);
    if known == now {
        return Ok(());
    }
    now.remember(store).await
}
