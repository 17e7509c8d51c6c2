//! End to end: the real binary between real servers, looked at from outside.
//!
//! | module | what it asks |
//! |---|---|
//! | `transcripts` | what becomes of each kind of change? A manual of semantics, SQL in and events out |
//! | `shapes` | the same, where a transcript cannot show it |
//! | `versions` | do the PostgreSQL versions between the oldest and the newest work at all? |
//! | `mysql` | the same for MySQL and MariaDB: crashes, failpoints, the network, and what becomes of the log's files |
//! | `polling` | what becomes of tables that are polled instead of read from a log? |
//! | `change_tables` | do triggers keep every change, and do table, change table and triggers stay in step? |
//! | `vectors` | what becomes of each value of each type, through the snapshot and through the log? |
//! | `consumers` | what does a plain Kafka consumer see? |
//! | `crashes` | what if somebody dies: the daemon, the broker, PostgreSQL? |
//! | `debezium` | is it the same as what Debezium publishes beside it? |
//! | `network` | what if the network between them fails? |
//! | `failpoints` | what if the daemon dies at each single transition? |
//! | `walk` | what if several of these things happen, at random? |
//! | `slots` | what if somebody else touches slot, publication, state? |
//! | `large_transactions` | what if a transaction is larger than memory, or is given up? |
//! | `loops` | is what a sink of ours wrote left out, and everything else carried? |
//! | `subscriptions` | what does a sink see of Kafka: transactions, records that were removed, topics that were made anew? |
//! | `standing_by` | what if nothing happens, or two daemons want the same? |
//! | `lifecycle` | snapshot modes, tables that come later, endings |
//! | `outbox` | rows that are events already: from the log, from queries, and with contracts |
//! | `dead_letters` | events that cannot be carried: set aside, replayed, dropped, also when the daemon dies in between |
//! | `registries` | does every registry of schemas do as it should, or is it told that it does not? |
//! | `rest` | does the HTTP endpoint do what it is asked, for those who may ask, as Kafka Connect would? |
//! | `row_data` | do log and status keep to themselves what is in rows, when a row cannot be carried or written? |
//! | `monitoring` | are metrics, alerts and dashboard what Prometheus takes them for? |
//! | `preflight` | does `check` say what is wrong, and how to mend it? |
//! | `grants` | does everything run with the rights that `tailrace grants` prints and no others, and does `check` name each that is missing? |
//! | `configuration` | are bad files refused with their place, and good examples taken? |
//! | `polling` | the same without a log: are tables that are asked again and again carried whole? |
//! | `file_stream` | the same into the embedded stream |
//! | `incremental` | are rows that are asked for while the log is carried put where they belong, whatever happens meanwhile? |
//! | `taking_over` | does Tailrace go on exactly where Debezium, Maxwell and the JDBC source stopped? |
//! | `verify` | does `tailrace verify` find exactly what differs, tell lag from drift, and mend it? |
//! | `avro` | the same as Avro and with schemas: is what is read back what it was? |
//! | `sinks` | are tables kept right, effectively once, whatever fails on the way back? |
//! | `console` | does the console show and do what it should, in a real browser, for everybody? |
//! | `upgrades` | is what an earlier release or process left carried on, and is it said how long nobody was there? |
//! | `clients` | do Confluent's own clients read it, by a registry of one's own and by the embedded one? |
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test ends at the first thing that is not as it should be"
)]

mod avro;
mod capture;
mod change_tables;
mod clients;
mod configuration;
mod console;
mod consumers;
mod contracts;
mod crashes;
mod dead_letters;
mod debezium;
mod deploying;
mod failpoints;
mod file_stream;
mod grants;
mod incremental;
mod large_transactions;
mod lifecycle;
mod loops;
mod monitoring;
mod mysql;
mod network;
mod outbox;
mod polling;
mod preflight;
mod registries;
mod rest;
mod row_data;
mod shapes;
mod sinks;
mod slots;
mod standing_by;
mod subscriptions;
mod taking_over;
mod transcripts;
mod upgrades;
mod vectors;
mod verify;
mod versions;
mod walk;
mod webhook;
