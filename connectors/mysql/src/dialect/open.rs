//! From nothing, or from what was saved, to an open source that polls.

use std::sync::Arc;
use std::time::Duration;

use mysql_async::Conn;
use serde::{Deserialize, Serialize};
use tailrace_core::ports::{ConnectorStore, Source, SourceContext};
use tailrace_core::predecessor::{JdbcOffset, TakeOver};
use tailrace_core::schema::SharedSchema;
use tailrace_core::telemetry::Life;
use tailrace_core::{Error, Result};
use tailrace_sql::take_over::Matched;
use tailrace_sql::{Dialect, Opening, PollingSource, QueryConfig, QueryMode, cursor};

use super::MySqlDialect;
use super::catalogue::{self, Strictness};
use super::facts::{Facts, Ledger};
use super::wall_clock;
use super::writers::Elders;
use crate::config::MySqlConfig;
use crate::connect::{self, Purpose};
use crate::endpoint::Endpoint;
use crate::memory::new_identity;
use crate::position::start::ServerIdentity;
use crate::server::{self, Flavour, ServerFacts};

/// The server shows transactions as they were up to a tenth of a second ago, and a new one a little after it took its first id.
const TRANSACTIONS_SHOWN_AFTER: Duration = Duration::from_millis(200);

/// What a polled source remembers of its server.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Remembered {
    /// What identifiers of events begin with.
    identity: String,
    /// Whose rows were carried.
    polled: ServerIdentity,
}

// === impl Remembered ===

impl Remembered {
    fn new(server: &ServerFacts) -> Self {
        Self {
            identity: new_identity(server),
            polled: ServerIdentity::of(server),
        }
    }

    fn to_json(&self) -> Result<serde_json::Value> {
        serde_json::to_value(self).map_err(|error| {
            let message = "what is known of the source cannot be written as JSON";
            Error::definite("state_unwritable", message).with_source(error)
        })
    }
}

/// Opens the source where `context.resume` says.
pub(crate) async fn open(
    config: Arc<MySqlConfig>,
    query: QueryConfig,
    flavour: Flavour,
    context: SourceContext,
) -> Result<Box<dyn Source>> {
    context
        .telemetry
        .enter(Life::Starting, format!("connecting to {}", flavour.name()));
    let (mut connection, server) = connect(&config, flavour).await?;
    let identity = identity(&*context.store, context.resume.is_some(), &server).await?;
    let facts = Facts::of(&mut connection, server).await?;
    let elders = elders(&mut connection, &facts, &query).await?;
    let opening = Opening {
        dialect: MySqlDialect::new(connection, config, facts, elders),
        identity,
        config: query,
        context,
    };
    Ok(Box::new(PollingSource::open(opening).await?))
}

/// The tables and queries as they are now.
pub(crate) async fn describe(config: &MySqlConfig, flavour: Flavour) -> Result<Vec<SharedSchema>> {
    let (mut connection, server) = connect(config, flavour).await?;
    let catalogue = catalogue::read(&mut connection, config, &server, Strictness::All).await?;
    let tables = catalogue.discovery.tables.into_iter();
    Ok(tables.map(|table| table.schema).collect())
}

/// The tables of a configuration, for whoever reads them once.
pub(crate) async fn read(config: MySqlConfig, endpoint: &Endpoint, flavour: Flavour) -> Result<Box<dyn Dialect>> {
    let connection = connect::connect_at(endpoint, &config, Purpose::Polling).await?;
    let (mut connection, server) = known(connection, flavour).await?;
    let facts = Facts::of(&mut connection, server).await?;
    let dialect = MySqlDialect::new(connection, Arc::new(config), facts, Elders::default());
    Ok(Box::new(dialect))
}

/// Where to go on from what Kafka Connect's JDBC source stored.
pub(crate) async fn take_over(
    config: &MySqlConfig,
    query: &QueryConfig,
    flavour: Flavour,
    offsets: &[JdbcOffset],
) -> Result<TakeOver> {
    let (mut connection, server) = connect(config, flavour).await?;
    let catalogue = catalogue::read(&mut connection, config, &server, Strictness::All).await?;
    let mut matched = Matched::of(catalogue.discovery.tables, query, offsets)?;
    wall_clock::to_moments(&mut connection, &mut matched).await?;
    let (cursors, notes) = matched.cursors()?;
    Ok(TakeOver {
        position: cursor::to_position(&cursors)?,
        memory: Remembered::new(&server).to_json()?,
        notes,
    })
}

async fn connect(config: &MySqlConfig, flavour: Flavour) -> Result<(Conn, ServerFacts)> {
    known(connect::connect(config, Purpose::Polling).await?, flavour).await
}

async fn known(mut connection: Conn, flavour: Flavour) -> Result<(Conn, ServerFacts)> {
    let server = server::server_facts(&mut connection).await?;
    server.identity.verify_flavour(flavour)?;
    server.identity.verify_version()?;
    Ok((connection, server))
}

/// The identity that was made at the first start; another server than then is refused.
async fn identity(store: &dyn ConnectorStore, has_progress: bool, server: &ServerFacts) -> Result<Arc<str>> {
    let corrupt = |message: &'static str| Error::definite("state_corrupt", message);
    let Some(json) = store.recall().await? else {
        if has_progress {
            return Err(corrupt(
                "the state has progress of this source but does not know whose it is; restore the state file from a backup",
            ));
        }
        let remembered = Remembered::new(server);
        store.remember(&remembered.to_json()?).await?;
        return Ok(remembered.identity.into());
    };
    if json.get("polled").is_none() {
        return Err(Error::definite(
            "position_other_mode",
            "this connector read the binary log so far, and its progress means nothing to queries; take `query` away again, or give \
             the connector a new name",
        ));
    }
    let remembered: Remembered = serde_json::from_value(json).map_err(|error| {
        corrupt("what the state remembers of this source cannot be read; restore the state file from a backup")
            .with_source(error)
    })?;
    remembered.polled.refuse_other(server)?;
    Ok(remembered.identity.into())
}

/// Locks that were taken before locks were instrumented are not shown. Whoever may hold such a one is waited for by name.
async fn elders(connection: &mut Conn, facts: &Facts, query: &QueryConfig) -> Result<Elders> {
    let own_modes = query.overrides.values().filter_map(|own| own.mode);
    let by_id = own_modes
        .chain([query.mode])
        .any(|mode| mode == QueryMode::Incrementing);
    if !by_id || !matches!(facts.ledger, Ledger::Ready { .. }) {
        return Ok(Elders::default());
    }
    tokio::time::sleep(TRANSACTIONS_SHOWN_AFTER).await;
    Elders::now(connection).await
}
