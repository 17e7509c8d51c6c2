//! Who may use it: those who have a token and those who have none, and those without a mouse, a large screen or good eyes.

use serde_json::json;
use tailrace_tests::browser::key;

use super::Site;

/// Every view; `{}` is the connector's name.
const VIEWS: [(&str, &str); 12] = [
    ("connectors", ""),
    ("overview", "connectors/{}"),
    ("snapshots", "connectors/{}/snapshots"),
    ("tail", "connectors/{}/tail"),
    ("letters", "connectors/{}/letters"),
    ("schemas", "connectors/{}/schemas"),
    ("preflight", "connectors/{}/preflight"),
    ("configuration", "connectors/{}/configuration"),
    ("offsets", "connectors/{}/offsets"),
    ("create", "create"),
    ("journal", "journal"),
    ("loggers", "loggers"),
];

/// No view has so many stops that Tab would not come around.
const STOPS: usize = 200;

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_asked_for_and_not_kept() {
    let site = Site::streaming().await;
    site.daemon.terminate().unwrap();
    let [_, _, (_, admin)] = site.configure_with_tokens();
    site.daemon.start().unwrap();
    site.open("");
    site.wait_for_text("h1", "A token is needed");
    let obstacles = site.browser.obstacles().unwrap();
    assert!(obstacles.is_empty(), "{obstacles:?}");
    site.browser.write("#token", "wrong").unwrap();
    site.press("Enter");
    site.wait_for_text(".problem", "does not take this token");
    site.browser.screenshot("token-refused").unwrap();
    site.browser.write("#token", &admin).unwrap();
    site.press("Enter");
    site.wait_for_text("tbody .chip", "streaming");
    site.wait_for_text(".who", "admin");
    // It is nowhere that another page or the next person finds it.
    let kept = "return [document.cookie, sessionStorage.length, JSON.stringify(localStorage), location.href, document.documentElement.outerHTML]";
    let kept = site.browser.run(kept, &[]).unwrap();
    assert_eq!((&kept[0], &kept[1]), (&json!(""), &json!(0)));
    assert!(!kept.to_string().contains(&admin));
    // The request that a button shows names the token and does not hold it.
    site.open_tab_signed_in(&admin, false);
    site.press("Pause: the curl command");
    site.wait_for_text(".curl-box pre", "$TAILRACE_TOKEN");
    let shown = site.browser.text(".curl-box pre").unwrap();
    assert!(!shown.contains(&admin), "{shown}");
    // Remembered in this tab, it is there after the page was loaded anew, and goes when it is to be forgotten.
    site.open_tab_signed_in(&admin, true);
    site.browser.open(&format!("{}/?again#/", site.daemon.url())).unwrap();
    site.wait_for_text("tbody .chip", "streaming");
    site.press("Forget the token");
    site.wait_for_text("h1", "A token is needed");
    let left = site.browser.run("return sessionStorage.length;", &[]).unwrap();
    assert_eq!(left, 0);
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_may_only_read_is_told_so_before_it_tries() {
    let site = Site::streaming().await;
    site.daemon.terminate().unwrap();
    let [(_, reader), ..] = site.configure_with_tokens();
    site.daemon.start().unwrap();
    site.open_tab_signed_in(&reader, false);
    site.wait_for_text(".who", "reader · read");
    site.wait_for_text(".toolbar .hint", "needs the role operate");
    site.press("Pause");
    site.wait_for_text(".toast", "This needs the role operate; yours is read");
    site.wait_for_text(".chip", "streaming");
    site.browser.screenshot("reader").unwrap();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_can_be_reached_and_pressed_without_a_mouse() {
    let site = Site::streaming().await;
    site.open_tab("");
    site.wait_for_text(".chip", "streaming");
    let stops = site.tab_to("Pause");
    assert!(stops.contains(&"Skip to the content".to_owned()), "{stops:?}");
    site.browser.key(key::ENTER).unwrap();
    site.wait_for_text(".chip", "paused");
    // The focus stays where it was though everything was shown anew.
    site.browser
        .wait_until("document.activeElement.textContent === 'Pause'")
        .unwrap();
    site.tab_to("Resume");
    site.browser.key(key::ENTER).unwrap();
    site.wait_for_text(".chip", "streaming");
    // A dialog takes the focus, keeps it, closes with Escape and gives it back.
    site.tab_to("Snapshots");
    site.browser.key(key::ENTER).unwrap();
    site.wait_for_text(".toolbar", "Start a snapshot");
    site.tab_to("Start a snapshot …");
    site.browser.key(key::ENTER).unwrap();
    site.browser
        .wait_until("document.querySelector('dialog')?.contains(document.activeElement)")
        .unwrap();
    site.browser.key(key::ESCAPE).unwrap();
    site.browser
        .wait_until(
            "!document.querySelector('dialog') && document.activeElement.textContent.startsWith('Start a snapshot')",
        )
        .unwrap();
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_view_can_be_read_in_light_and_dark_and_on_a_phone() {
    let site = Site::streaming().await;
    site.execute("insert into orders select i, 'Ada', i from generate_series(1, 50) i")
        .await;
    for (scheme, width, height) in [
        ("light", 1280, 900),
        ("dark", 1280, 900),
        ("light", 360, 780),
        ("dark", 360, 780),
    ] {
        site.browser.prefer(scheme).unwrap();
        site.browser.resize(width, height).unwrap();
        for (name, view) in VIEWS {
            site.open(&view.replace("{}", site.name()));
            site.browser
                .wait_until("document.querySelector('main .panel, main .empty') && !document.querySelector('.waiting')")
                .unwrap();
            let place = format!("{name}, {scheme}, {width} pixels");
            assert_eq!(site.browser.overflow().unwrap(), 0, "{place}");
            let obstacles = site.browser.obstacles().unwrap();
            assert!(obstacles.is_empty(), "{place}: {obstacles:#?}");
            site.browser.screenshot(&format!("{name}-{scheme}-{width}")).unwrap();
        }
    }
    site.assert_quiet();
}

#[tokio::test(flavor = "multi_thread")]
async fn colours_are_chosen_by_hand_and_remembered() {
    let site = Site::streaming().await;
    site.browser.prefer("light").unwrap();
    site.open("");
    let ground = "getComputedStyle(document.body).backgroundColor";
    let light = site.browser.run(&format!("return {ground};"), &[]).unwrap();
    site.browser.click("button.theme").unwrap();
    site.browser.click("button.theme").unwrap();
    site.browser.wait_until(&format!("{ground} !== {light}")).unwrap();
    site.browser.open(&format!("{}/?again#/", site.daemon.url())).unwrap();
    site.browser.wait_until("document.querySelector('h1')").unwrap();
    site.browser.wait_until(&format!("{ground} !== {light}")).unwrap();
    site.assert_quiet();
}

impl Site {
    /// Opens the connector in a page that knows no token, and gives it this one.
    fn open_tab_signed_in(&self, token: &str, remember: bool) {
        self.browser.open("about:blank").unwrap();
        let address = format!("{}/#/connectors/{}", self.daemon.url(), self.name());
        self.browser.open(&address).unwrap();
        self.wait_for_text("h1", "A token is needed");
        if remember {
            self.browser.click("input[name=remember]").unwrap();
        }
        self.browser.write("#token", token).unwrap();
        self.press("Enter");
        self.wait_for_text("h1", self.name());
    }

    /// Goes on with Tab until something with these words has the focus; the words on the way. Each stop shows that it is one.
    fn tab_to(&self, words: &str) -> Vec<String> {
        let look = "const stop = document.activeElement; const style = getComputedStyle(stop); \
            return [stop.textContent.trim(), style.outlineStyle !== 'none' && stop.getClientRects().length > 0];";
        let mut stops: Vec<String> = Vec::new();
        while stops.last().is_none_or(|text| text != words) {
            assert!(stops.len() < STOPS, "{words} is not among {stops:?}");
            self.browser.key(key::TAB).unwrap();
            let stop = self.browser.run(look, &[]).unwrap();
            let text = stop[0].as_str().unwrap_or_default().to_owned();
            let is_body = text.len() > 500;
            assert!(is_body || stop[1] == json!(true), "the focus cannot be seen on {text}");
            stops.push(text);
        }
        stops
    }
}
