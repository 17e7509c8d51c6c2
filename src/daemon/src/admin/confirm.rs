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

/// What tokens were given for.
#[derive(Debug, Default)]
pub(super) struct Confirmations(Mutex<HashMap<String, Warned>>);

/// What somebody asked for and was told of it.
#[derive(Debug)]
struct Warned {
    what: String,
    will_lose: Vec<String>,
    since: Instant,
}

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
    /// Lets a request through whose token was given for exactly the same, where just that would be lost which was said then; any other is
    /// told what would be lost. `what` says who asks for what.
    pub(super) fn check(&self, what: &str, confirmed: &Confirmed, will_lose: Vec<String>) -> Result<(), Refused> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|_, warned| warned.since.elapsed() < VALID_FOR);
        let given = confirmed.confirm.as_deref().and_then(|token| open.remove(token));
        if given.is_some_and(|warned| warned.what == what && warned.will_lose == will_lose) {
            return Ok(());
        }
        if open.len() >= OPEN_MAXIMUM {
            open.clear();
        }
        let token = format!("{:032x}", rand::random::<u128>());
        let warned = Warned {
            what: what.to_owned(),
            will_lose: will_lose.clone(),
            since: Instant::now(),
        };
        open.insert(token.clone(), warned);
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

    fn a_row() -> Vec<String> {
        vec!["a row".to_owned()]
    }

    /// The token that a request is given.
    fn token(confirmations: &Confirmations, what: &str) -> String {
        let refused = confirmations.check(what, &Confirmed { confirm: None }, a_row());
        assert!(refused.is_err());
        confirmations.0.lock().unwrap().keys().next().unwrap().clone()
    }

    #[tokio::test(start_paused = true)]
    async fn a_token_is_over_after_a_minute() {
        for (waited_seconds, is_good) in [(59, true), (61, false)] {
            let confirmations = Confirmations::default();
            let confirm = Some(token(&confirmations, "alice drops it"));
            tokio::time::advance(Duration::from_secs(waited_seconds)).await;
            let checked = confirmations.check("alice drops it", &Confirmed { confirm }, a_row());
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
                confirmations.check(what, &used, a_row()).is_err(),
                "{what}: it is used up"
            );
        }
    }

    #[test]
    fn a_token_is_for_what_was_said() {
        let confirmations = Confirmations::default();
        let confirm = Some(token(&confirmations, "alice resets it"));
        let more = [a_row(), vec!["a letter".to_owned()]].concat();
        let checked = confirmations.check("alice resets it", &Confirmed { confirm }, more);
        assert!(checked.is_err(), "a letter came meanwhile, and nobody was told");
    }
}
