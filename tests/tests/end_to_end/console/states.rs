//! What is shown: states with their reasons, rates, progress, and that nobody answers.

use super::{ORDERS, POSTGRES, Site};

#[tokio::test(flavor = "multi_thread")]
async fn connectors_are_listed_with_their_state_and_what_flows() {
    let site = Site::streaming().await;
    site.open("");
    site.wait_for_text("tbody .connector-name", site.name());
    site.wait_for_text("tbody .chip", "streaming");
    site.wait_for_text(".strip", "transforms");
    site.execute("insert into orders select i, 'Ada', i from generate_series(1, 500) i")
        .await;
    site.open_tab("");
    site.wait_for_text(".facts", "500");
    site.open("");
    // Filters are part of the address, and hide what does not match.
    site.browser.click("a.filter.state-streaming").unwrap();
    site.wait_for_text("a.filter[aria-current]", "streaming");
    let address = site.browser.run("return location.hash;", &[]).unwrap();
    assert_eq!(address, "#/?state=streaming");
    site.browser.write("input[type=search]", "nothing like it").unwrap();
    site.wait_for_text(".empty", "No connector is like this");
    site.browser.screenshot("connectors-none").unwrap();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connector_that_needs_a_person_says_why_and_stands_first() {
    let site = Site::streaming().await;
    site.open("");
    site.wait_for_text("tbody .chip", "streaming");
    site.daemon.kill9().unwrap();
    let slot = site.database.slot();
    let is_free = format!("exists (select from pg_replication_slots where slot_name = '{slot}' and not active)");
    site.database.wait_until(&is_free).await.unwrap();
    let gone = format!("select pg_drop_replication_slot('{slot}')");
    site.execute(&gone).await;
    site.daemon.start().unwrap();
    site.wait_for_text("tbody .chip", "slot_missing");
    site.wait_for_text("tbody tr.row-halted", site.name());
    site.browser
        .wait_until("document.title.startsWith('1 halted')")
        .unwrap();
    site.open_tab("");
    site.wait_for_text(".callout", "slot");
    site.browser.screenshot("halted").unwrap();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_is_gone_is_said_and_seen_again_when_it_is_back() {
    let site = Site::streaming().await;
    site.open_tab("");
    site.wait_for_text(".chip", "streaming");
    site.daemon.kill9().unwrap();
    site.wait_for_text(".banner", "The daemon does not answer");
    site.wait_for_text("[role=status]", "The daemon does not answer");
    // What was known stays there to be read, and nothing can be pressed.
    assert!(site.browser.text("h1").unwrap().contains(site.name()));
    let forbidden = "document.querySelector('.toolbar button[aria-disabled]').getAttribute('aria-description') === 'The daemon does not answer.'";
    site.browser.wait_until(forbidden).unwrap();
    site.browser.screenshot("no-answer").unwrap();
    site.daemon.start().unwrap();
    site.browser.wait_until("!document.querySelector('.banner')").unwrap();
    site.wait_for_text(".chip", "streaming");
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn history_is_drawn_and_what_the_log_keeps_is_told() {
    let site = Site::streaming().await;
    site.open_tab("");
    site.wait_for_text("figcaption", "Throughput");
    site.browser
        .wait_until("document.querySelectorAll('.plot canvas').length > 0")
        .unwrap();
    site.wait_for_text(".panel", "Retained log");
    // A chart can be read without seeing it.
    site.browser
        .wait_until("document.querySelector('.plot').getAttribute('aria-label').includes('records')")
        .unwrap();
    site.press("15 minutes");
    site.browser
        .wait_until("document.querySelector('button[aria-pressed=true]').textContent === '15 minutes'")
        .unwrap();
    site.browser.screenshot("overview").unwrap();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tail_shows_a_change_as_row_as_event_and_as_bytes() {
    let site = Site::with(POSTGRES, &format!("{ORDERS}; alter table orders replica identity full")).await;
    site.configure("");
    site.start();
    site.execute("insert into orders values (1, 'Ada', 10)").await;
    site.open_tab("tail");
    site.press("Watch");
    site.wait_for_text(".tail-state", "Running");
    site.browser
        .wait_until("document.querySelector('.empty-title').textContent.startsWith('Waiting')")
        .unwrap();
    site.execute("update orders set total = 11 where id = 1").await;
    site.wait_for_text("tbody .op", "update");
    site.press("Open");
    site.wait_for_text(".row-change .changed", "total");
    assert!(site.browser.text(".row-change .changed").unwrap().contains("11"));
    let hops = site.browser.text(".hops").unwrap();
    for part in ["Row", "Event", "On the wire", "updated_at", "0000  7b"] {
        assert!(hops.contains(part), "{part} is not in {hops}");
    }
    site.browser.screenshot("tail").unwrap();
    site.press("Stop watching");
    site.wait_for_text(".tail-state", "Not running");
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn definitions_configuration_and_preflight_are_there_to_be_read() {
    let site = Site::streaming().await;
    site.execute("insert into orders values (1, 'Ada', 10)").await;
    site.execute("alter table orders add column note text").await;
    site.execute("insert into orders values (2, 'Grace', 20, 'x')").await;
    site.open_tab("schemas");
    site.wait_for_text(".schema", "public.orders");
    site.wait_for_text(".schema", "1 new");
    site.open_tab("configuration");
    site.wait_for_text(".code.yaml", "type: postgres");
    site.press("Flat");
    site.wait_for_text("td", "tailrace.source.postgres");
    site.press("As a file");
    site.wait_for_text(".code", "connectors:");
    site.open_tab("preflight");
    site.wait_for_text(".panel .big", "");
    site.open("journal");
    site.wait_for_text("tbody", site.name());
    site.open("loggers");
    site.wait_for_text("tbody", "root");
    site.assert_quiet();
}
