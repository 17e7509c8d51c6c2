//! What deployments lean on: health checks without a shell.

use tailrace_tests::daemon::{Daemon, Printed};
use tailrace_tests::http::Client;
use tailrace_tests::servers::Port;

fn health(daemon: &Daemon, arguments: &[&str]) -> Printed {
    daemon.command("health", arguments).unwrap()
}

/// A daemon whose one database is not there: it lives, and is not ready.
fn with_nothing_to_read() -> (Daemon, String) {
    let nobody = Port::claim().unwrap();
    let sections = format!(
        "streams:\n  events: {{ type: file, path: events }}\nconnectors:\n  orders:\n    stream: events\n    \
         source: {{ type: postgres, url: \"postgres://app@127.0.0.1:{}/shop\", tables: [public.orders] }}",
        nobody.number()
    );
    (Daemon::new(&sections).unwrap(), sections)
}

fn lives_and_is_not_ready(daemon: &Daemon, reason: &str) {
    daemon.wait_for_state("orders", "degraded").unwrap();
    let lives = health(daemon, &[]);
    assert_eq!(
        (lives.code, lives.stdout.as_str()),
        (Some(0), "ok\n"),
        "{}",
        lives.all()
    );
    let ready = health(daemon, &["--ready"]);
    assert_eq!(ready.code, Some(1), "{}", ready.all());
    for said in ["/readyz", "503", reason, "daemon_unwell"] {
        assert!(ready.stderr.contains(said), "{said} in {}", ready.stderr);
    }
}

#[test]
fn health_is_asked_without_a_shell() {
    let (daemon, _) = with_nothing_to_read();
    let nobody = health(&daemon, &[]);
    assert_eq!(nobody.code, Some(1), "{}", nobody.all());
    assert!(nobody.stderr.contains("no daemon answers at"), "{}", nobody.stderr);
    daemon.start().unwrap();
    lives_and_is_not_ready(&daemon, "orders");
    // What somebody stopped is as it should be.
    let stopped = daemon.client().ask("PUT", "/connectors/orders/stop", &[], "").unwrap();
    assert_eq!(stopped.status, 204, "{}", stopped.body);
    assert_eq!(health(&daemon, &["--ready"]).code, Some(0));
}

#[test]
fn health_is_asked_where_probes_are_answered() {
    let (mut daemon, sections) = with_nothing_to_read();
    let probes = Port::claim().unwrap();
    let client = Client::at(daemon.port());
    daemon.set_admin(&format!("probes_listen: \"0.0.0.0:{}\"", probes.number()), client);
    daemon.configure(&sections).unwrap();
    daemon.start().unwrap();
    lives_and_is_not_ready(&daemon, &format!("http://127.0.0.1:{}", probes.number()));
}
