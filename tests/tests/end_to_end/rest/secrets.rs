//! No secret leaves the process: each of a configuration is a random text that is looked for in everything that can be seen.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde_json::{Value, json};
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::Database;
use tailrace_tests::http::Client;
use tailrace_tests::servers::{MySqlVersion, Port, PostgresVersion, poll_until};

use super::tls::{Authority, Tokens, unique};
use super::{DEADLINE, ROWS, Shop};

/// Every path that can be asked for with GET and ends by itself, with `connector` (`/connectors/x`) in the place of names.
pub(crate) fn everything(daemon: &Daemon, connector: &Path) -> Vec<String> {
    let document = daemon.get("/openapi.json").unwrap().json().unwrap();
    let name = connector.file_name().unwrap().to_str().unwrap();
    let mut paths: Vec<String> = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        // It goes on for as long as somebody reads.
        if methods.get("get").is_none() || path.ends_with("/tail") {
            continue;
        }
        let kind = daemon.client().get("/connector-plugins").unwrap().json().unwrap();
        let filled = path
            .replace("{name}", name)
            .replace("{plugin}", kind[0]["class"].as_str().unwrap())
            .replace("{logger}", "root")
            .replace("{id}", "1")
            .replace("{task}", "0");
        assert!(!filled.contains('{'), "{path} has a name that nothing stands for");
        if filled.ends_with("/config") {
            paths.push(format!("{filled}?form=nested"));
        }
        paths.push(filled);
    }
    paths.push("/connectors?expand=info&expand=status".to_owned());
    paths.push("/subjects".to_owned());
    assert!(paths.len() > 20, "{paths:?}");
    paths
}

/// Those in which something is wrong.
const TROUBLED: [&str; 5] = ["nowhere", "missing", "wrong", "unregistered", "sink"];

/// Something that may be nowhere.
struct Canary {
    what: &'static str,
    text: String,
}

// === impl Canary ===

impl Canary {
    /// With letters that are written otherwise in URLs.
    fn new(what: &'static str) -> Canary {
        let text = format!("{}+/{}", unique(), unique());
        Canary { what, text }
    }

    fn in_url(&self) -> String {
        self.text.replace('+', "%2B").replace('/', "%2F")
    }

    /// As it is, as in URLs, and within base64 wherever in it it may stand.
    fn forms(&self) -> Vec<String> {
        let mut forms = vec![self.text.clone(), self.in_url(), self.in_url().to_lowercase()];
        for before in 0..3 {
            let padded = format!("{}{}", "x".repeat(before), self.text);
            let encoded = STANDARD_NO_PAD.encode(padded);
            // What stands at the edges depends on the neighbours.
            forms.push(encoded[4..encoded.len() - 4].to_owned());
        }
        // Half of it is too much already.
        forms.push(self.text[..24].to_owned());
        forms
    }

    fn is_not_in(&self, place: &str, text: &str) {
        for form in self.forms() {
            assert!(!text.contains(&form), "the {} is in {place}: {text}", self.what);
        }
    }
}

/// Secrets of every kind, and a daemon that meets an error with each of them.
struct Nest {
    shop: Shop,
    canaries: Vec<Canary>,
    names: Vec<String>,
    _folder: tempfile::TempDir,
}

impl Nest {
    async fn start() -> Nest {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::make(folder.path(), "ours");
        let (certificate, key) = authority.sign("endpoint", "IP:127.0.0.1", "-days 30");
        let mut canaries = Vec::new();
        let shop = Shop::prepare(PostgresVersion::V17, ROWS, |daemon| {
            let tokens = Tokens::set(daemon);
            let holders = ["rita", "otto", "alice"].map(|name| {
                let role = match name {
                    "rita" => "read",
                    "otto" => "operate",
                    _ => "admin",
                };
                let file = daemon.path().join(format!("{name}.token"));
                format!("{{ name: {name}, role: {role}, file: \"{}\" }}", file.display())
            });
            let settings = format!(
                "tls: {{ certificate_file: \"{}\", key_file: \"{}\" }}, tokens: [{}]",
                certificate.display(),
                key.display(),
                holders.join(", ")
            );
            let client = Client {
                authority: Some(folder.path().join("ours.pem")),
                ..Client::at(daemon.port()).with_token(Some(&tokens.admin))
            };
            daemon.set_admin(&settings, client);
            for (what, text) in [
                ("token of rita", &tokens.read),
                ("token of otto", &tokens.operate),
                ("token of alice", &tokens.admin),
            ] {
                canaries.push(Canary {
                    what,
                    text: text.clone(),
                });
            }
        })
        .await;
        let key = std::fs::read_to_string(&key).unwrap();
        canaries.push(Canary {
            what: "key of the endpoint",
            text: key.lines().nth(1).unwrap().to_owned(),
        });
        let mut nest = Nest {
            shop,
            canaries,
            names: Vec::new(),
            _folder: folder,
        };
        nest.configure().await;
        nest.shop.daemon.start().unwrap();
        nest
    }

