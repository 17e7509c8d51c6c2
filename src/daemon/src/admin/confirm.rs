//! The second step of what destroys something: the first answer names what would be lost, and a token with which to ask again.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

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
