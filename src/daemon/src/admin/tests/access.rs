//! Who may ask for what (FM-300…FM-302, FM-330).

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use tailrace_core::telemetry::Life;

use super::super::Heartbeat;
use super::super::config::Role;
use super::super::routes::operations;
use super::{Endpoint, connector, endpoint_with, filled};
use crate::config::expand::Surroundings;
use crate::config::understand;

const READ: &str = "read-0123456789abcdef0123456789abcdef";
const OPERATE: &str = "operate-0123456789abcdef0123456789abcdef";
const ADMIN: &str = "admin-0123456789abcdef0123456789abcdef";

fn token_file(folder: &tempfile::TempDir, name: &str, token: &str) -> PathBuf {
    let file = folder.path().join(name);
    std::fs::write(&file, token).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    file
}

fn guarded() -> (tempfile::TempDir, Endpoint) {
    let folder = tempfile::tempdir().unwrap();
    let tokens: Vec<String> = [("read", READ), ("operate", OPERATE), ("admin", ADMIN)]
        .into_iter()
        .map(|(role, token)| {
            let file = token_file(&folder, role, token);
            format!("{{name: {role}-person, role: {role}, file: \"{}\"}}", file.display())
        })
        .collect();
    let admin = format!("{{tokens: [{}]}}", tokens.join(", "));
    let endpoint = endpoint_with(&admin, vec![connector(Life::Streaming)], Heartbeat::new());
    (folder, endpoint)
}

impl Endpoint {
    fn as_somebody(&self, method: &str, path: &str, authorization: &[String]) -> String {
        let headers: String = authorization
            .iter()
            .map(|value| format!("Authorization: {value}\r\n"))
            .collect();
        let request = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{headers}\r\n", self.address);
        self.raw(request.as_bytes())
    }
}

#[test]
fn nobody_gets_in_without_a_token_and_all_of_them_are_told_the_same() {
    let (_folder, endpoint) = guarded();
    let mut answers = std::collections::BTreeSet::new();
    for operation in operations() {
        let path = filled(operation.path);
        let method = operation.method.as_str();
        // Wrong ones one after the other would have to wait.
        for authorization in [vec![], vec!["Bearer ".to_owned()]] {
            let answer = endpoint.as_somebody(method, &path, &authorization);
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            if head.starts_with("HTTP/1.1 429") {
                continue;
            }
            assert!(head.starts_with("HTTP/1.1 401"), "{method} {path}: {head}");
            assert!(head.to_lowercase().contains("www-authenticate: bearer"), "{head}");
            answers.insert(body.to_owned());
        }
    }
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[test]
fn wrong_tokens_are_refused_alike_and_then_have_to_wait() {
    let (_folder, endpoint) = guarded();
    let prefix = READ.split_at(READ.len() - 1).0;
    let wrong = [
        format!("Bearer {prefix}"),
        format!("Bearer {READ}x"),
        format!("Basic {READ}"),
        READ.to_owned(),
    ];
    for authorization in wrong {
        let answer = endpoint.as_somebody("GET", "/status", &[authorization]);
        assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
        assert!(!answer.contains(prefix), "{answer}");
    }
    let right = format!("Bearer {READ}");
    let two = endpoint.as_somebody("GET", "/status", &[right.clone(), right.clone()]);
    assert!(two.starts_with("HTTP/1.1 400"), "{two}");
    assert!(
        endpoint
            .as_somebody("GET", "/status", std::slice::from_ref(&right))
            .starts_with("HTTP/1.1 200")
    );
    let waits = |_| {
        endpoint
            .as_somebody("GET", "/status", &["Bearer wrong".to_owned()])
            .starts_with("HTTP/1.1 429")
    };
    assert!((0..100).any(waits), "guessing goes on for ever");
    let let_in = endpoint.as_somebody("GET", "/status", &[right]);
    assert!(
        let_in.starts_with("HTTP/1.1 200"),
        "others behind this address guess: {let_in}"
    );
}

#[test]
fn each_may_do_what_the_role_says_and_no_more() {
    let (_folder, endpoint) = guarded();
    for operation in operations() {
        let Some(needed) = operation.role else {
            assert_eq!(operation.path, "/", "only the page is for everybody");
            continue;
        };
        let path = filled(operation.path);
        for (role, token) in [(Role::Read, READ), (Role::Operate, OPERATE)] {
            if role >= needed {
                continue;
            }
            let answer = endpoint.as_somebody(operation.method.as_str(), &path, &[format!("Bearer {token}")]);
            assert!(
                answer.starts_with("HTTP/1.1 403"),
                "{} {path}: {answer}",
                operation.method
            );
            assert!(answer.contains("role_too_low"), "{answer}");
        }
    }
    assert_eq!(
        endpoint
            .as_somebody("GET", "/session", &[format!("bearer {OPERATE}")])
            .lines()
            .last(),
        Some(r#"{"name":"operate-person","role":"operate","authentication":"token"}"#)
    );
}

#[test]
fn an_address_that_others_reach_is_refused_without_tls_and_tokens() {
    let folder = tempfile::tempdir().unwrap();
    let file = token_file(&folder, "token", ADMIN);
    let tls = "tls: {certificate_file: /c.pem, key_file: /k.pem}";
    let tokens = format!("tokens: [{{name: a, role: admin, file: \"{}\"}}]", file.display());
    let understood = |admin: &str| {
        let text = format!("version: 1\nadmin: {{{admin}}}\nstreams: {{events: {{type: file, path: /e}}}}\n");
        let plan = understand("x.yaml", text.as_bytes(), &Surroundings::of(&[]));
        plan.map(|_| ()).map_err(|problems| problems.to_string())
    };
    // FM-302.
    for listen in ["0.0.0.0:8083", "[::]:8083", "192.0.2.1:8083"] {
        for guard in [String::new(), format!(", {tls}"), format!(", {tokens}")] {
            let refused = understood(&format!("listen: \"{listen}\"{guard}")).unwrap_err();
            assert!(refused.contains("can be reached from other machines"), "{refused}");
        }
        assert_eq!(understood(&format!("listen: \"{listen}\", {tls}, {tokens}")), Ok(()));
    }
    for guard in [String::new(), tls.to_owned(), tokens] {
        assert_eq!(
            understood(&format!(
                "listen: \"127.0.0.1:0\"{}{guard}",
                if guard.is_empty() { "" } else { ", " }
            )),
            Ok(())
        );
    }
}