    fn canary(&mut self, what: &'static str) -> String {
        let canary = Canary::new(what);
        let text = canary.text.clone();
        self.canaries.push(canary);
        text
    }

    fn canary_in_url(&mut self, what: &'static str) -> String {
        self.canary(what);
        self.canaries.last().unwrap().in_url()
    }

    /// A connector that works, and one for each way in which something may be wrong.
    async fn configure(&mut self) {
        let nobody = Port::claim().unwrap();
        let mysql = Database::shared(MySqlVersion::MySql97).await.unwrap();
        let registry = self.canary("password of a registry");
        let connectors = [self.sources(nobody.number()), self.strangers(nobody.number(), &mysql)].concat();
        let registries = format!(
            "registries:\n  schemas: {{ type: confluent, url: \"http://127.0.0.1:{}\", username: someone, password: \"{registry}\" }}\n",
            nobody.number()
        );
        let folder = self.shop.daemon.path().join("events");
        let streams = format!(
            "streams: {{ events: {{ type: file, path: \"{}\" }} }}\n",
            folder.display()
        );
        let lines: String = connectors
            .iter()
            .map(|(name, config)| format!("  {name}: {config}\n"))
            .collect();
        self.shop
            .daemon
            .configure(&format!("{streams}{registries}connectors:\n{lines}"))
            .unwrap();
        self.names = connectors.into_iter().map(|(name, _)| name).collect();
    }

    /// Readers of the shop's own database: one works and has a webhook that nobody answers at, the others lack a table or a registry.
    fn sources(&mut self, port: u16) -> Vec<(String, Value)> {
        let works = self.canary_in_url("password of a source");
        let path = self.canary_in_url("path of a webhook");
        let token = self.canary("token of a webhook");
        let missing = self.canary_in_url("password of a source without its table");
        let unregistered = self.canary_in_url("password of a source that cannot register");
        let url = |password: &str| {
            let url = self.shop.database.url();
            url.replacen("postgres@", &format!("postgres:{password}@"), 1)
        };
        let mut working = self.shop.nested();
        working["source"]["url"] = json!(url(&works));
        working["schema_changes"] = json!({ "webhook": {
            "url": format!("http://127.0.0.1:{port}/{path}"), "token": token
        } });
        let missing = reads("postgres", &url(&missing), "public.nosuch");
        let mut second = reads("postgres", &url(&unregistered), "public.t");
        second["format"] = json!({ "codec": "avro", "registry": "schemas" });
        second["source"]["slot"] = json!(format!("{}_second", self.shop.database.slot()));
        second["topic"] = json!("second.{table}");
        vec![
            (self.shop.database.name().to_owned(), working),
            ("missing".to_owned(), missing),
            ("unregistered".to_owned(), second),
        ]
    }

    /// Those that are not let in anywhere, or find nobody.
    fn strangers(&mut self, port: u16, mysql: &Database) -> Vec<(String, Value)> {
        let nowhere = self.canary_in_url("password for nobody");
        let wrong = self.canary_in_url("wrong password of a source");
        let sink = self.canary_in_url("wrong password of a sink");
        let unreachable = format!("postgres://someone:{nowhere}@127.0.0.1:{port}/shop");
        let mysql_url = |password: &str| mysql.url().replacen("root@", &format!("root:{password}@"), 1);
        let sink = json!({ "stream": "events", "topics": ["nosuch.*"], "sink": {
            "type": "mysql", "url": mysql_url(&sink) + mysql.name()
        } });
        vec![
            ("nowhere".to_owned(), reads("postgres", &unreachable, "public.*")),
            (
                "wrong".to_owned(),
                reads("mysql", &mysql_url(&wrong), &mysql.patterns("public.*")),
            ),
            ("sink".to_owned(), sink),
        ]
    }

