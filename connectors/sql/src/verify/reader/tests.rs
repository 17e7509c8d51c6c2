use std::sync::Mutex;

use async_trait::async_trait;
use tailrace_core::schema::TableName;

use super::super::pairing::Pairing;
use super::super::sample::{column, orders};
use super::super::table::TargetRows;
use super::*;
use crate::cursor::RowKey;
use crate::dialect::{Discovery, GapReport, GapSafety, Syntax, Writers};
use crate::page::{Admission, batch_full};
use crate::sink::config::WriteConfig;
use crate::statement::Piece;

/// A table of one column of characters, whose database overlooks capitals.
struct Names {
    schema: SharedSchema,
    names: Vec<&'static str>,
    /// Rows that there is room for in a page.
    room: usize,
    /// Each look at the catalogue goes on to the next one, as long as there is one.
    schemas: Mutex<Vec<SharedSchema>>,
    version: i64,
}

struct Quotes;

impl Syntax for Quotes {
    fn identifier(&self, name: &str) -> String {
        name.to_owned()
    }

    fn table(&self, name: &TableName) -> String {
        name.table.clone()
    }
}

fn schema(columns: &[&str]) -> SharedSchema {
    let text = |name: &&str| Column {
        nullable: false,
        ..column(name, "text", LogicalType::Text(TextKind::Plain))
    };
    orders(columns.iter().map(text).collect(), &[0])
}

impl Names {
    fn new(names: &[&'static str], room: usize) -> Self {
        Self {
            schema: schema(&["name"]),
            names: names.to_vec(),
            room,
            schemas: Mutex::default(),
            version: 1,
        }
    }

    /// What a statement asks for: names behind one, or these names.
    fn answer(&self, statement: &Statement) -> Vec<&'static str> {
        let text = statement.render(|_, value| value.to_string());
        let values = statement.pieces.iter().filter_map(|piece| match piece {
            Piece::Value { value, .. } => Some(value.to_string().to_lowercase()),
            Piece::Text(_) => None,
        });
        let values: Vec<String> = values.collect();
        let names = self.names.iter().copied();
        if text.contains(" IN (") {
            return names.filter(|name| values.contains(&name.to_lowercase())).collect();
        }
        let after = values.first().cloned().unwrap_or_default();
        names.filter(|name| name.to_lowercase() > after).collect()
    }
}

#[async_trait]
impl Dialect for Names {
    fn syntax(&self) -> &'static dyn Syntax {
        &Quotes
    }

    async fn discover(&mut self) -> Result<Discovery> {
        if let Some(next) = self.schemas.lock().unwrap().pop() {
            self.schema = next;
        }
        Ok(Discovery {
            schema_version: self.version,
            tables: vec![DiscoveredTable {
                schema: SharedSchema::clone(&self.schema),
                generated_id: None,
                unique_columns: Vec::new(),
                indexes: Vec::new(),
                query: None,
            }],
        })
    }

    async fn fetch(&mut self, request: PageRequest<'_>, page: &mut PageWriter<'_>) -> Result<Fetched> {
        if !self.schemas.lock().unwrap().is_empty() {
            self.version += 1;
        }
        if request.schema_version != self.version {
            return Ok(Fetched::SchemaChanged);
        }
        let names = self.answer(request.statements.first().unwrap());
        let limit = usize::try_from(request.limit.unwrap_or(u32::MAX)).unwrap();
        let mut returned = 0;
        for (index, name) in names.into_iter().take(limit).enumerate() {
            returned += 1;
            if index == self.room {
                break;
            }
            let key = RowKey {
                id: None,
                timestamp: None,
            };
            assert_eq!(page.admit(&key).unwrap(), Admission::Take);
            page.batch.begin_row().map_err(batch_full)?;
            page.batch.push_text(name).map_err(batch_full)?;
            let row = page.batch.end_row().map_err(batch_full)?;
            page.take(row, key);
        }
        Ok(Fetched::Rows(returned))
    }

    async fn number(&mut self, _statement: &Statement) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn execute(&mut self, _statement: &Statement) -> Result<u64> {
        Ok(0)
    }

    async fn highest_id(&mut self, _table: &PolledTable) -> Result<Option<i64>> {
        Ok(None)
    }

    async fn now_us(&mut self) -> Result<i64> {
        Ok(0)
    }

    async fn writers(&mut self, _table: &PolledTable) -> Result<Writers> {
        Ok(Writers::default())
    }

    async fn longest_transaction_us(&mut self) -> Result<Option<i64>> {
        Ok(None)
    }

    fn gap_safety(&self, _table: &PolledTable) -> GapReport {
        GapReport::new(GapSafety::None, "")
    }
}

