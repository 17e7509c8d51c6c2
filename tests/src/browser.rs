//! A real browser without a window, led by WebDriver (<https://www.w3.org/TR/webdriver2/>): what a person would do to a page, what they
//! would see, and what the page asked of the network meanwhile.
//!
//! Everything waits for a condition of the page and never for a time.

#![expect(
    clippy::indexing_slicing,
    reason = "of JSON: what WebDriver does not answer is null, and is noticed as such"
)]

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::http::exchange;
use crate::servers::process::{Server, ServerCommand, ServerFolder};
use crate::servers::{Port, Result, ServerError, poll_until, running_as_root};

/// A browser that starts on a machine that does everything at once.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// As the daemon's own: what the page shows follows it within two seconds.
const DEADLINE: Duration = Duration::from_secs(60);

/// The key of an element's reference, WebDriver 12.1.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// Where screenshots are put; without it there are none.
const SCREENSHOTS: &str = "TAILRACE_SCREENSHOTS";
/// A page that is taller is cut.
const TALLEST: u32 = 4000;

/// What the page shows now that somebody would stumble over.
const AUDIT: &str = include_str!("browser/audit.js");

/// Finds what can be pressed by the words on it: in the dialog that is open, else in the view, else in the frame around it.
const FIND_PRESSABLE: &str = "const open = document.querySelector('dialog[open]'); \
    const places = open ? [open] : [document.querySelector('main'), document]; \
    const isIt = (element) => [element.textContent.trim(), element.getAttribute('aria-label')].includes(arguments[0]); \
    const found = (place) => [...(place?.querySelectorAll('button, a, summary') ?? [])].find(isIt); \
    return places.map(found).find(Boolean) ?? null;";

/// Keys that are no letters, WebDriver 17.4.2.
pub mod key {
    /// To the next element.
    pub const TAB: &str = "\u{e004}";
    /// Presses what has the focus.
    pub const ENTER: &str = "\u{e007}";
    /// Closes a dialog.
    pub const ESCAPE: &str = "\u{e00c}";
}

/// A browser with one tab. Dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    port: Port,
    session: String,
    /// Ends before its folder goes.
    _driver: Server,
    _folder: ServerFolder,
}

// === impl Browser ===

impl Browser {
    /// Starts one of 1280 by 900 pixels.
    ///
    /// # Errors
    /// When it is not installed, or does not start.
    pub fn start() -> Result<Browser> {
        let folder = ServerFolder::create("browser", None)?;
        let port = Port::claim()?;
        let driver = Server::new("chromedriver");
        let command = ServerCommand {
            program: "chromedriver".into(),
            // The watchdog knows it by its folder.
            arguments: vec![
                format!("--port={}", port.number()).into(),
                format!("--log-path={}", folder.path().join("driver.log").display()).into(),
            ],
            environment: vec![("HOME".to_owned(), folder.path().as_os_str().to_owned())],
        };
        let is_ready = |_| exchange(port.number(), "HTTP/1.1", ("GET", "/status"), "").is_ok();
        driver.start(&folder, command, START_DEADLINE, is_ready)?;
        let mut browser = Browser {
            port,
            session: String::new(),
            _driver: driver,
            _folder: folder,
        };
        let answer = browser.ask(("POST", "/session"), &browser.capabilities()?)?;
        let id = answer["sessionId"].as_str().unwrap_or_default();
        browser.session = format!("/session/{id}");
        Ok(browser)
    }