    /// Looks for every canary in a text.
    fn look(&self, place: &str, text: &str) {
        for canary in &self.canaries {
            canary.is_not_in(place, text);
        }
    }

    /// Each of those in which something is wrong says what.
    fn wait_for_trouble(&self) {
        for name in TROUBLED {
            let is_in_trouble = |status: &Value| {
                let state = status["state"].as_str().unwrap_or_default();
                ["halted", "degraded"].contains(&state)
                    && status["reason"].as_str().is_some_and(|reason| reason.len() > 20)
            };
            self.shop.daemon.wait_for(name, "trouble", is_in_trouble).unwrap();
        }
    }

    /// What is sent and is not right is not told either.
    fn send_what_is_not_right(&mut self) {
        let sent = self.canary("password that was sent");
        let in_url = self.canary_in_url("password of a URL that was sent");
        let url = format!("postgres://someone:{in_url}@127.0.0.1:1/shop");
        let class = "tailrace.source.postgres";
        for config in [
            json!({ "connector.class": class, "stream": "events", "source.url": sent, "source.tables": "public.*" }),
            json!({ "connector.class": class, "stream": "nosuch", "source.url": url, "source.tables": "public.*" }),
            json!({ "connector.class": class, "stream": "events", "source.url": { "a": sent }, "source.tables": "public.*" }),
            json!({ "connector.class": class, "stream": "events", "source.url": [sent], "source.tables": "public.*" }),
        ] {
            let body = json!({ "name": "sent", "config": config });
            for (method, path, body) in [
                ("PUT", format!("/connector-plugins/{class}/config/validate"), &config),
                ("POST", "/connectors".to_owned(), &body),
                ("PUT", "/connectors/sent/config".to_owned(), &config),
                ("DELETE", "/connectors/sent".to_owned(), &Value::Null),
            ] {
                self.look(&path, &self.shop.ask(method, &path, body).body);
            }
        }
        let wrong = self.canary("wrong token").replace(['+', '/'], "0");
        let stranger = self.shop.daemon.client().with_token(Some(&wrong));
        let refused = stranger.get("/status").unwrap();
        assert_eq!(refused.status, 401);
        self.look("a refusal", &refused.body);
    }

    fn look_at_every_answer(&self) {
        for name in &self.names {
            for verb in ["stop", "resume"] {
                let path = format!("/connectors/{name}/{verb}");
                self.look(&path, &self.shop.ask("PUT", &path, &Value::Null).body);
            }
            for path in everything(&self.shop.daemon, &Path::new("/connectors").join(name)) {
                let answer = self.shop.daemon.get(&path).unwrap();
                assert_ne!(answer.status, 401, "{path}");
                self.look(&path, &format!("{}\n{}", answer.head, answer.body));
            }
        }
    }
}

fn reads(kind: &str, url: &str, tables: &str) -> Value {
    json!({ "stream": "events", "source": { "type": kind, "url": url, "tables": [tables] } })
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_told_by_anything() {
    let mut nest = Nest::start().await;
    nest.shop.wait_for("streaming");
    nest.wait_for_trouble();
    // The webhook is told of a change and cannot be reached.
    nest.shop
        .execute("alter table t add column more int; insert into t values (4, 'd', 1)")
        .await;
    let logged = poll_until("a webhook that fails", DEADLINE, || {
        Ok(nest.shop.daemon.log().contains("webhook").then_some(()))
    });
    logged.unwrap();
    nest.send_what_is_not_right();
    nest.look_at_every_answer();
    let process = nest.shop.daemon.process_id().unwrap();
    let arguments = std::fs::read(format!("/proc/{process}/cmdline")).unwrap();
    nest.look("the command line", &String::from_utf8_lossy(&arguments));
    for command in ["check", "describe", "validate"] {
        let printed = nest.shop.daemon.command(command, &[]).unwrap();
        nest.look(command, &printed.all());
    }
    nest.shop.daemon.terminate().unwrap();
    nest.look("the log", &nest.shop.daemon.log());
    // At every level.
    nest.shop.daemon.start_with(&["--log-level", "trace"]).unwrap();
    nest.shop.wait_for("streaming");
    nest.wait_for_trouble();
    nest.shop.daemon.terminate().unwrap();
    nest.look("the log", &nest.shop.daemon.newest_log());
}
