//! Reading tables to compare them, of sources and of targets.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::ports::sink::SinkContext;
use tailrace_core::schema::TableName;
use tailrace_sql::sink::{SinkRules, SqlSink};
use tailrace_sql::verify::{ReadableDatabase, VerifiedTarget};
use tailrace_sql::{Dialect, QueryConfig, QueryMode};

use crate::config::{SqliteConfig, TimestampUnit};
use crate::dialect::SqliteDialect;
use crate::{SqliteConnector, SqliteSink, connect, identity};

#[async_trait]
impl ReadableDatabase for SqliteConnector {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        read(SqliteConfig {
            tables: vec![table.table.clone()],
            exclude: Vec::new(),
            query: QueryConfig::new(QueryMode::Bulk),
            ..self.config.clone()
        })
        .await
    }
}

#[async_trait]
impl ReadableDatabase for SqliteSink {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        read(SqliteConfig {
            path: self.config.path.clone(),
            tables: vec![table.table.clone()],
            exclude: Vec::new(),
            query: QueryConfig::new(QueryMode::Bulk),
            timestamp_unit: TimestampUnit::default(),
            columns: BTreeMap::new(),
            busy_timeout_ms: self.config.busy_timeout_ms,
            accept_file: None,
        })
        .await
    }
}

#[async_trait]
impl VerifiedTarget for SqliteSink {
    fn rules(&self) -> &Arc<SinkRules> {
        &self.rules
    }

    async fn sink(&self, context: SinkContext, _writes: bool) -> Result<SqlSink> {
        self.open_sink(context).await
    }
}

async fn read(config: SqliteConfig) -> Result<Box<dyn Dialect>> {
    let connection = connect::open(&config).await?;
    let mark = identity::FileMark::of(&config.path)?;
    Ok(Box::new(SqliteDialect::new(connection, config, mark)))
}
