//! Entry points for fuzzing: every parser of bytes from outside.
