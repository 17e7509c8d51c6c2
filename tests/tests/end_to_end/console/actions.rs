//! What is done: each button, its request as curl, and the question before something is lost.

use serde_json::json;
use tailrace_tests::http::request;

use super::{MYSQL, Site};

/// More than the format holds.
const BAD: &str = "18446744073709551615";

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_paused_resumed_restarted_and_stopped() {
    let site = Site::streaming().await;
    site.open_tab("");
    site.wait_for_text(".chip", "streaming");
    site.press("Pause");
    site.wait_for_text(".chip", "paused");
    site.wait_for_text("[role=status]", &format!("{} is paused", site.name()));
    // What cannot be done says why, and does nothing.
    site.press("Pause");
    site.wait_for_text(".toast", "It is paused already");
    site.press("Resume");
    site.wait_for_text(".chip", "streaming");
    site.press("Stop");
    site.wait_for_text(".chip", "stopped");
    site.press("Resume");
    site.wait_for_text(".chip", "streaming");
    site.press("Restart");
    site.wait_for_text(".toast", "is being restarted");
    site.wait_for_text(".chip", "streaming");
    site.open("journal");
    site.wait_for_text("tbody", "anonymous");
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_of_a_button_is_the_request_that_it_sends() {
    let site = Site::streaming().await;
    site.open_tab("");
    site.press("Pause: the curl command");
    let expected = format!("curl -X PUT '{}/connectors/{}/pause'", site.daemon.url(), site.name());
    assert_eq!(site.browser.text(".curl-box pre").unwrap(), expected);
    let run = std::process::Command::new("sh")
        .args(["-c", &expected])
        .output()
        .unwrap();
    assert!(run.status.success());
    site.wait_for_text(".chip", "paused");
    // Each button has one, and all of them name this daemon.
    let commands = site
        .browser
        .run(
            "return [...document.querySelectorAll('.action')].every((action) => action.querySelector('button.curl'));",
            &[],
        )
        .unwrap();
    assert_eq!(commands, true);
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_is_created_from_a_pasted_configuration_and_deleted_by_its_name() {
    let site = Site::streaming().await;
    site.open("create");
    site.browser.write("#create-name", "second").unwrap();
    site.browser
        .write(
            "#create-text",
            "source.type=postgres\nsource.tabels=public.orders\nstream=events",
        )
        .unwrap();
    site.press("Check");
    site.wait_for_text(".key-errors", "tabels");
    site.browser.screenshot("create-errors").unwrap();
    // Nested JSON as well, as a person pastes it.
    let config = json!({
        "source": { "type": "postgres", "url": site.database.url(), "tables": ["public.orders"] },
        "stream": "events",
    });
    let paste = "const area = document.querySelector('#create-text'); area.value = arguments[0]; \
        area.dispatchEvent(new Event('input', { bubbles: true }));";
    site.browser.run(paste, &[json!(config.to_string())]).unwrap();
    let chosen = "document.querySelector('#create-plugin').value === 'tailrace.source.postgres'";
    site.browser.wait_until(chosen).unwrap();
    let select = "const begin = document.querySelector('#create-state'); begin.value = 'STOPPED'; \
        begin.dispatchEvent(new Event('change', { bubbles: true }));";
    site.browser.run(select, &[]).unwrap();
    site.press("Create");
    site.wait_for_text("h1", "second");
    site.wait_for_text(".chip", "stopped");
    site.press("Delete");
    site.wait_for_text("dialog", "configuration is forgotten");
    let is_closed = "document.querySelector('dialog button.danger').disabled";
    site.browser.wait_until(is_closed).unwrap();
    site.browser.write("#confirm-name", "second").unwrap();
    site.browser.wait_until(&format!("!{is_closed}")).unwrap();
    site.press("Delete");
    site.wait_for_text(".toast", "second is deleted");
    site.wait_for_text("h1", "Connectors");
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_letter_is_looked_at_and_dropped_in_two_steps() {
    let site = Site::with(MYSQL, "create table orders (id int primary key, value bigint unsigned)").await;
    site.configure("    format: { bigint_unsigned: long }\n    dead_letters: { policy: store }\n");
    site.start();
    site.execute(&format!("insert into orders values (1, {BAD}), (2, 5)"))
        .await;
    site.open("");
    site.wait_for_text("tbody .warnings", "1 dead letter");
    site.open_tab("letters");
    site.wait_for_text("tbody", "above 9223372036854775807");
    site.press("#1");
    site.wait_for_text(".row-change", BAD);
    // It is refused again, and says so.
    site.press("Replay");
    site.wait_for_text(".toast", "refused again");
    site.press("Drop");
    site.wait_for_text("dialog .losses", "1");
    site.browser.screenshot("drop").unwrap();
    site.press("Cancel");
    site.browser.wait_until("!document.querySelector('dialog')").unwrap();
    site.press("Drop");
    site.wait_for_text("dialog .losses", "1");
    site.press("Drop");
    site.wait_for_text(".toast", "It is dropped");
    let list = format!("/connectors/{}/dead_letters", site.name());
    let (status, listing) = request(site.daemon.port(), "GET", &list, "").unwrap();
    assert!(status == 200 && listing.contains("\"waiting\": 0"), "{listing}");
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_asked_for_and_seen_through() {
    let site = Site::streaming().await;
    site.execute("insert into orders select i, 'Ada', i from generate_series(1, 200) i")
        .await;
    site.wait_for_text_on("", "main", "200");
    site.open_tab("snapshots");
    site.press("Start a snapshot …");
    site.wait_for_text("dialog", "public.orders");
    site.browser.click("dialog input[type=checkbox]").unwrap();
    site.press("Start with 1 table");
    site.wait_for_text(".badge", "finished");
    site.wait_for_text("tbody", "200");
    site.browser.screenshot("snapshot").unwrap();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_logger_writes_more_when_it_is_told_to() {
    let site = Site::streaming().await;
    site.open("loggers");
    site.wait_for_text("tbody", "root");
    let choose = "const select = document.querySelector('[aria-label=\"Level of root\"]'); select.value = 'DEBUG'; \
        select.dispatchEvent(new Event('change', { bubbles: true }));";
    site.browser.run(choose, &[]).unwrap();
    site.wait_for_text(".toast", "DEBUG");
    let (status, levels) = request(site.daemon.port(), "GET", "/admin/loggers/root", "").unwrap();
    assert!(status == 200 && levels.contains("DEBUG"), "{levels}");
    site.assert_quiet();
}

impl Site {
    /// Opens a tab and waits for a text.
    fn wait_for_text_on(&self, tab: &str, selector: &str, text: &str) {
        self.open_tab(tab);
        self.wait_for_text(selector, text);
    }
}
