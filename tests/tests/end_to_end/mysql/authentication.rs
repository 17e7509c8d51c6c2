//! Who may come in, and how the server is known: each way of authentication, for the connections that ask and for the one that reads the
//! log alike, plain and encrypted.

use tailrace_tests::database::Database;
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use crate::capture::{Capture, Wanted};

const TABLE: &str = "create table t (id int primary key, v int); insert into t values (1, 1)";

/// With characters that mean something in a URL.
const PASSWORD: &str = "p w:1@/";
const PASSWORD_IN_URL: &str = "p%20w%3A1%40%2F";

/// A capture as a user who was made so. `parameters` are the URL's, in which DATA stands for the server's data folder.
async fn captured_as(options: MySqlOptions, user: &str, identified: &str, parameters: &str) -> Capture {
    let database = Database::own(options).await.unwrap();
    database.execute(TABLE).await.unwrap();
    let statements = format!(
        "create user {user} {identified};
         grant replication slave, replication client on *.* to {user};
         grant select, lock tables on {}.* to {user}",
        database.name()
    );
    database.execute(&statements).await.unwrap();
    let server = database.mysql().unwrap();
    let data = server.data_dir().display().to_string();
    let url = server.url_as(&format!("{user}:{PASSWORD_IN_URL}")) + &parameters.replace("DATA", &data);
    let wanted = Wanted {
        url: Some(url),
        ..Wanted::default()
    };
    Capture::prepare(database, &wanted)
}

async fn rows_and_changes_come(options: MySqlOptions, user: &str, identified: &str, parameters: &str) {
    let shown = format!("{} {identified} {parameters}", options.version);
    let capture = captured_as(options, user, identified, parameters).await;
    capture.start_again();
    let events = capture.after("insert into t values (2, 2)", "t").await;
    assert_eq!(events.len(), 2, "{shown}: {events:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_say_who_one_is() {
    let by_password = format!("identified by '{PASSWORD}'");
    let oldest = MySqlOptions::version(MySqlVersion::MySql56);
    rows_and_changes_come(oldest, "native", &by_password, "").await;
    let newest = || MySqlOptions::version(MySqlVersion::MySql97);
    rows_and_changes_come(newest(), "digest", &by_password, "").await;
    let mariadb = || MySqlOptions::version(MySqlVersion::MariaDb1011);
    rows_and_changes_come(mariadb(), "native", &by_password, "").await;
    let by_curve = format!("identified via ed25519 using password('{PASSWORD}')");
    let with_plugin = mariadb().setting("plugin_load_add=auth_ed25519");
    rows_and_changes_come(with_plugin, "curve", &by_curve, "").await;
}

/// The server makes itself an authority and a certificate without a name.
#[tokio::test(flavor = "multi_thread")]
async fn each_way_to_know_the_server() {
    let identified = format!("identified by '{PASSWORD}' require ssl");
    let server = || MySqlOptions::version(MySqlVersion::MySql97);
    rows_and_changes_come(server(), "required", &identified, "?ssl-mode=required").await;
    let authority = "?ssl-mode=verify_ca&ssl-ca=DATA/ca.pem";
    rows_and_changes_come(server(), "known", &identified, authority).await;
    let both = "?ssl-mode=verify_ca&ssl-ca=DATA/ca.pem&ssl-cert=DATA/client-cert.pem&ssl-key=DATA/client-key.pem";
    let with_certificate = format!("identified by '{PASSWORD}' require x509");
    rows_and_changes_come(server(), "certified", &with_certificate, both).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_known_gets_no_password() {
    let identified = format!("identified by '{PASSWORD}'");
    let server = || MySqlOptions::version(MySqlVersion::MySql97);
    for (parameters, said) in [
        ("?ssl-mode=verify_identity&ssl-ca=DATA/ca.pem", "127.0.0.1"),
        ("?ssl-mode=verify_ca", "is not accepted"),
    ] {
        let capture = captured_as(server(), "reader", &identified, parameters).await;
        capture.daemon.start().unwrap();
        capture.wait_for("halted:source_tls");
        let told = capture.daemon.connector(capture.database.name()).unwrap().to_string();
        assert!(
            told.contains("the certificate of") && told.contains(said),
            "{parameters}: {told}"
        );
    }
}
