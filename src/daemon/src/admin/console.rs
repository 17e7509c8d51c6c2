//! The console: one page that holds its own style and script and asks nobody but this daemon.
//!
//! The page is assembled once, from the files in `console/`. Its policy (Content Security Policy) names the hashes of exactly these
//! two texts, so that a browser runs nothing else: no other script or style, wherever it came from, not even in an attribute;
//! no text becomes markup (`require-trusted-types-for`); and requests go to this daemon alone.

use std::sync::OnceLock;

use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

const SKELETON: &str = include_str!("console/index.html");

/// Styles, in their order.
const STYLES: [&str; 2] = [
    include_str!("console/uplot/uPlot.min.css"),
    include_str!("console/style.css"),
];

/// Scripts, in their order; they share one scope.
const SCRIPTS: [&str; 22] = [
    // Whoever gets the library gets its licence.
    concat!("/*\n", include_str!("console/uplot/LICENSE"), "*/"),
    include_str!("console/uplot/uPlot.iife.min.js"),
    include_str!("console/dom.js"),
    include_str!("console/format.js"),
    include_str!("console/api.js"),
    include_str!("console/state.js"),
    include_str!("console/charts.js"),
    include_str!("console/elements.js"),
    include_str!("console/actions.js"),
    include_str!("console/views/connectors.js"),
    include_str!("console/views/connector.js"),
    include_str!("console/views/snapshots.js"),
    include_str!("console/views/tail.js"),
    include_str!("console/views/letters.js"),
    include_str!("console/views/schemas.js"),
    include_str!("console/views/preflight.js"),
    include_str!("console/views/configuration.js"),
    include_str!("console/views/offsets.js"),
    include_str!("console/views/create.js"),
    include_str!("console/views/journal.js"),
    include_str!("console/views/loggers.js"),
    include_str!("console/main.js"),
];

/// Where style and script stand in the skeleton.
const STYLE_PLACE: &str = "{{style}}</style>";
const SCRIPT_PLACE: &str = "{{script}}</script>";

/// The page and the policy that it is sent with.
#[derive(Debug)]
struct Page {
    /// The whole document.
    html: String,
    /// The value of `Content-Security-Policy`.
    content_security_policy: String,
}

/// The page, as it is served.
pub(super) fn page_response() -> Response {
    let page = page();
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, &page.content_security_policy),
    ];
    (headers, page.html.as_str()).into_response()
}

/// The same for as long as the process lives.
fn page() -> &'static Page {
    static PAGE: OnceLock<Page> = OnceLock::new();
    PAGE.get_or_init(|| assembled(&STYLES.concat(), &SCRIPTS.join("\n")))
}

fn assembled(style: &str, script: &str) -> Page {
    let html = SKELETON.replacen(STYLE_PLACE, &format!("{style}</style>"), 1).replacen(
        SCRIPT_PLACE,
        &format!("{script}</script>"),
        1,
    );
    // `data:` is for the icon, which is written in the page.
    let content_security_policy = format!(
        "default-src 'none'; script-src {}; style-src {}; img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        source_of(script),
        source_of(style)
    );
    Page {
        html,
        content_security_policy,
    }
}

/// A text as a policy allows it.
fn source_of(text: &str) -> String {
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(text.as_bytes())))
}

#[cfg(test)]
mod tests;
