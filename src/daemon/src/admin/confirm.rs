//! The second step of what destroys something: the first answer names what would be lost, and a token with which to ask again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::answer::{Refused, json};

/// Long enough to read what would be lost.
const VALID_FOR: Duration = Duration::from_secs(60);
/// People ask for one at a time.
const OPEN_MAXIMUM: usize = 100;

/// What would be lost, by the token that was given for it.
#[derive(Debug, Default)]
pub(super) struct Confirmations(Mutex<HashMap<String, (String, Instant)>>);

/// What may stand behind the question mark.
#[derive(Deserialize)]
pub(super) struct Confirmed {
    confirm: Option<String>,
}

/// What would be lost.
#[derive(Debug, Serialize, JsonSchema)]
struct ConfirmationNeeded {
    error_code: u16,
    code: &'static str,
    message: String,
    /// What would be lost, each in a sentence.
    will_lose: Vec<String>,
    /// Send the same request with `?confirm=` and this, once.
    confirm: String,
    expires_in_ms: u64,
}

// === impl Confirmations ===

impl Confirmations {
    /// Lets a request through whose token was given for exactly the same; any other is told what would be lost. `what` says who asks
    /// for what.
    pub(super) fn check(&self, what: &str, confirmed: &Confirmed, will_lose: Vec<String>) -> Result<(), Refused> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, (_, since)| since.elapsed() < VALID_FOR);
        let given = confirmed.confirm.as_deref().and_then(|token| open.remove(token));
        if given.is_some_and(|(known, _)| known == what) {
            return Ok(());
        }
        if open.len() >= OPEN_MAXIMUM {
            open.clear();
        }
        let token = format!("{:032x}", rand::random::<u128>());
        open.insert(token.clone(), (what.to_owned(), Instant::now()));
        let message = format!(
            "this cannot be undone: {}; to do it, send the same request with `?confirm={token}` within a minute",
            will_lose.join("; ")
        );
        let needed = ConfirmationNeeded {
            error_code: 409,
            code: "confirmation_needed",
            message,
            will_lose,
            confirm: token,
            expires_in_ms: u64::try_from(VALID_FOR.as_millis()).unwrap_or(u64::MAX),
        };
        Err(Refused::with(json(StatusCode::CONFLICT, &needed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The token that a request is given.
    fn token(confirmations: &Confirmations, what: &str) -> String {
        let refused = confirmations.check(what, &Confirmed { confirm: None }, vec!["a row".to_owned()]);
        assert!(refused.is_err());
        confirmations.0.lock().unwrap().keys().next().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_over_after_a_minute() {
        for (waited_seconds, is_good) in [(59, true), (61, false)] {
            let confirmations = Confirmations::default();
            let confirm = Some(token(&confirmations, "alice drops it"));
            tokio::time::advance(Duration::from_secs(waited_seconds)).await;
            let checked = confirmations.check("alice drops it", &Confirmed { confirm }, Vec::new());
            assert_eq!(checked.is_ok(), is_good, "{waited_seconds} s");
        }
    }

    #[test]
    fn a_token_is_for_what_it_was_given_for() {
        let confirmations = Confirmations::default();
        let confirm = Some(token(&confirmations, "alice drops it"));
        let used = Confirmed { confirm };
        for what in ["otto drops it", "alice drops it"] {
            assert!(
                confirmations.check(what, &used, Vec::new()).is_err(),
                "{what}: it is used up"
            );
        }
    }
}
