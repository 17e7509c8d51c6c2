//! From nothing, or from what was saved, to an open source.
