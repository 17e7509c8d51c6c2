//! The order desk: a few small transactions per second, as people at a counter make them.

use std::time::Duration;

use sqlx::{Connection, SqliteConnection};

/// About three transactions per second: fast enough to watch, slow enough to read.
const PAUSE: Duration = Duration::from_millis(340);
/// SQLite's clock, with milliseconds, in UTC.
const NOW: &str = "strftime('%Y-%m-%d %H:%M:%f', 'now')";

/// Writes until it is aborted. A failure is told once; the capture goes on.
pub(super) async fn keep(mut shop: SqliteConnection) {
    loop {
        tokio::time::sleep(PAUSE).await;
        if let Err(error) = act(&mut shop).await {
            tracing::error!(%error, "the order desk closed: the shop's database cannot be written");
            return;
        }
    }
}

async fn act(shop: &mut SqliteConnection) -> sqlx::Result<()> {
    match rand::random_range(0..100) {
        0..45 => place_order(shop).await,
        45..80 => advance_order(shop).await,
        80..86 => cancel_order(shop).await,
        86..95 => {
            change(
                shop,
                "UPDATE customers SET city = ?1, updated_at = {now} WHERE id = 1 + abs(random()) % 40",
                city(),
            )
            .await
        }
        _ => {
            let delivery =
                "UPDATE products SET in_stock = in_stock + ?1, updated_at = {now} WHERE id = 1 + abs(random()) % 24";
            change(shop, delivery, rand::random_range(5..20_i64)).await
        }
    }
}

fn city() -> &'static str {
    let cities = ["Utrecht", "Porto", "Graz", "Leeds", "Gdańsk", "Ghent", "Turku"];
    cities
        .get(rand::random_range(0..cities.len()))
        .copied()
        .unwrap_or_default()
}

async fn change<'q, T>(shop: &mut SqliteConnection, statement: &str, value: T) -> sqlx::Result<()>
where
    T: sqlx::Encode<'q, sqlx::Sqlite> + sqlx::Type<sqlx::Sqlite> + Send + 'q,
{
    // Only `NOW`, which is written above, is put into the text.
    let statement = sqlx::AssertSqlSafe(statement.replace("{now}", NOW));
    sqlx::query(statement).bind(value).execute(shop).await.map(drop)
}

async fn place_order(shop: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await?;
    let order = format!(
        "INSERT INTO orders (customer_id, status, total_cents, placed_at, updated_at) \
         VALUES (1 + abs(random()) % 40, 'placed', 0, {NOW}, {NOW}) RETURNING id"
    );
    let order: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(order))
        .fetch_one(&mut *transaction)
        .await?;
    let line = "INSERT INTO order_lines (order_id, product_id, quantity, price_cents) \
                SELECT ?1, id, 1 + abs(random()) % 3, price_cents FROM products WHERE id = 1 + abs(random()) % 24";
    for _ in 0..rand::random_range(1..=3) {
        sqlx::query(line).bind(order).execute(&mut *transaction).await?;
    }
    let total = "UPDATE orders SET total_cents = \
                 (SELECT coalesce(sum(quantity * price_cents), 0) FROM order_lines WHERE order_id = ?1) WHERE id = ?1";
    sqlx::query(total).bind(order).execute(&mut *transaction).await?;
    transaction.commit().await
}

async fn advance_order(shop: &mut SqliteConnection) -> sqlx::Result<()> {
    let statement = format!(
        "UPDATE orders SET updated_at = {NOW}, status = CASE status WHEN 'placed' THEN 'paid' WHEN 'paid' THEN 'packed' \
         WHEN 'packed' THEN 'shipped' ELSE 'delivered' END \
         WHERE id = (SELECT id FROM orders WHERE status <> 'delivered' ORDER BY random() LIMIT 1)"
    );
    sqlx::query(sqlx::AssertSqlSafe(statement))
        .execute(shop)
        .await
        .map(drop)
}

/// A customer changed their mind before the order was packed: it goes, and so do its lines.
async fn cancel_order(shop: &mut SqliteConnection) -> sqlx::Result<()> {
    let mut transaction = shop.begin_with("BEGIN IMMEDIATE").await?;
    let order = "SELECT id FROM orders WHERE status IN ('placed', 'paid') ORDER BY random() LIMIT 1";
    let order: Option<i64> = sqlx::query_scalar(order).fetch_optional(&mut *transaction).await?;
    for statement in [
        "DELETE FROM order_lines WHERE order_id = ?1",
        "DELETE FROM orders WHERE id = ?1",
    ] {
        sqlx::query(statement).bind(order).execute(&mut *transaction).await?;
    }
    transaction.commit().await
}

#[cfg(test)]
mod tests {
    use super::super::shop;
    use super::*;

    #[tokio::test]
    async fn every_act_works() {
        let folder = tempfile::tempdir().unwrap();
        let mut shop = shop::open(&folder.path().join("shop.db")).await.unwrap();
        let before: i64 = sqlx::query_scalar("SELECT count(*) FROM orders")
            .fetch_one(&mut shop)
            .await
            .unwrap();
        for _ in 0..100 {
            act(&mut shop).await.unwrap();
        }
        let count = async |shop: &mut SqliteConnection| -> i64 {
            let count = sqlx::query_scalar("SELECT count(*) FROM orders");
            count.fetch_one(shop).await.unwrap()
        };
        place_order(&mut shop).await.unwrap();
        let after = count(&mut shop).await;
        assert!(after > before);
        cancel_order(&mut shop).await.unwrap();
        assert_eq!(count(&mut shop).await, after - 1);
        let wrong = "SELECT count(*) FROM orders WHERE total_cents <> \
                     (SELECT sum(quantity * price_cents) FROM order_lines WHERE order_id = orders.id)";
        let wrong: i64 = sqlx::query_scalar(wrong).fetch_one(&mut shop).await.unwrap();
        assert_eq!(wrong, 0);
    }
}
