//! What comes from elsewhere stays text, and nobody else is asked.

use serde_json::json;
use tailrace_tests::http::request;

use super::{POSTGRES, Site};

/// A name that a table may have, and that would be markup and script to a careless page, and a command to a careless shell.
const HOSTILE: &str = "\"><img src=x onerror=\"document.title='taken'\"><b>'$(id)`id`</b>";

#[tokio::test(flavor = "multi_thread")]
async fn hostile_names_and_rows_are_shown_as_they_are() {
    let quoted = HOSTILE.replace('"', "\"\"");
    let text = HOSTILE.replace('\'', "''");
    let site = Site::with(
        POSTGRES,
        &format!("create table \"{quoted}\" (id int primary key, \"{quoted}\" text)"),
    )
    .await;
    site.configure("");
    site.start();
    site.open_tab("tail");
    site.press("Watch");
    site.wait_for_text(".tail-state", "Running");
    site.execute(&format!("insert into \"{quoted}\" values (1, '{text}')"))
        .await;
    site.wait_for_text("tbody", HOSTILE);
    site.press("Open");
    site.wait_for_text(".row-change", HOSTILE);
    site.assert_unharmed();
    for tab in ["", "schemas", "snapshots", "offsets", "configuration"] {
        site.open_tab(tab);
        site.browser.wait_until("!document.querySelector('.waiting')").unwrap();
        site.assert_unharmed();
    }
    site.open_tab("schemas");
    site.wait_for_text(".schema", HOSTILE);
    // A name in the address is text, too, and so is a command that it stands in.
    let address = format!("{}/#/connectors/{}", site.daemon.url(), percent_encoded(HOSTILE));
    site.browser.open(&address).unwrap();
    site.wait_for_text(".empty", "There is no connector of this name");
    site.assert_unharmed();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_but_the_daemon_is_asked() {
    let site = Site::streaming().await;
    site.open("");
    site.wait_for_text("tbody .chip", "streaming");
    for view in ["create", "journal", "loggers", &format!("connectors/{}", site.name())] {
        site.open(view);
        site.browser.wait_until("!document.querySelector('.waiting')").unwrap();
    }
    let own = format!("{}/", site.daemon.url());
    let asked = site.browser.requested().unwrap();
    assert!(asked.iter().any(|url| url.ends_with("/status")), "{asked:?}");
    // What the browser asks itself is in schemes of its own; the icon stands in the page.
    let mut of_network = asked
        .iter()
        .filter(|url| url.starts_with("http") || url.starts_with("ws"));
    assert!(of_network.all(|url| url.starts_with(&own)), "{asked:?}");
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_policy_forbids_what_the_page_does_not_need() {
    let site = Site::streaming().await;
    site.open("");
    let forbidden = "const script = document.createElement('script'); script.textContent = 'document.title = \"taken\"'; \
        document.body.append(script);";
    drop(site.browser.run(forbidden, &[]));
    let inline = "const element = document.createElement('p'); element.setAttribute('onclick', 'document.title = \"taken\"'); \
        document.body.append(element); element.click();";
    drop(site.browser.run(inline, &[]));
    let markup = "try { document.body.innerHTML = '<p>taken</p>'; return false; } catch (refused) { return true; }";
    assert_eq!(site.browser.run(markup, &[]).unwrap(), true);
    let elsewhere = "return fetch('http://127.0.0.1:9/').then(() => 'answered', () => 'refused');";
    assert_eq!(site.browser.run(elsewhere, &[]).unwrap(), "refused");
    let title = site.browser.run("return document.title;", &[]).unwrap();
    assert_ne!(title, "taken");
    let said = site.browser.console_errors().unwrap();
    assert!(
        said.iter().any(|message| message.contains("Content Security Policy")),
        "{said:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_get_json_where_browsers_get_the_page() {
    let site = Site::streaming().await;
    let (status, answer) = request(site.daemon.port(), "GET", "/", "").unwrap();
    assert!(status == 200 && answer.contains("\"version\""), "{answer}");
}

/// As a browser writes a part of an address.
fn percent_encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    });
    bytes.collect()
}

impl Site {
    /// Nothing of a name became an element or was run.
    fn assert_unharmed(&self) {
        let look =
            "return [document.title, document.querySelectorAll('img, b[onclick], script:not([type=module])').length];";
        let found = self.browser.run(look, &[]).unwrap();
        assert_eq!(found[1], json!(0), "{found}");
        assert_ne!(found[0], "taken");
    }
}
