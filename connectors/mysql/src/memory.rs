//! What the connector remembers of its server.
