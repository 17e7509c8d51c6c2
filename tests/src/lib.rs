//! What the end-to-end tests stand on: real servers, private to one test process.
//!
//! `tests/services/install` puts the servers' programs into a cache folder; [`servers`] starts them from there on free
//! loopback ports with their data under a temporary folder, and takes both away again, even when the test process is
//! killed. [`daemon`] runs the real binary, [`database`] gives each test a database of its own, [`workload`] changes it and
//! keeps the truth, [`oracle`] compares the [`published`] [`events`] with it. [`proxy`] is the network between them;
//! a [`scenario`] puts all of it together. A [`browser`] looks at the console.

pub mod browser;
pub mod clients;
pub mod daemon;
pub mod database;
pub mod engine;
pub mod events;
pub mod golden;
pub mod http;
pub mod oracle;
pub mod proxy;
pub mod published;
pub mod scenario;
pub mod servers;
pub mod transcript;
pub mod walk;
pub mod workload;
