//! A registry of schemas that speaks the API of Confluent's: Confluent's own, Apicurio under `/apis/ccompat/v7`, Karapace.
//!
//! `config` is what can be chosen, `answer` judges what came back, and `client` is the port; `tailrace_http` sends each request within
//! its bounds. Nothing that a registry says is believed because it says so: every answer is bounded in time and size, is
//! checked for its form, and a schema that was registered is read back by its number before anything is written under it.

mod answer;
mod client;
mod config;

pub(crate) use answer::REFUSED;
pub use client::ConfluentRegistry;
pub use config::{ConfluentRegistryConfig, DEFAULT_TIMEOUT_MS, UrlList};
