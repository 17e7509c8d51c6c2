//! Errors, classified once where they happen. Only the supervisor decides what follows, in one exhaustive `match`.

use std::error::Error as StdError;

/// What an error means for the pipeline that meets it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A retry may cure it: the supervisor backs off, state `degraded`, and no position moves.
    Transient,
    /// It needs a person: state `halted:<code>`, the process stays up.
    Definite,
    /// One event cannot be carried: dead letter or halt, as configured, never drop.
    Poison,
    /// Somebody else has the work: stop, do not come back.
    Fenced,
}

/// An error with a stable code for machines and one sentence for the operator: what, where, remedy.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    kind: Kind,
    code: &'static str,
    message: String,
    #[source]
    source: Option<Box<dyn StdError + Send + Sync>>,
}

/// The result of everything that can fail in the core's own terms.
pub type Result<T, E = Error> = std::result::Result<T, E>;

// === impl Error ===

impl Error {
    fn new(kind: Kind, code: &'static str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
            source: None,
        }
    }

    /// An error that a retry may cure.
    pub fn transient(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Transient, code, message)
    }

    /// An error that needs a person.
    pub fn definite(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Definite, code, message)
    }

    /// An error of one event.
    pub fn poison(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Poison, code, message)
    }

    /// Somebody else has taken over.
    pub fn fenced(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(Kind::Fenced, code, message)
    }

    /// Attaches the cause; the sentence stays ours.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The same under another name.
    #[must_use]
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// The same, and what can be done about it behind the sentence.
    #[must_use]
    pub fn with_remedy(mut self, remedy: &str) -> Self {
        self.message.push_str("; ");
        self.message.push_str(remedy);
        self
    }

    /// What the error means for the pipeline.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Stable name in snake case; the same in state, log, metric and documentation.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The sentence, followed by the chain of causes.
    pub fn report(&self) -> String {
        let mut text = self.message.clone();
        let mut cause = self.source();
        while let Some(error) = cause {
            let said = error.to_string();
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_names_each_cause_once() {
        let cause = std::io::Error::other("connection refused");
        let error = Error::transient("source_unreachable", "cannot reach db:5432").with_source(cause);
        assert_eq!(error.report(), "cannot reach db:5432: connection refused");
        assert_eq!(error.code(), "source_unreachable");
        assert_eq!(error.kind(), Kind::Transient);
    }
}
