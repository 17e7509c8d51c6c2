//! A table is changed while it is written to, as gh-ost and pt-online-schema-change do it: a copy with the new columns is
//! made and filled, and takes the table's place.
//!
//! ```text
//!   gh-ost   create _t_gho · alter _t_gho · fill it from t, and with what is written meanwhile ·
//!            rename t to _t_del, _t_gho to t, while a lock keeps writers away · drop _t_del
//!   pt-osc   create _t_new · alter _t_new · triggers on t that write into _t_new too · fill it from t ·
//!            rename t to _t_old, _t_new to t, while writers go on · drop _t_old
//! ```
//!
//! The copy is not captured, and what is copied is no event. From the rename on rows of `t` have the columns of the copy: two of them
//! trade places, so that a connector that still read them as before would publish one column's values as the other's.

use tailrace_tests::database::Database;
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Options, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion};

use super::options;

/// The workload's, without whatever else is in the database.
const TABLES: &str = "[public.accounts, public.bulk, public.order_lines, public.ledger]";

const COLUMNS: &str = "id, version, note, payload";

/// The columns trade places and become longer.
const FORTH: &str =
    "modify column payload longtext after version, modify column note mediumtext, add key by_version (version)";

/// As it was.
const BACK: &str = "modify column payload mediumtext after note, modify column note text, drop key by_version";

/// More than the workload's keys in `accounts`.
const KEYS: u64 = 100;

/// Rows that are copied with one statement.
const CHUNK_ROWS: u64 = 10;

/// Whose way it is done.
#[derive(Clone, Copy, Debug)]
enum Tool {
    GhOst,
    PtOsc,
}

/// Whether the connector dies meanwhile.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Connector {
    Lives,
    Dies,
}

// === impl Tool ===

impl Tool {
    /// The copy, with the new columns and nothing in it.
    async fn prepare(self, database: &Database, alter: &str) {
        let schema = database.schema();
        let statements = match self {
            Tool::GhOst => format!(
                "drop /* gh-ost */ table if exists `{schema}`.`_accounts_ghc`, `{schema}`.`_accounts_gho`;
                create /* gh-ost */ table `{schema}`.`_accounts_ghc` (id bigint auto_increment,
                    last_update timestamp not null default current_timestamp on update current_timestamp,
                    hint varchar(64) charset ascii not null, value varchar(4096) charset ascii not null,
                    primary key (id), unique key hint_uidx (hint)) auto_increment = 256;
                create /* gh-ost */ table `{schema}`.`_accounts_gho` like `{schema}`.`accounts`;
                alter /* gh-ost */ table `{schema}`.`_accounts_gho` {alter};
                insert /* gh-ost */ into `{schema}`.`_accounts_ghc` (id, hint, value) values (nullif(2, 0), 'state', 'Migrated')
                    on duplicate key update last_update = now(), value = values(value)"
            ),
            Tool::PtOsc => format!(
                "create table `{schema}`.`_accounts_new` like `{schema}`.`accounts`;
                alter table `{schema}`.`_accounts_new` {alter};
                create trigger `pt_osc_accounts_del` after delete on `{schema}`.`accounts` for each row
                    delete ignore from `{schema}`.`_accounts_new` where `{schema}`.`_accounts_new`.`id` <=> old.`id`;
                create trigger `pt_osc_accounts_upd` after update on `{schema}`.`accounts` for each row begin
                    delete ignore from `{schema}`.`_accounts_new`
                        where not (old.`id` <=> new.`id`) and `{schema}`.`_accounts_new`.`id` <=> old.`id`;
                    replace into `{schema}`.`_accounts_new` ({COLUMNS})
                        values (new.id, new.version, new.note, new.payload);
                    end;
                create trigger `pt_osc_accounts_ins` after insert on `{schema}`.`accounts` for each row
                    replace into `{schema}`.`_accounts_new` ({COLUMNS})
                        values (new.id, new.version, new.note, new.payload)"
            ),
        };
        database.execute(&statements).await.unwrap();
    }

    /// The rows that are there, while others come and go.
    async fn fill(self, database: &Database) {
        for from in (0..KEYS).step_by(usize::try_from(CHUNK_ROWS).unwrap()) {
            let until = from + CHUNK_ROWS;
            let rows =
                format!("from accounts force index (primary) where id >= {from} and id < {until} lock in share mode");
            let copy = match self {
                Tool::GhOst => {
                    format!("insert /* gh-ost */ ignore into _accounts_gho ({COLUMNS}) select {COLUMNS} {rows}")
                }
                Tool::PtOsc => {
                    format!("insert low_priority ignore into _accounts_new ({COLUMNS}) select {COLUMNS} {rows}")
                }
            };
            until_it_wins(database, &copy).await;
        }
    }

    /// The copy takes the table's place.
    async fn swap(self, database: &Database) {
        match self {
            Tool::GhOst => cut_over(database).await,
            Tool::PtOsc => {
                let swap = "rename table accounts to _accounts_old, _accounts_new to accounts";
                until_it_wins(database, swap).await;
                let clean_up = "drop table if exists _accounts_old; drop trigger if exists pt_osc_accounts_del;
                    drop trigger if exists pt_osc_accounts_upd; drop trigger if exists pt_osc_accounts_ins";
                database.execute(clean_up).await.unwrap();
            }
        }
    }
}