    fn capabilities(&self) -> Result<Value> {
        let profile: OsString = self._folder.path().join("profile").into();
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--window-size=1280,900".to_owned(),
            "--hide-scrollbars".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-gpu".to_owned(),
            // It asks nobody anything of its own.
            "--disable-background-networking".to_owned(),
            format!("--user-data-dir={}", profile.to_string_lossy()),
        ];
        if running_as_root()? {
            arguments.push("--no-sandbox".to_owned());
        }
        let options = json!({ "args": arguments });
        let logs = json!({ "browser": "ALL", "performance": "ALL" });
        Ok(json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": logs,
        } } }))
    }

    fn ask(&self, (method, path): (&str, &str), body: &Value) -> Result<Value> {
        let body = if method == "GET" {
            String::new()
        } else {
            body.to_string()
        };
        let path = format!("{}{path}", self.session);
        let (status, answer) = exchange(self.port.number(), "HTTP/1.1", (method, &path), &body)?;
        let answer: Value =
            serde_json::from_str(&answer).map_err(ServerError::doing("reading the browser's answer"))?;
        if status == 200 {
            return Ok(answer["value"].clone());
        }
        let message = answer["value"]["message"].as_str().unwrap_or_default();
        let first_line = message.lines().next().unwrap_or_default();
        Err(ServerError::new(format!(
            "the browser refused {method} {path}: {first_line}"
        )))
    }

    fn tools(&self, command: &str, parameters: &Value) -> Result<Value> {
        let body = json!({ "cmd": command, "params": parameters });
        self.ask(("POST", "/goog/cdp/execute"), &body)
    }

    /// Goes to an address.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn open(&self, url: &str) -> Result<()> {
        self.ask(("POST", "/url"), &json!({ "url": url })).map(drop)
    }

    /// A window of another size; below 500 pixels that of a phone.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn resize(&self, width: u32, height: u32) -> Result<()> {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        self.tools("Emulation.setDeviceMetricsOverride", &size).map(drop)
    }

    /// What the person prefers: `light` or `dark`.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn prefer(&self, scheme: &str) -> Result<()> {
        let feature = json!({ "name": "prefers-color-scheme", "value": scheme });
        let features = json!({ "features": [feature] });
        self.tools("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// Runs the body of a function in the page.
    ///
    /// # Errors
    /// What it throws.
    pub fn run(&self, body: &str, arguments: &[Value]) -> Result<Value> {
        let script = json!({ "script": body, "args": arguments });
        self.ask(("POST", "/execute/sync"), &script)
    }

    /// Waits until an expression is true.
    ///
    /// # Errors
    /// When it does not become so; the error says what the page shows instead.
    pub fn wait_until(&self, expression: &str) -> Result<()> {
        let body = format!("return Boolean({expression});");
        let outcome = poll_until(expression, DEADLINE, || {
            Ok((self.run(&body, &[])? == Value::Bool(true)).then_some(()))
        });
        outcome.map_err(|error| {
            let shown = self.text("#console").unwrap_or_default();
            let said = self.console_errors().unwrap_or_default();
            ServerError::new(format!(
                "{error}; the console said {said:?}, and the page shows: {shown}"
            ))
        })
    }

    /// Waits until an element shows a text somewhere in it.
    ///
    /// # Errors
    /// As [`Browser::wait_until`].
    pub fn wait_for_text(&self, selector: &str, text: &str) -> Result<()> {
        let (selector, text) = (json!(selector), json!(text));
        self.wait_until(&format!(
            "[...document.querySelectorAll({selector})].some((element) => element.innerText.includes({text}))"
        ))
    }

    /// What the first element shows that a selector finds.
    ///
    /// # Errors
    /// When there is none.
    pub fn text(&self, selector: &str) -> Result<String> {
        let text = self.run(
            "return document.querySelector(arguments[0]).innerText;",
            &[json!(selector)],
        )?;
        Ok(text.as_str().unwrap_or_default().to_owned())
    }

    /// Clicks into the middle of the first element that a selector finds.
    ///
    /// # Errors
    /// When there is none, or something is in front of it.
    pub fn click(&self, selector: &str) -> Result<()> {
        let using = json!({ "using": "css selector", "value": selector });
        let found = self.ask(("POST", "/element"), &using)?;
        self.click_element(&found)
    }

    /// Presses the button or link with these words, in a dialog where one is open; waits until it is there.
    ///
    /// # Errors
    /// When there is none, or something is in front of it.
    pub fn press(&self, words: &str) -> Result<()> {
        let found = poll_until(&format!("`{words}`, which can be pressed"), DEADLINE, || {
            let found = self.run(FIND_PRESSABLE, &[json!(words)])?;
            Ok((!found.is_null()).then_some(found))
        })?;
        self.click_element(&found)
    }

    fn click_element(&self, element: &Value) -> Result<()> {
        let id = element[ELEMENT].as_str().unwrap_or_default();
        self.ask(("POST", &format!("/element/{id}/click")), &json!({}))
            .map(drop)
    }

    /// Types into a field, behind what it holds.
    ///
    /// # Errors
    /// When there is none that can be typed into.
    pub fn write(&self, selector: &str, text: &str) -> Result<()> {
        let using = json!({ "using": "css selector", "value": selector });
        let found = self.ask(("POST", "/element"), &using)?;
        let id = found[ELEMENT].as_str().unwrap_or_default();
        let typed = json!({ "text": text });
        self.ask(("POST", &format!("/element/{id}/value")), &typed).map(drop)
    }

    /// Presses and releases a key, wherever the focus is.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn key(&self, key: &str) -> Result<()> {
        let strokes = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.ask(("POST", "/actions"), &json!({ "actions": [keyboard] }))
            .map(drop)
    }

    /// What somebody would stumble over who cannot see well or has no mouse; empty where there is nothing.
    ///
    /// # Errors
    /// When the page cannot be looked at.
    pub fn obstacles(&self) -> Result<Vec<String>> {
        Ok(texts(&self.run(AUDIT, &[])?))
    }

    /// By how many pixels the page is wider than the window.
    ///
    /// # Errors
    /// When the page cannot be looked at.
    pub fn overflow(&self) -> Result<i64> {
        let body = "const page = document.documentElement; return page.scrollWidth - page.clientWidth;";
        Ok(self.run(body, &[])?.as_i64().unwrap_or(i64::MAX))
    }

    /// A picture of the whole page in the folder that `TAILRACE_SCREENSHOTS` names, where it names one.
    ///
    /// # Errors
    /// When it cannot be taken or written.
    pub fn screenshot(&self, name: &str) -> Result<()> {
        let Some(folder) = std::env::var_os(SCREENSHOTS).filter(|folder| !folder.is_empty()) else {
            return Ok(());
        };
        let body = "return [innerWidth, Math.max(innerHeight, document.documentElement.scrollHeight)];";
        let size = self.run(body, &[])?;
        let height = size[1].as_u64().unwrap_or_default().min(u64::from(TALLEST));
        let clip = json!({ "x": 0, "y": 0, "width": size[0], "height": height, "scale": 1 });
        let how = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        let taken = self.tools("Page.captureScreenshot", &how)?;
        let file = PathBuf::from(folder).join(format!("{name}.png"));
        let picture = STANDARD.decode(taken["data"].as_str().unwrap_or_default());
        let picture = picture.map_err(ServerError::doing("reading a picture"))?;
        std::fs::write(&file, picture).map_err(ServerError::doing(format!("writing {}", file.display())))
    }

    /// Errors that the page's console showed since it was last asked, those of its policy among them. An answer that is no success is
    /// one for the browser, and none for us.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn console_errors(&self) -> Result<Vec<String>> {
        let entries = self.log("browser")?;
        let wrong = entries.iter().filter(|entry| entry["level"] == "SEVERE");
        let said = texts(&wrong.map(|entry| entry["message"].clone()).collect());
        let is_answer = |message: &String| message.contains("Failed to load resource");
        Ok(said.into_iter().filter(|message| !is_answer(message)).collect())
    }

    /// Addresses that were asked for since it was last asked, whatever came of it.
    ///
    /// # Errors
    /// When the browser refuses.
    pub fn requested(&self) -> Result<Vec<String>> {
        let entries = self.log("performance")?;
        let messages = entries.iter().filter_map(|entry| entry["message"].as_str());
        let events = messages.filter_map(|message| serde_json::from_str::<Value>(message).ok());
        let requests = events.filter(|event| event["message"]["method"] == "Network.requestWillBeSent");
        let urls = requests.map(|event| event["message"]["params"]["request"]["url"].clone());
        Ok(texts(&urls.collect()))
    }

    fn log(&self, kind: &str) -> Result<Vec<Value>> {
        let entries = self.ask(("POST", "/se/log"), &json!({ "type": kind }))?;
        Ok(entries.as_array().cloned().unwrap_or_default())
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // The browser ends with its session; where it does not, its driver is killed with it, and the watchdog removes the folder.
        drop(self.ask(("DELETE", ""), &json!({})));
    }
}

/// The texts of a list.
fn texts(list: &Value) -> Vec<String> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}
