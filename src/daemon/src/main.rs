//! `tailrace`, the binary: command line, configuration, lives of connectors, the HTTP endpoint, the quickstart.
//!
//! Read in this order: `cli` (what can be asked), `config` (what a file means), `catalog` (what can be connected),
//! `daemon` (everything put together), `supervisor` (what follows from an error), `quickstart`.

mod admin;
mod catalog;
mod cli;
mod config;
mod daemon;
mod journal;
mod letters;
mod logging;
mod preflight;
mod process;
mod progress;
mod quickstart;
mod registries;
mod sampling;
mod screen;
mod standing_by;
mod supervisor;
mod traces;
mod webhook;

fn main() -> std::process::ExitCode {
    cli::main()
}
