//! PostgreSQL over TLS, with a password: the connections that ask, and the one that reads the log.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;

use tailrace_tests::database::Database;
use tailrace_tests::servers::PostgresOptions;

use crate::capture::{Capture, Wanted};

const PASSWORD: &str = "b3tw33n";

/// A server that takes a reader over TLS alone, under a certificate that is right.
async fn encrypted() -> Database {
    let options = PostgresOptions {
        host_based_authentication: vec![
            "hostssl all reader 127.0.0.1/32 scram-sha-256".to_owned(),
            "host all postgres 127.0.0.1/32 trust".to_owned(),
        ],
        ..PostgresOptions::default()
    };
    let database = Database::own(options).await.unwrap();
    let folder = database.postgres().unwrap().data_dir();
    let owner = fs::metadata(&folder).unwrap();
    for name in ["valid.pem", "server.key"] {
        let file = folder.join(name);
        let certificates = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates");
        fs::copy(certificates.join(name), &file).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        chown(&file, Some(owner.uid()), Some(owner.gid())).unwrap();
    }
    for statement in [
        "alter system set ssl_cert_file = 'valid.pem'",
        "alter system set ssl_key_file = 'server.key'",
        "alter system set ssl = on",
        "select pg_reload_conf()",
        &format!("create role reader superuser login password '{PASSWORD}'"),
        "create table t (id int primary key, v int)",
        "insert into t values (1, 1)",
    ] {
        database.execute(statement).await.unwrap();
    }
    database
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_changes_come_over_a_connection_that_is_verified() {
    let database = encrypted().await;
    let authority = Path::new(env!("CARGO_MANIFEST_DIR")).join("certificates/authority.pem");
    let url = database.url().replacen("postgres@", &format!("reader:{PASSWORD}@"), 1);
    let wanted = Wanted {
        url: Some(format!("{url}?sslmode=verify-full&sslrootcert={}", authority.display())),
        ..Wanted::default()
    };
    let capture = Capture::start(database, &wanted);
    let events = capture.after("insert into t values (2, 2)", "t").await;
    assert_eq!(events.len(), 2, "{events:?}");
    let sessions = "select count(*) filter (where ssl), count(*) filter (where not ssl) from pg_stat_ssl
                    join pg_stat_activity using (pid) where application_name like 'tailrace %'";
    let rows = capture.database.query(sessions).await.unwrap();
    let count = |column: usize| rows[0][column].as_deref().unwrap().parse::<u32>().unwrap();
    assert!(count(0) >= 1 && count(1) == 0, "{rows:?}");
}
