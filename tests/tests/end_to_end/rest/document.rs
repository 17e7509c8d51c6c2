//! The OpenAPI document says of every operation what it does, and nothing else is done.

use serde_json::Value;
use tailrace_tests::clients::schemathesis;
use tailrace_tests::servers::PostgresVersion;

use super::tls::Tokens;
use super::{ROWS, Shop};

/// Requests of each kind that are made up for an operation.
const EXAMPLES: &str = "6";

#[tokio::test(flavor = "multi_thread")]
async fn everything_that_is_answered_is_documented() {
    let mut tokens = None;
    let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| tokens = Some(Tokens::set(daemon))).await;
    let tokens = tokens.unwrap();
    shop.configure(&shop.in_file());
    shop.daemon.start().unwrap();
    shop.wait_for("streaming");
    let document = shop.get("/openapi.json");
    let file = shop.daemon.path().join("openapi.json");
    std::fs::write(&file, document.to_string()).unwrap();
    // What it makes up is asked of the connector that there is, where the name is not meant to be wrong.
    let settings = format!(
        "[parameters]\n\"path.name\" = \"{}\"\n\n\
         # Who is paused does not answer, and that is said.\n\
         [checks]\nnot_a_server_error.expected-statuses = [\"2xx\", \"3xx\", \"4xx\", \"503\"]\n",
        shop.name()
    );
    std::fs::write(shop.daemon.path().join("schemathesis.toml"), settings).unwrap();
    let authorization = format!("Authorization: Bearer {}", tokens.admin);
    let (is_right, printed) = schemathesis(
        shop.daemon.path(),
        &[
            "run",
            &file.to_string_lossy(),
            "--url",
            &shop.daemon.url(),
            "-H",
            &authorization,
            "--checks",
            "all",
            // The first sends wrong tokens to each operation, more than are taken from one address; `tls` asks that. The second wants
            // each configuration, table and position to be taken that is of the right type: no schema says which a database has.
            "--exclude-checks",
            "ignored_auth,positive_data_acceptance",
            // It goes on for as long as somebody reads.
            "--exclude-path-regex",
            "tail$",
            "--max-examples",
            EXAMPLES,
            "--seed",
            "1",
            "--no-shrink",
            "--continue-on-failure",
            "--request-timeout",
            "60",
            "--max-response-time",
            "60",
        ],
    )
    .unwrap();
    assert!(is_right, "{printed}\n{}", shop.daemon.newest_log());
    assert_eq!(shop.daemon.get("/livez").unwrap().status, 200);
    // Whatever was asked for, it goes on.
    shop.resume();
    shop.wait_for("streaming");
    shop.execute("insert into t values (4, 'd')").await;
    shop.settle().await;
    let ids = shop.ids("t").await;
    // Snapshots were among what was asked for.
    assert_eq!(ids[..3], [1, 2, 3]);
    assert!(
        ids[3..].contains(&4) && ids.iter().all(|id| (1..=4).contains(id)),
        "{ids:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_document_is_the_same_before_and_while_it_runs() {
    let shop = Shop::of(ROWS).await;
    let printed = tailrace_tests::daemon::run_binary(&["schema", "--openapi"], shop.daemon.path(), &[]).unwrap();
    let printed: Value = serde_json::from_str(&printed.stdout).unwrap();
    let answered = shop.get("/openapi.json");
    assert_eq!(printed, answered);
    for (path, methods) in answered["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let says = operation["summary"].as_str().unwrap_or_default();
            assert!(!says.is_empty(), "{method} {path} says nothing");
            let is_for_all = operation["security"].as_array().is_some_and(Vec::is_empty);
            assert!(operation["x-role"].is_string() || is_for_all, "{method} {path}");
        }
    }
}
