//! Reading tables to compare them, of sources and of targets.

use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::schema::TableName;
use tailrace_sql::sink::{SinkRules, SqlSink};
use tailrace_sql::verify::{ReadableDatabase, VerifiedTarget};
use tailrace_sql::{Dialect, QueryConfig, QueryMode};

use crate::config::PostgresConfig;
use crate::connect::{Purpose, connect};
use crate::dialect::PostgresDialect;
use crate::discover::server::server_facts;
use crate::{PostgresConnector, PostgresSink};

#[async_trait]
impl ReadableDatabase for PostgresConnector {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        open(self.config.of_table(&table.schema, &table.table)).await
    }
}

#[async_trait]
impl ReadableDatabase for PostgresSink {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        open(self.config.as_source().of_table(&table.schema, &table.table)).await
    }
}

#[async_trait]
impl VerifiedTarget for PostgresSink {
    fn rules(&self) -> &Arc<SinkRules> {
        &self.rules
    }

    async fn sink(&self, context: SinkContext, writes: bool) -> Result<SqlSink> {
        // What marks rows is made in the database where it is not there yet.
        self.with_origin(writes).open_sink(context).await
    }
}

async fn open(config: PostgresConfig) -> Result<Box<dyn Dialect>> {
    let session = connect(&config, "verify", Purpose::Poll).await?;
    let server = server_facts(&session).await?;
    let query = QueryConfig::new(QueryMode::Bulk);
    let dialect = PostgresDialect::new(session, Arc::new(config), query, server).await?;
    Ok(Box::new(dialect))
}
