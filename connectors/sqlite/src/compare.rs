//! Reading tables to compare them.

use async_trait::async_trait;
use tailrace_core::Result;
use tailrace_core::schema::TableName;
use tailrace_sql::verify::ReadableDatabase;
use tailrace_sql::{Dialect, QueryConfig, QueryMode};

use crate::config::SqliteConfig;
use crate::dialect::SqliteDialect;
use crate::{SqliteConnector, connect, identity};

#[async_trait]
impl ReadableDatabase for SqliteConnector {
    async fn read(&self, table: &TableName) -> Result<Box<dyn Dialect>> {
        let config = SqliteConfig {
            tables: vec![table.table.clone()],
            exclude: Vec::new(),
            query: QueryConfig::new(QueryMode::Bulk),
            ..self.config.clone()
        };
        let connection = connect::open(&config).await?;
        let mark = identity::FileMark::of(&config.path)?;
        Ok(Box::new(SqliteDialect::new(connection, config, mark)))
    }
}
