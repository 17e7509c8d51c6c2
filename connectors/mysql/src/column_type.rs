//! What a column means: its type as the catalogue prints it and as the log describes it.
