//! The console, in a real browser before a running daemon: what it shows, what it does, and whether everybody can use it.
//!
//! | module | what it asks |
//! |---|---|
//! | `states` | does it show what is so, also when the daemon is gone, and what becomes of it? |
//! | `actions` | does each button do what it says, show its request, and ask before something is lost? |
//! | `people` | may those who have no token, no right, no mouse, no large screen, or do not see well? |
//! | `safety` | is everything from elsewhere text, and is nobody else asked? |

mod actions;
mod people;
mod safety;
mod states;

use std::os::unix::fs::PermissionsExt;

use tailrace_tests::browser::Browser;
use tailrace_tests::daemon::Daemon;
use tailrace_tests::database::{Database, Version};
use tailrace_tests::servers::{MySqlVersion, PostgresVersion};

const POSTGRES: Version = Version::Postgres(PostgresVersion::V17);
const MYSQL: Version = Version::MySql(MySqlVersion::MySql97);

const ORDERS: &str = "create table orders (id int primary key, customer varchar(200), total int)";

/// A database that a daemon captures into files, and a browser that looks at the daemon.
struct Site {
    database: Database,
    daemon: Daemon,
    browser: Browser,
}

impl Site {
    /// A table of orders that is being captured.
    async fn streaming() -> Site {
        let site = Site::with(POSTGRES, ORDERS).await;
        site.configure("");
        site.start();
        site
    }

    /// The tables are there, and nothing is configured.
    async fn with(version: Version, tables: &str) -> Site {
        let database = Database::shared(version).await.unwrap();
        database.execute(tables).await.unwrap();
        Site {
            database,
            daemon: Daemon::new("").unwrap(),
            browser: Browser::start().unwrap(),
        }
    }

    fn name(&self) -> &str {
        self.database.name()
    }

    /// `further` are lines of the connector.
    fn configure(&self, further: &str) {
        self.daemon.configure(&self.sections(further)).unwrap();
    }

    fn sections(&self, further: &str) -> String {
        let source = self.database.source(None);
        let source: String = source.lines().map(|line| format!("      {line}\n")).collect();
        format!(
            "streams:\n  events: {{ type: file, path: \"{}\" }}\nconnectors:\n  {}:\n    stream: events\n{further}    source:\n{source}      \
             tables: {}\n",
            self.daemon.path().join("events").display(),
            self.name(),
            self.database.patterns("[public.*]"),
        )
    }

    /// The same, and only those are answered who have a token; the tokens by their roles.
    fn configure_with_tokens(&self) -> [(&'static str, String); 3] {
        let tokens =
            ["read", "operate", "admin"].map(|role| (role, format!("{role}-0123456789-abcdefghijklmnopqrstuvwxyz")));
        let holders = tokens.clone().map(|(role, token)| {
            let file = self.daemon.path().join(format!("token-{role}"));
            std::fs::write(&file, token).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            format!("{{ name: {role}er, role: {role}, file: \"{}\" }}", file.display())
        });
        self.configure("");
        let plain = std::fs::read_to_string(self.daemon.config_file()).unwrap();
        let listen = format!("listen: 127.0.0.1:{}", self.daemon.port());
        let guarded = plain.replacen(&listen, &format!("{listen}, tokens: [{}]", holders.join(", ")), 1);
        std::fs::write(self.daemon.config_file(), guarded).unwrap();
        tokens
    }

    fn start(&self) {
        self.daemon.start().unwrap();
        self.daemon.wait_for_state(self.name(), "streaming").unwrap();
    }

    async fn execute(&self, statements: &str) {
        self.database.execute(statements).await.unwrap();
    }

    /// Opens a view: `connectors/shop1/tail`.
    fn open(&self, view: &str) {
        self.browser.open(&format!("{}/#/{view}", self.daemon.url())).unwrap();
        let shown = format!("document.querySelector('main[data-view=\"{view}\"] h1')");
        self.browser.wait_until(&shown).unwrap();
    }

    /// Opens a tab of the connector; the first one is called nothing.
    fn open_tab(&self, tab: &str) {
        let view = format!("connectors/{}/{tab}", self.name());
        self.open(view.trim_end_matches('/'));
        self.wait_for_text("h1", self.name());
    }

    fn wait_for_text(&self, selector: &str, text: &str) {
        let shown = self.browser.wait_for_text(selector, text);
        shown
            .map_err(|error| self.daemon.with_status(self.name(), &error))
            .unwrap();
    }

    fn press(&self, words: &str) {
        self.browser.press(words).unwrap();
    }

    /// Nothing went wrong in the page that nobody saw.
    fn assert_quiet(&self) {
        let said = self.browser.console_errors().unwrap();
        assert!(said.is_empty(), "{said:?}");
    }
}
