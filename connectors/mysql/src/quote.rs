//! Names and values in statements.
