//! How the program ends: the codes that `--help` documents.

use std::io;
use std::process::ExitCode;

use tailrace_core::Error;

use crate::config::tree::Problems;
use crate::screen;
use crate::supervisor::Outcome;

/// The documented exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Ended as asked.
    Ended,
    /// Failed.
    Failed,
    /// `triggers diff` found a difference.
    Differs,
    /// The command line or the configuration is not right.
    NotRight,
    /// `check` found something that blocks.
    Blocked,
    /// At the end a connector was halted or fenced.
    Halted,
    /// The deadline of a stop came first.
    DrainTimedOut,
    /// `verify` found drift.
    Drifted,
    /// Stopped at once.
    Interrupted,
}

/// Why nothing, or nothing more, was done.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line is not right.
    Usage(String),
    /// The configuration is not right.
    Configuration(Problems),
    /// Something cannot be done.
    Failed(Error),
    /// Standard output cannot be written.
    Output(io::Error),
}

// === impl Exit ===

impl Exit {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 9] = [
        Self::Ended,
        Self::Failed,
        Self::Differs,
        Self::NotRight,
        Self::Blocked,
        Self::Halted,
        Self::DrainTimedOut,
        Self::Drifted,
        Self::Interrupted,
    ];

    /// The number that the shell sees.
    pub(crate) fn code(self) -> u8 {
        match self {
            Self::Ended => 0,
            Self::Failed | Self::Differs => 1,
            Self::NotRight => 2,
            Self::Blocked => 3,
            Self::Halted => 4,
            Self::DrainTimedOut => 5,
            Self::Drifted => 6,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

impl From<Outcome> for Exit {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Ended => Self::Ended,
            Outcome::DrainTimedOut => Self::DrainTimedOut,
            Outcome::Fenced | Outcome::Halted => Self::Halted,
            Outcome::Panicked => Self::Failed,
        }
    }
}

// === impl Failure ===

impl Failure {
    /// Says it, and gives the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let exit = match self {
            Self::Usage(sentence) => {
                screen::complain(&format!("tailrace: {sentence}"));
                Exit::NotRight
            }
            Self::Configuration(problems) => {
                screen::complain(&screen::escape_lines(&problems.to_string()));
                Exit::NotRight
            }
            Self::Failed(error) => {
                screen::complain(&format!(
                    "tailrace: {} [{}]",
                    screen::escape(&error.report()),
                    error.code()
                ));
                Exit::Failed
            }
            // Whoever read it has seen enough.
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Ended,
            Self::Output(error) => {
                screen::complain(&format!("tailrace: standard output cannot be written: {error}"));
                Exit::Failed
            }
        };
        exit.into()
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Output(error)
    }
}
