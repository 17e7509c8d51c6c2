//! A shop that writes orders, and remembers everything that became of each.

use std::collections::BTreeMap;

use serde_json::Value;
use tailrace_tests::database::Database;
use tailrace_tests::servers::Record;

/// Orders that are there before anybody looks.
const FIRST: i64 = 20;

/// A table, and what was done to each of its rows, in order.
pub(super) struct Shop {
    pub(super) database: Database,
    done: BTreeMap<i64, Vec<Change>>,
    /// What each transaction did.
    log: Vec<Vec<(i64, Change)>>,
    /// What the transaction did that is not committed yet.
    pending: Vec<(i64, Change)>,
    /// A number that no other change has.
    last: i64,
    next_id: i64,
}

/// What an event says of its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is there, with this number.
    Has(i64),
    Gone,
}

// === impl Shop ===

impl Shop {
    /// With some orders in it.
    pub(super) async fn open(database: Database) -> Shop {
        let table = "create table orders (id int primary key, n int not null)";
        database.execute(table).await.unwrap();
        let mut shop = Shop {
            database,
            done: BTreeMap::new(),
            log: Vec::new(),
            pending: Vec::new(),
            last: 0,
            next_id: 1,
        };
        let statements: Vec<String> = (0..FIRST).map(|_| shop.insert()).collect();
        shop.commit(&statements).await;
        shop
    }

    /// So many transactions, each of an order that is new, one that changes, and now and then one that goes.
    pub(super) async fn trade(&mut self, transactions: i64) {
        for round in 0..transactions {
            let statements = self.round(round);
            self.commit(&statements).await;
        }
    }

    /// So many rounds in one transaction.
    pub(super) async fn trade_in_one(&mut self, rounds: i64) {
        let statements: Vec<String> = (0..rounds).flat_map(|round| self.round(round)).collect();
        self.commit(&statements).await;
    }

    fn round(&mut self, round: i64) -> Vec<String> {
        let mut statements = vec![self.insert()];
        if round % 4 == 3 {
            statements.push(self.delete(self.next_id - 3));
        }
        let there: Vec<i64> = self
            .done
            .iter()
            .filter(|(_, changes)| changes.last() != Some(&Change::Gone))
            .map(|(id, _)| *id)
            .take(7)
            .collect();
        if let Some(id) = usize::try_from(round)
            .ok()
            .and_then(|round| there.get(round % there.len()))
        {
            statements.push(self.update(*id));
        }
        // The last change of every transaction is one that tells itself from all others.
        statements.push(self.update(1));
        statements
    }

    fn insert(&mut self) -> String {
        let (id, n) = (self.next_id, self.number());
        self.next_id += 1;
        self.note(id, Change::Has(n));
        format!("insert into orders values ({id}, {n})")
    }

    fn update(&mut self, id: i64) -> String {
        let n = self.number();
        self.note(id, Change::Has(n));
        format!("update orders set n = {n} where id = {id}")
    }

    fn delete(&mut self, id: i64) -> String {
        self.note(id, Change::Gone);
        format!("delete from orders where id = {id}")
    }

    fn note(&mut self, id: i64, change: Change) {
        self.done.entry(id).or_default().push(change);
        self.pending.push((id, change));
    }

    fn number(&mut self) -> i64 {
        self.last += 1;
        self.last
    }

    async fn commit(&mut self, statements: &[String]) {
        let transaction = format!("begin; {}; commit", statements.join("; "));
        self.database.execute(&transaction).await.unwrap();
        self.log.push(std::mem::take(&mut self.pending));
    }

    /// Every change behind the first so many transactions, in order.
    pub(super) fn since(&self, transactions: usize) -> Vec<(i64, Change)> {
        self.log[transactions..].concat()
    }

    /// Whether the last change is there.
    pub(super) fn has_last(&self, said: &[(i64, Change)]) -> bool {
        said.iter().any(|(_, change)| *change == Change::Has(self.last))
    }

    /// How many changes came again. Every change of every row must be there, in order: an event either is the next one of its row, or it
    /// goes back, from where all come again.
    pub(super) fn repeated(&self, said: &[(i64, Change)]) -> usize {
        let mut places: BTreeMap<i64, usize> = BTreeMap::new();
        let mut repeated = 0;
        for (id, change) in said {
            let changes = &self.done[id];
            let place = places.entry(*id).or_default();
            if changes.get(*place) != Some(change) {
                let before = changes[..*place].iter().rposition(|known| known == change);
                assert!(
                    before.is_some(),
                    "{change:?} of order {id} comes where {:?} should: {changes:?}",
                    changes.get(*place)
                );
                repeated += *place - before.unwrap_or_default();
                *place = before.unwrap_or_default();
            }
            *place += 1;
        }
        for (id, changes) in &self.done {
            let place = places.get(id).copied().unwrap_or_default();
            assert_eq!(place, changes.len(), "order {id} is at {place} of {changes:?}");
        }
        repeated
    }
}

/// What Debezium's events say of orders, whoever published them; tombstones say nothing.
pub(super) fn said(records: &[Record]) -> Vec<(i64, Change)> {
    let said = records.iter().filter_map(|record| {
        let value: Value = serde_json::from_slice(record.value.as_deref()?).unwrap();
        Some(match &value["after"] {
            Value::Null => (number(&value["before"], "id"), Change::Gone),
            after => has(after),
        })
    });
    said.collect()
}

/// What Maxwell's events say of orders.
pub(super) fn said_by_maxwell(events: &[Value]) -> Vec<(i64, Change)> {
    let said = events.iter().filter(|event| event["table"] == "orders").map(|event| {
        let row = &event["data"];
        match event["type"].as_str() {
            Some("delete") => (number(row, "id"), Change::Gone),
            _ => has(row),
        }
    });
    said.collect()
}

fn has(row: &Value) -> (i64, Change) {
    (number(row, "id"), Change::Has(number(row, "n")))
}

fn number(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap()
}
