//! Properties over rows and names that nobody thought of.
