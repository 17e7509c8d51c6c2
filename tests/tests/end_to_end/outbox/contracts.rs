//! The database itself refuses a payload that breaks its contract, in the application's own transaction.

use std::fs;

use super::{Outbox, PLACES, Place, row};

const CONTRACT: &str = r#"{
  "type": "object",
  "required": ["order", "customer"],
  "additionalProperties": false,
  "properties": {
    "order": { "type": "integer", "minimum": 1, "maximum": 1000000000000 },
    "status": { "enum": ["new", "Paid", "it's", 7, null, true] },
    "customer": {
      "type": "object",
      "required": ["email"],
      "properties": {
        "email": { "type": "string", "minLength": 3, "maxLength": 8 },
        "rate": { "type": ["number", "null"], "minimum": -0.5 }
      }
    },
    "lines": {
      "type": "array",
      "items": {
        "type": "object",
        "required": ["sku"],
        "properties": {
          "sku": { "type": "string" },
          "tags": { "type": "array", "items": { "enum": ["a", "b"] } },
          "gift": { "type": "boolean" }
        }
      }
    }
  }
}"#;

const KEPT: [&str; 9] = [
    r#"{"order": 1, "customer": {"email": "a@b"}}"#,
    r#"{"order": 2.0, "customer": {"email": "žlutý@b", "rate": null}}"#,
    r#"{"order": 1000000000000, "customer": {"email": "a\"b", "rate": -0.5}, "lines": []}"#,
    r#"{"order": 3, "customer": {"email": "a@b", "other": [1]}, "status": "it's"}"#,
    r#"{"order": 3, "customer": {"email": "a@b"}, "status": 7}"#,
    r#"{"order": 3, "customer": {"email": "a@b"}, "status": null}"#,
    r#"{"order": 3, "customer": {"email": "a@b"}, "status": true}"#,
    r#"{"order": 3, "customer": {"email": "a@b"}, "lines": [{"sku": "x", "tags": ["b", "a"], "gift": false}, {"sku": ""}]}"#,
    r#"{"order": 3, "customer": {"email": "a@b"}, "lines": [{"sku": "x", "n": {"deep": []}}]}"#,
];

/// Payloads, and what is said of them; SQLite cannot say which element, nor which other field.
const BROKEN: [(&str, &str); 24] = [
    (r"[]", "payload: must be an object"),
    (r"3", "payload: must be an object"),
    (r"null", "payload: must be an object"),
    (r#"{"customer": {"email": "a@b"}}"#, "payload.order: is missing"),
    (r#"{"order": 1}"#, "payload.customer: is missing"),
    (r#"{"order": 1, "customer": {}}"#, "payload.customer.email: is missing"),
    (
        r#"{"order": 1, "customer": "ada"}"#,
        "payload.customer: must be an object",
    ),
    (
        r#"{"order": "1", "customer": {"email": "a@b"}}"#,
        "payload.order: must be a whole number",
    ),
    (
        r#"{"order": 1.5, "customer": {"email": "a@b"}}"#,
        "payload.order: must be a whole number",
    ),
    (
        r#"{"order": 0, "customer": {"email": "a@b"}}"#,
        "payload.order: must be at least 1",
    ),
    (
        r#"{"order": 1000000000001, "customer": {"email": "a@b"}}"#,
        "payload.order: must be at most 1000000000000",
    ),
    (
        r#"{"order": 1, "customer": {"email": "ab"}}"#,
        "payload.customer.email: must have at least 3 characters",
    ),
    (
        r#"{"order": 1, "customer": {"email": "žluťoučký"}}"#,
        "payload.customer.email: must have at most 8 characters",
    ),
    (
        r#"{"order": 1, "customer": {"email": null}}"#,
        "payload.customer.email: must be a string",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b", "rate": "x"}}"#,
        "payload.customer.rate: must be a number or null",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b", "rate": -0.6}}"#,
        "payload.customer.rate: must be at least -0.5",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "Status": 1}"#,
        "payload.Status: is not allowed",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "status": "paid"}"#,
        "payload.status: must be one of new, Paid, it's, 7, null, true",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "status": "7"}"#,
        "payload.status: must be one of new",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "status": false}"#,
        "payload.status: must be one of new",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "lines": {"sku": 1}}"#,
        "payload.lines: must be an array",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "lines": [{"sku": "x"}, {}]}"#,
        "payload.lines[1].sku: is missing",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "lines": ["x"]}"#,
        "payload.lines[0]: must be an object",
    ),
    (
        r#"{"order": 1, "customer": {"email": "a@b"}, "lines": [{"sku": "x", "tags": ["a", "b", "A"]}]}"#,
        "payload.lines[0].tags[2]: must be one of a, b",
    ),
];

fn write(outbox: &Outbox, contract: &str) -> String {
    let path = outbox.daemon.path().join("contract.json");
    fs::write(&path, contract).unwrap();
    path.display().to_string()
}

/// As a literal of SQL; MySQL reads a backslash as the beginning of an escape.
fn sql(place: Place, payload: &str) -> String {
    let escaped = payload.replace('\'', "''");
    match place {
        Place::Server(tailrace_tests::database::Version::MySql(_)) => format!("'{}'", escaped.replace('\\', "\\\\")),
        _ => format!("'{escaped}'"),
    }
}

