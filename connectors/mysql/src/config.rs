//! What can be said about a MySQL or MariaDB source.
