//! The migrations are embedded by a macro, which cargo cannot see: a new file must cause a build.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "cargo::rerun-if-changed=migrations")
}
