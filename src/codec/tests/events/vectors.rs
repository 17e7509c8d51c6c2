//! The PostgreSQL rows of the type vectors.
