//! The shop's database.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tailrace_core::{Error, Result};

/// Tables and the rows that were there before anybody captured them.
const SHOP: &str = include_str!("shop.sql");
/// Longer than any transaction of the desk or page of the capture.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the shop, and builds it where there is none. Built in one transaction: there is a whole shop or none.
pub(super) async fn open(path: &Path) -> Result<SqliteConnection> {
    build(path).await.map_err(|error| {
        let sentence = format!(
            "the shop's database {} cannot be opened; remove its folder or choose another with --data",
            path.display()
        );
        Error::definite("shop_unusable", sentence).with_source(error)
    })
}

async fn build(path: &Path) -> sqlx::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Readers and the writer do not wait for each other.
        .journal_mode(SqliteJournalMode::Wal)
        .busy_timeout(BUSY_TIMEOUT);
    let mut connection = options.connect().await?;
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
    let tables = "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'orders'";
    let tables: i64 = sqlx::query_scalar(tables).fetch_one(&mut *transaction).await?;
    if tables == 0 {
        sqlx::raw_sql(SHOP).execute(&mut *transaction).await?;
    }
    transaction.commit().await?;
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_shop_is_built_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shop.db");
        let mut shop = open(&path).await.unwrap();
        let count = "SELECT (SELECT count(*) FROM orders) + (SELECT count(*) FROM order_lines) \
                     + (SELECT count(*) FROM customers) + (SELECT count(*) FROM products)";
        let rows: i64 = sqlx::query_scalar(count).fetch_one(&mut shop).await.unwrap();
        assert!((300..600).contains(&rows), "{rows}");
        let empty = "SELECT count(*) FROM orders WHERE total_cents IS NULL OR total_cents = 0";
        let empty: i64 = sqlx::query_scalar(empty).fetch_one(&mut shop).await.unwrap();
        assert_eq!(empty, 0);
        drop(shop);
        let mut shop = open(&path).await.unwrap();
        let again: i64 = sqlx::query_scalar(count).fetch_one(&mut shop).await.unwrap();
        assert_eq!(again, rows);
    }
}