/// What is said in this place.
fn said(place: Place, problem: &str) -> String {
    if place != Place::Sqlite {
        return problem.to_owned();
    }
    let without_index = ["0", "1", "2"].iter().fold(problem.to_owned(), |text, index| {
        text.replace(&format!("[{index}]"), "[]")
    });
    match without_index.as_str() {
        "payload.Status: is not allowed" => "payload: has a field that is not allowed".to_owned(),
        _ => without_index,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn payloads_are_taken_or_refused_with_the_name_of_the_field() {
    for place in PLACES {
        let outbox = Outbox::at(place).await;
        let contract = write(&outbox, CONTRACT);
        let printed = outbox.install(&["--contract", &contract]);
        assert_eq!(printed.code, Some(0), "{place:?}: {}", printed.all());
        // A second time makes the triggers anew.
        assert_eq!(outbox.install(&["--contract", &contract]).code, Some(0));
        for (number, payload) in KEPT.into_iter().enumerate() {
            let taken = outbox.execute(&row(number, "Order", "7", &sql(place, payload))).await;
            taken.unwrap_or_else(|error| panic!("{place:?}: {payload}: {error}"));
        }
        for (payload, problem) in BROKEN {
            let refused = outbox.execute(&row(99, "Order", "7", &sql(place, payload))).await;
            let error = refused.expect_err(payload).to_string();
            assert!(error.contains(&said(place, problem)), "{place:?}: {payload}: {error}");
        }
        let error = outbox
            .execute(&row(99, "Order", "7", "null"))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("payload: is missing"), "{place:?}: {error}");
        let update = format!("update outbox set payload = {}", sql(place, "[]"));
        let error = outbox.execute(&update).await.unwrap_err().to_string();
        assert!(error.contains("payload: must be an object"), "{place:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_contract_may_hold_for_one_type() {
    for place in PLACES {
        let outbox = Outbox::at(place).await;
        for (event_type, contract) in [
            ("OrderChanged", r#"{"required": ["order"]}"#),
            ("CustomerChanged", r#"{"required": ["name"]}"#),
        ] {
            let contract = write(&outbox, contract);
            let printed = outbox.install(&["--contract", &contract, "--type", event_type, "--lease"]);
            assert_eq!(printed.code, Some(0), "{place:?}: {}", printed.all());
        }
        let order = "'{\"order\": 1}'";
        outbox.execute(&row(1, "Order", "7", order)).await.unwrap();
        outbox.execute(&row(2, "Other", "7", "'[]'")).await.unwrap();
        let error = outbox
            .execute(&row(3, "Customer", "7", order))
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("payload.name: is missing"), "{place:?}: {error}");
        outbox
            .execute("select epoch, owner, expires_at_us from tailrace_lease where name = 'x'")
            .await
            .unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn patterns_are_checked_where_the_database_can() {
    for place in PLACES {
        let outbox = Outbox::at(place).await;
        let contract = write(&outbox, r#"{"properties": {"sku": {"pattern": "^[A-Z]\\.'[0-9]+$"}}}"#);
        let printed = outbox.install(&["--contract", &contract]);
        if place == Place::Sqlite {
            assert_eq!(printed.code, Some(1), "{}", printed.all());
            assert!(printed.all().contains("payload.sku") && printed.all().contains("no regular expressions"));
            continue;
        }
        assert_eq!(printed.code, Some(0), "{place:?}: {}", printed.all());
        outbox
            .execute(&row(1, "Order", "7", "'{\"sku\": \"A.''17\"}'"))
            .await
            .unwrap();
        for broken in ["a.''17", "Ax''17", "A.''"] {
            let payload = format!("'{{\"sku\": \"{broken}\"}}'");
            let error = outbox
                .execute(&row(2, "Order", "7", &payload))
                .await
                .expect_err(broken)
                .to_string();
            assert!(error.contains("payload.sku: must match ^[A-Z]"), "{place:?}: {error}");
        }
    }
}

#[test]
fn what_is_printed_is_what_is_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let print = |arguments: &[&str]| {
        let mut all = vec!["outbox", "install", "--database"];
        all.extend(arguments);
        tailrace_tests::daemon::run_binary(&all, folder.path(), &[]).unwrap()
    };
    let migrations = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../migrations/outbox");
    for place in PLACES {
        let database = place.name();
        let file = |name: &str| fs::read_to_string(migrations.join(database).join(name)).unwrap();
        let printed = print(&[database, "--lease"]);
        assert_eq!(
            printed.stdout,
            format!("{}\n{}\n", file("0001_outbox.sql"), file("0002_lease.sql"))
        );
        let named = print(&[database, "--table", "sales.events", "--print"]).stdout;
        assert!(
            named.contains("events") && !named.contains("outbox`") && !named.contains("outbox\""),
            "{named}"
        );
    }
    assert_eq!(
        print(&[
            "mysql",
            "--table",
            "outbox",
            "--apply",
            "--url",
            "mysql://root@127.0.0.1:1/"
        ])
        .code,
        Some(2)
    );
    assert_eq!(print(&["postgres", "--apply"]).code, Some(2), "--apply without a URL");
}
