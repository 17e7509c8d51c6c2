//! Character sets by the numbers of their collations, and text in them as UTF-8.