async fn reader(names: Names) -> TableReader {
    TableReader::open(Box::new(names), "orders", Side::Target)
        .await
        .unwrap()
}

fn key(name: &str) -> Key {
    vec![name.to_owned()]
}

fn names(batch: &ChangeBatch) -> Vec<String> {
    let rows = batch.changes.iter().filter_map(|change| change.after);
    let text = rows.map(|row| match batch.row(row).get(0) {
        tailrace_core::value::Value::Text(text) => text.to_owned(),
        other => panic!("{other:?}"),
    });
    text.collect()
}

#[tokio::test]
async fn what_else_is_altered_does_not_end_a_comparison() {
    let table = Names::new(&["a", "b"], usize::MAX);
    table
        .schemas
        .lock()
        .unwrap()
        .extend([schema(&["name"]), schema(&["name"])]);
    let mut reader = reader(table).await;
    let (batch, _) = reader.chunk(&[0], None, 10).await.unwrap();
    assert_eq!(names(&batch), ["a", "b"]);

    let table = Names::new(&["a", "b"], usize::MAX);
    let altered = [schema(&["name", "note"]), schema(&["name"])];
    table.schemas.lock().unwrap().extend(altered);
    let mut reader = self::reader(table).await;
    let altered = reader.chunk(&[0], None, 10).await.map(|(batch, _)| names(&batch));
    assert_eq!(altered.unwrap_err().code(), "table_altered");
}

#[tokio::test]
async fn a_page_without_room_goes_on_where_it_ended() {
    let mut reader = reader(Names::new(&["a", "b", "c"], 2)).await;
    let (batch, last) = reader.chunk(&[0], None, 10).await.unwrap();
    assert_eq!(
        (names(&batch), last),
        (vec!["a".to_owned(), "b".to_owned()], Some(key("b")))
    );
    let (batch, last) = reader.chunk(&[0], Some(&key("b")), 10).await.unwrap();
    assert_eq!((names(&batch), last), (vec!["c".to_owned()], None));

    let keys = ["a", "b", "c", "d"].map(key);
    let keys: Vec<&Key> = keys.iter().collect();
    let mut found = Vec::new();
    let take = &mut |batch: ChangeBatch| {
        found.extend(names(&batch));
        Ok(())
    };
    reader.by_keys(&[0], &[], &keys, take).await.unwrap();
    assert_eq!(found, ["a", "b", "c"]);
}

#[tokio::test]
async fn a_row_that_came_for_the_key_of_another_is_not_compared() {
    let reader = reader(Names::new(&["a", "B"], usize::MAX)).await;
    let mut rows = TargetRows::new(reader, &WriteConfig::default());
    let schema = SharedSchema::clone(rows.schema());
    let pairing = Pairing::new(&schema, &schema, &WriteConfig::default()).unwrap();
    let found = rows.by_keys(&pairing, &[&key("a"), &key("c")]).await.unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), [key("a")]);
    let refused = rows.by_keys(&pairing, &[&key("a"), &key("b")]).await.unwrap_err();
    assert_eq!(refused.code(), "key_not_comparable");
    assert!(refused.report().contains("a row with name=B"), "{}", refused.report());
}

#[test]
fn symbols_of_mysql_have_an_order_of_their_own() {
    let symbols = || ["new", "done"].map(str::to_owned).into();
    let is_otherwise =
        |source_type, kind| is_ordered_otherwise(&column("status", source_type, LogicalType::Text(kind)));
    assert!(is_otherwise("enum('new','done')", TextKind::Enum(symbols())));
    assert!(is_otherwise("set('new','done')", TextKind::Set(symbols())));
    assert!(!is_otherwise("status", TextKind::Enum(symbols())), "of PostgreSQL");
    assert!(!is_otherwise("varchar(9)", TextKind::Plain));
}
