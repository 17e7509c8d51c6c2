//! Positions in the binary log: files, offsets and sets of transaction identifiers.
