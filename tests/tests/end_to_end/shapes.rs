//! What becomes of changes where a transcript cannot show it: it has one database, and that is in UTF-8. All else that becomes of
//! changes is in `tests/transcripts/`.

use tailrace_tests::servers::PostgresVersion;

use crate::capture::{Capture, Wanted, database_with};

#[tokio::test(flavor = "multi_thread")]
async fn text_of_another_encoding_arrives_as_unicode() {
    let other = database_with(PostgresVersion::V17, "").await;
    let name = format!("latin{}", other.name());
    let create = format!("create database {name} encoding 'LATIN1' locale 'C' template template0");
    other.execute(&create).await.unwrap();
    let table = "create table t (id int primary key, v text); insert into t values (1, chr(233))";
    other.postgres().unwrap().execute_in(&name, table).await.unwrap();
    let url = other.postgres().unwrap().url_as("postgres", &name);
    let capture = Capture::start(
        other,
        &Wanted {
            url: Some(url),
            ..Wanted::default()
        },
    );
    let insert = "insert into t values (2, chr(223))";
    capture
        .database
        .postgres()
        .unwrap()
        .execute_in(&name, insert)
        .await
        .unwrap();
    let expected = [
        r#"r {"id":1} null -> {"id":1,"v":"é"}"#,
        r#"c {"id":2} null -> {"id":2,"v":"ß"}"#,
    ];
    assert_eq!(capture.after("", "t").await, expected);
}
