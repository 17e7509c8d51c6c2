//! Servers that walks use one after the other, because a broker takes seconds to start and a walk should not.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use crate::database::{Server, ServerOptions, Version};
use crate::proxy::{Protocol, Proxy};
use crate::servers::{Kafka, KafkaOptions, MySqlOptions, PostgresOptions, Result, ServerError};

/// Servers of one lane of walks; each is started when the first walk needs it.
#[derive(Default)]
pub struct Site {
    sources: BTreeMap<Version, Source>,
    kafka: Option<Arc<Kafka>>,
}

/// A server with a network that may fail.
pub(super) struct Source {
    pub(super) server: Server,
    pub(super) proxy: Proxy,
}

// === impl Site ===

impl Site {
    pub(super) fn source(&mut self, version: Version) -> Result<&Source> {
        match self.sources.entry(version) {
            Entry::Occupied(source) => Ok(source.into_mut()),
            Entry::Vacant(vacant) => {
                let (options, protocol) = options(version);
                let server = Server::start(options)?;
                let proxy = Proxy::before(server.port(), protocol)?;
                Ok(vacant.insert(Source { server, proxy }))
            }
        }
    }

    pub(super) fn broker(&mut self) -> Result<Arc<Kafka>> {
        if let Some(kafka) = &self.kafka {
            return Ok(Arc::clone(kafka));
        }
        let kafka = Arc::new(Kafka::start(KafkaOptions::default().proxies(1))?);
        self.kafka = Some(Arc::clone(&kafka));
        Ok(kafka)
    }

    /// Puts the servers' logs into a folder.
    pub(super) fn keep_logs(&self, folder: &Path) -> Result<()> {
        let servers = self.sources.iter();
        let mut logs: Vec<(String, String)> = servers
            .map(|(version, source)| (format!("{version}.log").replace(' ', "-"), source.server.log()))
            .collect();
        logs.extend(self.kafka.iter().map(|kafka| ("kafka.log".to_owned(), kafka.log())));
        for (name, log) in logs {
            fs::write(folder.join(&name), log).map_err(ServerError::doing(format!("writing {name}")))?;
        }
        Ok(())
    }
}

/// What makes rare things frequent.
fn options(version: Version) -> (ServerOptions, Protocol) {
    match version {
        Version::Postgres(version) => {
            // Short, so that sessions that fell silent let their slots go before a walk is too long.
            let options = PostgresOptions::version(version).setting("wal_sender_timeout = 3s");
            (options.into(), Protocol::Postgres)
        }
        Version::MySql(version) => {
            // The log goes over into another file every now and then.
            let options = MySqlOptions::version(version).setting("max_binlog_size=262144");
            (options.into(), Protocol::MySql)
        }
    }
}