/// What gh-ost has read of the log and not applied to its copy, and then the swap: it waits behind a lock, and goes first when that
/// is released.
async fn cut_over(database: &Database) {
    let applied = format!(
        "delete from _accounts_gho where id not in (select id from accounts);
        replace into _accounts_gho ({COLUMNS}) select {COLUMNS} from accounts"
    );
    database.execute(&applied).await.unwrap();
    let mut session = database.session().await.unwrap();
    let lock =
        "create /* gh-ost */ table _accounts_del (id int auto_increment primary key) comment 'ghost-cut-over-sentry';
        lock /* gh-ost */ tables accounts write, _accounts_del write";
    session.execute(lock).await.unwrap();
    let rename = database.execute("rename /* gh-ost */ table accounts to _accounts_del, _accounts_gho to accounts");
    let release = async {
        let waits = format!(
            "(select count(*) from information_schema.processlist \
             where db = '{}' and info like 'rename%' and state like 'Waiting for table%') > 0",
            database.name()
        );
        database.wait_until(&waits).await.unwrap();
        let released = "drop /* gh-ost */ table if exists _accounts_del; unlock /* gh-ost */ tables";
        session.execute(released).await.unwrap();
    };
    let (renamed, ()) = tokio::join!(rename, release);
    renamed.unwrap();
    database
        .execute("drop /* gh-ost */ table if exists _accounts_ghc, _accounts_del")
        .await
        .unwrap();
}

/// A statement that a writer may win against.
async fn until_it_wins(database: &Database, statement: &str) {
    let mut session = database.session().await.unwrap();
    while let Err(refusal) = session.execute(statement).await {
        assert!(refusal.is_lost, "{}", refusal.text);
        session = database.session().await.unwrap();
    }
}

async fn scenario(server: MySqlOptions) -> Scenario {
    let options = Options {
        tables: TABLES.to_owned(),
        ..options(server.version, Lane::File)
    };
    let database = Database::own(server).await.unwrap();
    let scenario = Scenario::on(database, options).await.unwrap();
    scenario.commit(60).await.unwrap();
    scenario.start().unwrap();
    scenario
}

async fn changed_under_load(server: MySqlOptions, tool: Tool, connector: Connector) {
    eprintln!("{} {:?}, {tool:?}, {connector:?}", server.version, server.settings);
    let scenario = scenario(server).await;
    for alter in [FORTH, BACK] {
        tool.prepare(&scenario.database, alter).await;
        if connector == Connector::Dies {
            // The log is not read again from before the copy was made.
            scenario.settle().await.unwrap();
            scenario.daemon.kill9().unwrap();
            scenario.start().unwrap();
        }
        let (written, ()) = tokio::join!(scenario.commit(80), tool.fill(&scenario.database));
        written.unwrap();
        match tool {
            Tool::GhOst => tool.swap(&scenario.database).await,
            Tool::PtOsc => {
                let (written, ()) = tokio::join!(scenario.commit(80), tool.swap(&scenario.database));
                written.unwrap();
            }
        }
        scenario.commit(40).await.unwrap();
        if connector == Connector::Dies {
            scenario.daemon.kill9().unwrap();
            scenario.commit(20).await.unwrap();
            scenario.start().unwrap();
        }
    }
    for copy in [
        "_accounts_gho",
        "_accounts_ghc",
        "_accounts_del",
        "_accounts_new",
        "_accounts_old",
    ] {
        assert!(
            scenario.events(copy).await.unwrap().is_empty(),
            "{copy} is not captured"
        );
    }
    scenario.finish(Snapshot::Whole).await.unwrap();
}

fn servers() -> [MySqlOptions; 5] {
    let of = MySqlOptions::version;
    let without_metadata = without_metadata();
    let [oldest, mysql, mariadb] = without_metadata;
    [
        oldest,
        mysql,
        mariadb,
        of(MySqlVersion::MySql97),
        of(MySqlVersion::MariaDb1011),
    ]
}

/// There the connector has to follow each statement.
fn without_metadata() -> [MySqlOptions; 3] {
    let of = MySqlOptions::version;
    let minimal = |version| of(version).setting("binlog_row_metadata=MINIMAL");
    [
        of(MySqlVersion::MySql56),
        minimal(MySqlVersion::MySql97),
        minimal(MySqlVersion::MariaDb1011),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn as_gh_ost_does_it() {
    for server in servers() {
        changed_under_load(server, Tool::GhOst, Connector::Lives).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_pt_online_schema_change_does_it() {
    for server in servers() {
        changed_under_load(server, Tool::PtOsc, Connector::Lives).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_gh_ost_does_it_and_the_connector_dies() {
    for server in without_metadata() {
        changed_under_load(server, Tool::GhOst, Connector::Dies).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn as_pt_online_schema_change_does_it_and_the_connector_dies() {
    for server in without_metadata() {
        changed_under_load(server, Tool::PtOsc, Connector::Dies).await;
    }
}
