//! XA transactions: their rows are in the log where they are prepared, and whether they count is said later, perhaps by
//! somebody else, perhaps after the server was restarted. In between the daemon dies.

use std::time::Duration;

use tailrace_tests::database::{Database, Session};
use tailrace_tests::oracle::Snapshot;
use tailrace_tests::scenario::{Lane, Scenario};
use tailrace_tests::servers::{MySqlOptions, MySqlVersion, eventually};

use super::options;

/// A session that ended is gone from the server within this.
const DEADLINE: Duration = Duration::from_secs(60);

const VERSIONS: [MySqlVersion; 2] = [MySqlVersion::MySql97, MySqlVersion::MariaDb1011];

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decider {
    /// The session that prepared.
    Same,
    /// Another one, after the first has gone.
    Other,
    /// Another one, after the server was restarted.
    AfterRestart,
}

/// How.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Decision {
    Commit,
    Rollback,
}

/// A workload, and beside it a table whose rows come by XA transactions alone.
struct Xa {
    scenario: Scenario,
}

// === impl Xa ===

impl Xa {
    async fn start(version: MySqlVersion) -> Xa {
        let database = Database::own(MySqlOptions::version(version)).await.unwrap();
        let table = "create table transfers (id int primary key, amount int, text varchar(200));
            insert into transfers values (1000, 0, 'there before')";
        database.execute(table).await.unwrap();
        let scenario = Scenario::on(database, options(version, Lane::File)).await.unwrap();
        scenario.commit(20).await.unwrap();
        scenario.start().unwrap();
        Xa { scenario }
    }

    async fn prepare(&self, id: u32) -> Session {
        let mut session = self.scenario.database.session().await.unwrap();
        let statements = format!(
            "xa start 'transfer {id}', 'b'; insert into transfers values ({id}, 1, 'prepared');
            update transfers set amount = 2 where id = {id}; update transfers set amount = {id} where id = 1000;
            xa end 'transfer {id}', 'b'; xa prepare 'transfer {id}', 'b'"
        );
        session.execute(&statements).await.unwrap();
        session
    }

    /// The session that may decide.
    async fn decider(&self, id: u32, prepared: Session, decider: Decider) -> Session {
        if decider == Decider::Same {
            return prepared;
        }
        let mut prepared = prepared;
        let own = prepared.query("select connection_id()").await.unwrap()[0][0]
            .clone()
            .unwrap();
        drop(prepared);
        let database = &self.scenario.database;
        database
            .wait_until(&format!(
                "not exists (select 1 from information_schema.processlist where id = {own})"
            ))
            .await
            .unwrap();
        if decider == Decider::AfterRestart {
            database.server().restart().unwrap();
        }
        eventually("that the transaction can be decided by others", DEADLINE, || async {
            let known = database.query("xa recover").await?;
            let name = format!("transfer {id}b");
            Ok(known.iter().any(|row| row[3].as_deref() == Some(&name)).then_some(()))
        })
        .await
        .unwrap();
        database.session().await.unwrap()
    }

    fn position(&self) -> String {
        let status = self.scenario.daemon.connector(self.scenario.database.name()).unwrap();
        status["position"].as_str().unwrap().to_owned()
    }

    /// The daemon dies between the prepare and the decision.
    async fn case(&self, id: u32, decision: Decision, decider: Decider) {
        let session = self.prepare(id).await;
        self.scenario.commit(3).await.unwrap();
        self.scenario.settle().await.unwrap();
        assert!(self.position().contains(";xa="), "{id}: {}", self.position());
        assert_eq!(self.events(id).await, [""; 0], "it is not decided");
        self.scenario.daemon.kill9().unwrap();
        let mut session = self.decider(id, session, decider).await;
        let word = match decision {
            Decision::Commit => "commit",
            Decision::Rollback => "rollback",
        };
        self.scenario.commit(3).await.unwrap();
        session
            .execute(&format!("xa {word} 'transfer {id}', 'b'"))
            .await
            .unwrap();
        self.scenario.commit(3).await.unwrap();
        self.scenario.start().unwrap();
        self.scenario.settle().await.unwrap();
        self.verify(id, decision).await;
        assert!(!self.position().contains(";xa="), "{id}: {}", self.position());
    }

