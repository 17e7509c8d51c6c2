//! What the server and the client library say, classified once.
