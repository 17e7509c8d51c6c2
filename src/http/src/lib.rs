//! Asking others over HTTP: one request over one connection, within bounds of time and size, and nobody else is ever asked.
//!
//! Schema registries and webhooks are spoken to with it. `url` is where somebody is, `tls` whom we trust, `client` sends.

mod client;
mod tls;
mod url;

pub use client::{Answer, ClientSettings, Failure, HttpClient, HttpRequest, escaped, sensitive};
pub use url::HttpUrl;