    async fn verify(&self, id: u32, decision: Decision) {
        let expected = match decision {
            Decision::Commit => vec![
                format!(r#"c {{"id":{id}}} {{"amount":1,"id":{id},"text":"prepared"}}"#),
                format!(r#"u {{"id":{id}}} {{"amount":2,"id":{id},"text":"prepared"}}"#),
            ],
            Decision::Rollback => Vec::new(),
        };
        assert_eq!(self.events(id).await, expected, "{id} {decision:?}");
    }

    async fn events(&self, id: u32) -> Vec<String> {
        let events = self.scenario.events("transfers").await.unwrap();
        let of_key = events.iter().filter(|event| event.key_json()["id"] == id);
        of_key.map(tailrace_tests::events::Event::brief).collect()
    }

    /// The row that they all change went through what was committed, in that order.
    async fn finish(self, committed: &[u32]) {
        let amounts = self.scenario.events("transfers").await.unwrap();
        let amounts = amounts.iter().filter(|event| event.key_json()["id"] == 1000);
        let amounts: Vec<u64> = amounts.map(|event| event.after()["amount"].as_u64().unwrap()).collect();
        let expected = std::iter::once(0).chain(committed.iter().map(|id| u64::from(*id)));
        assert_eq!(amounts, expected.collect::<Vec<_>>());
        self.scenario.finish(Snapshot::Whole).await.unwrap();
    }
}

async fn decided(version: MySqlVersion, decider: Decider) {
    let xa = Xa::start(version).await;
    xa.case(1, Decision::Commit, decider).await;
    xa.case(2, Decision::Rollback, decider).await;
    xa.case(3, Decision::Commit, decider).await;
    xa.finish(&[1, 3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn decided_by_the_session_that_prepared() {
    for version in VERSIONS {
        decided(version, Decider::Same).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decided_by_another_session() {
    for version in VERSIONS {
        decided(version, Decider::Other).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decided_after_the_server_was_restarted() {
    for version in VERSIONS {
        decided(version, Decider::AfterRestart).await;
    }
}

/// Several at a time, decided in another order than they were prepared in, and deaths while their rows are read again.
#[tokio::test(flavor = "multi_thread")]
async fn deaths_while_a_commit_is_carried() {
    for version in VERSIONS {
        let xa = Xa::start(version).await;
        let database = &xa.scenario.database;
        database
            .execute("create table others (id int primary key)")
            .await
            .unwrap();
        let mut sessions = Vec::new();
        for id in 1..=3_u32 {
            let mut session = database.session().await.unwrap();
            let statements = format!(
                "xa start 'other {id}'; insert into others values ({id}), ({id} + 100), ({id} + 200);
                xa end 'other {id}'; xa prepare 'other {id}'"
            );
            session.execute(&statements).await.unwrap();
            sessions.push(session);
        }
        xa.scenario.settle().await.unwrap();
        xa.scenario.daemon.kill9().unwrap();
        for (id, word) in [(2, "commit"), (1, "rollback"), (3, "commit")] {
            let session = &mut sessions[id - 1];
            session.execute(&format!("xa {word} 'other {id}'")).await.unwrap();
        }
        for passage in 1..=4 {
            xa.scenario.dies_at(&format!("in_transaction@{passage}")).await.unwrap();
        }
        xa.scenario.start().unwrap();
        xa.scenario.settle().await.unwrap();
        let mut seen = Vec::new();
        for event in xa.scenario.events("others").await.unwrap() {
            let id = event.key_json()["id"].as_u64().unwrap();
            if !seen.contains(&id) {
                seen.push(id);
            }
        }
        assert_eq!(seen, [2, 102, 202, 3, 103, 203], "{version}");
        xa.finish(&[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_in_one_phase_is_a_commit() {
    for version in VERSIONS {
        let xa = Xa::start(version).await;
        let statements = "xa start 'x'; insert into transfers values (7, 1, 'prepared'); update transfers set amount = 2 where id = 7;
            xa end 'x'; xa commit 'x' one phase;
            xa start 'y'; insert into transfers values (8, 1, 'prepared'); xa end 'y'; xa rollback 'y'";
        xa.scenario.database.execute(statements).await.unwrap();
        xa.scenario.settle().await.unwrap();
        xa.verify(7, Decision::Commit).await;
        xa.verify(8, Decision::Rollback).await;
        xa.finish(&[]).await;
    }
}

/// What is prepared before a snapshot is neither in its rows nor behind it: the snapshot waits for the decision.
#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_waits_for_what_is_prepared() {
    for version in VERSIONS {
        let xa = Xa::start(version).await;
        xa.scenario.daemon.terminate().unwrap();
        let name = xa.scenario.database.name().to_owned();
        let mut session = xa.prepare(1).await;
        assert_eq!(
            xa.scenario.daemon.command("forget", &[&name, "--yes"]).unwrap().code,
            Some(0)
        );
        xa.scenario.daemon.start().unwrap();
        xa.scenario.wait_for("degraded:prepared_transactions").unwrap();
        session.execute("xa commit 'transfer 1', 'b'").await.unwrap();
        xa.scenario.wait_for("streaming").unwrap();
        let last = xa.events(1).await.pop().unwrap();
        assert_eq!(last, r#"r {"id":1} {"amount":2,"id":1,"text":"prepared"}"#, "{version}");
        xa.scenario.commit(10).await.unwrap();
        xa.scenario.finish(Snapshot::Interrupted).await.unwrap();
    }
}
