//! Reading tables to compare them, of sources and of targets.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::schema::TableName;
use tailrace_sql::Dialect;
use tailrace_sql::sink::{SinkRules, SqlSink};
use tailrace_sql::verify::{ReadableDatabase, VerifiedTarget};

use crate::config::MySqlConfig;
use crate::endpoint::Endpoint;
use crate::{MySqlConnector, MySqlSink, dialect};

#[async_trait]
impl ReadableDatabase for MySqlConnector {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        let endpoint = Endpoint::resolve(&*self.config)?;
        let config = self.config.of_table(&table.schema, &table.table);
        dialect::read(config, &endpoint, self.flavour).await
    }
}

#[async_trait]
impl ReadableDatabase for MySqlSink {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        let endpoint = Endpoint::resolve(&self.config)?;
        // Tables that are named without a database are in that of the URL.
        let schema = match table.schema.as_str() {
            "" => endpoint.database.clone().unwrap_or_default(),
            named => named.to_owned(),
        };
        let config = MySqlConfig::at(self.config.url.clone()).of_table(&schema, &table.table);
        dialect::read(config, &endpoint, self.flavour).await
    }
}

#[async_trait]
impl VerifiedTarget for MySqlSink {
    fn rules(&self) -> &Arc<SinkRules> {
        &self.rules
    }

    async fn sink(&self, context: SinkContext, _writes: bool) -> Result<SqlSink> {
        self.open_sink(context).await
    }
}
