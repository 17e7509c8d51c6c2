//! `tailrace check` of connectors that write: what is missing of their tables, and what makes it.

use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

use super::sink;

/// What is found of a sink with these settings, each as its severity, code and remedy.
fn findings(sink: &str) -> Vec<[String; 3]> {
    let daemon = Daemon::new(&format!(
        "streams: {{ events: {{ type: file, path: events }} }}\nconnectors:\n  \
         mirror: {{ stream: events, topics: [shop.absent, shop.keyless, shop.ready, \"shop.*\"], sink: {{ {sink} }} }}\n"
    ));
    let printed = daemon.unwrap().command("check", &["--json"]).unwrap();
    let reports: serde_json::Value = serde_json::from_str(&printed.stdout).unwrap();
    let all = reports[0]["findings"].as_array().unwrap().clone();
    let word = |finding: &serde_json::Value, key: &str| finding[key].as_str().unwrap_or_default().to_owned();
    let found = all
        .iter()
        .map(|finding| ["severity", "code", "remedy"].map(|key| word(finding, key)));
    found
        .filter(|[_, code, _]| code == "table_missing" || code == "key_not_unique")
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn tables_that_are_missing_or_have_no_key() {
    for version in [
        Version::from(PostgresVersion::V17),
        MySqlVersion::MySql97.into(),
        MySqlVersion::MySql56.into(),
        MySqlVersion::MariaDb1011.into(),
    ] {
        let target = Database::shared(version).await.unwrap();
        target
            .execute("create table keyless (id int not null); create table ready (id int primary key)")
            .await
            .unwrap();
        let found = findings(&format!("{}, key: [id]", sink(&target, None)));
        let [[_, _, remedy], [severity, code, _]] = found.as_slice() else {
            panic!("{version}: {found:?}");
        };
        assert_eq!(
            (severity.as_str(), code.as_str()),
            ("warning", "table_missing"),
            "{version}"
        );
        target.execute(remedy).await.unwrap();
        let found = findings(&format!("{}, key: [id], evolve: add", sink(&target, None)));
        assert_eq!(found.len(), 1, "{version}: {found:?}");
        assert_eq!(found[0][..2], ["note", "table_missing"], "{version}");
    }
}
