//! What people ask of connectors: to pause, to go on, to end, to begin anew; and of the set of them: one more, one less, another one.

use std::sync::Arc;
use std::sync::PoisonError;

use tailrace_core::task::spawn_named;
use tailrace_core::telemetry::now_us;
use tailrace_core::{Error, Result};
use tailrace_state::{CreatedConnector, Wanted, Wish};
use tokio::sync::OwnedMutexGuard;

use super::{CONNECTOR_UNKNOWN, Member, Origin, Supervisor};
use crate::config::expand::Surroundings;
use crate::config::flat::empty_mapping;
use crate::config::plan::AnyPlan;
use crate::config::submitted::{Submission, document};
use crate::config::tree::{Located, Mark, Problem, Problems};

/// The file owns the connector.
pub(crate) const OWNED_BY_FILE: &str = "connector_owned_by_file";
/// There is one of this name.
pub(crate) const CONNECTOR_EXISTS: &str = "connector_exists";
/// The configuration is not right.
pub(crate) const CONFIG_INVALID: &str = "config_invalid";

/// Whether a connector was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kept {
    Created,
    Changed,
}

// === impl Supervisor ===

impl Supervisor {
    /// A connector is to run, to pause or to stop from now on, and after the next start of the process.
    ///
    /// # Errors
    /// [`super::CONNECTOR_UNKNOWN`]; transient where the state cannot be written.
    pub(crate) async fn want(self: &Arc<Self>, name: &str, wanted: Option<Wanted>, by: &str) -> Result<()> {
        let (name, supervisor) = (name.to_owned(), Arc::clone(self));
        let wish = wanted.map(|wanted| Wish {
            connector: name.clone(),
            wanted,
            by: by.to_owned(),
            at_us: now_us(),
        });
        let by = by.to_owned();
        self.here(async move {
            let (member, turn) = supervisor.turn(&name).await?;
            let state = &supervisor.assembly.state;
            match &wish {
                Some(wish) => state.keep_wish(wish).await?,
                None => state.forget_wish(member.name()).await?,
            }
            let (what, detail) = match wanted {
                Some(Wanted::Paused) => ("paused", "nothing is read any more; connections stay open"),
                Some(Wanted::Stopped) => ("stopped", "what was read is made durable, then everything is closed"),
                None => ("resumed", "it is to run"),
            };
            supervisor.journal.write(Some(member.name()), &by, what, detail);
            member.follow(wish, &supervisor.lives);
            if wanted == Some(Wanted::Stopped) {
                supervisor.see_to_the_end(member, turn);
            }
            Ok(())
        })
        .await
    }

    /// Waits for a life that was asked to end, and cuts it off at the deadline. Nobody else has a turn before.
    fn see_to_the_end(&self, member: Arc<Member>, turn: OwnedMutexGuard<()>) {
        let deadline = self.deadline();
        // Whoever waits for the turn sees the end of this.
        drop(spawn_named("end of a connector", async move {
            member.ended(deadline).await;
            drop(turn);
        }));
    }

    /// Ends a connector and begins it anew from its last checkpoint, as it is wanted. One that is wanted stopped stays so.
    ///
    /// # Errors
    /// [`super::CONNECTOR_UNKNOWN`].
    pub(crate) async fn restart(self: &Arc<Self>, name: &str, by: &str) -> Result<()> {
        if self.member(name)?.plan.is_none() {
            return self.recall_anew(name, by).await;
        }
        let (name, supervisor) = (name.to_owned(), Arc::clone(self));
        let by = by.to_owned();
        self.here(async move {
            let (member, _turn) = supervisor.turn(&name).await?;
            if member.is_to_be_stopped() {
                return Ok(());
            }
            let detail = "it begins anew from its last checkpoint";
            supervisor.journal.write(Some(member.name()), &by, "restarted", detail);
            member.end(supervisor.deadline()).await;
            member.begin(&supervisor.lives);
            Ok(())
        })
        .await
    }

    /// Tries once more to understand a connector that could not be when the process began: a file may be there again.
    async fn recall_anew(self: &Arc<Self>, name: &str, by: &str) -> Result<()> {
        let (name, supervisor, by) = (name.to_owned(), Arc::clone(self), by.to_owned());
        self.here(async move {
            let _turn = supervisor.turn_of_all().await?;
            let (there, _own_turn) = supervisor.turn(&name).await?;
            // Somebody may have put it right meanwhile.
            let (None, Origin::Http(submission)) = (&there.plan, &there.origin) else {
                return Ok(());
            };
            let created = CreatedConnector {
                name: name.clone(),
                config: submission.to_json(),
            };
            let member = supervisor.recall(&created);
            let detail = "its configuration is read again; where it is to run, it begins anew from its last checkpoint";
            supervisor.journal.write(Some(&name), &by, "restarted", detail);
            there.end(supervisor.deadline()).await;
            supervisor.admit(member, there.wish());
            Ok(())
        })
        .await
    }

    /// Creates a connector, or puts another configuration in place of the one it has. It goes on from where it was. What is `sent` is
    /// asked for when nobody else changes the connector, with the one that is there.
    ///
    /// # Errors
    /// [`OWNED_BY_FILE`]; [`CONNECTOR_EXISTS`] where it `must_be_new`; [`CONFIG_INVALID`]; those of `sent`; transient where the state
    /// cannot be written. Everything is as it was then.
    pub(crate) async fn keep(
        self: &Arc<Self>,
        name: &str,
        sent: impl FnOnce(Option<&Member>) -> Result<Located> + Send + 'static,
        (wanted, must_be_new): (Option<Wanted>, bool),
        by: &str,
    ) -> Result<(Kept, Arc<Member>)> {
        let supervisor = Arc::clone(self);
        let (name, by) = (name.to_owned(), by.to_owned());
        self.here(async move {
            let _turn = supervisor.turn_of_all().await?;
            let there = match supervisor.turn(&name).await {
                Ok(there) => Some(there),
                Err(error) if error.code() == CONNECTOR_UNKNOWN => None,
                Err(error) => return Err(error),
            };
            let there = there.as_ref().map(|(there, _)| there);
            match there {
                Some(there) if matches!(there.origin, Origin::File) => return Err(owned_by_file(there.name())),
                Some(there) if must_be_new => return Err(exists(there.name())),
                Some(_) | None => {}
            }
            let sent = sent(there.map(Arc::as_ref))?;
            let submission = Submission { name, sent };
            let planned = supervisor.plan_anew(&submission)?;
            let replaced = supervisor.replace(planned, &submission, there, (wanted, &by)).await;
            if replaced.is_err() {
                supervisor.give_back(&submission.name, there);
            }
            replaced
        })
        .await
    }

    async fn replace(
        &self,
        planned: AnyPlan,
        submission: &Submission,
        there: Option<&Arc<Member>>,
        (wanted, by): (Option<Wanted>, &str),
    ) -> Result<(Kept, Arc<Member>)> {
        let name = submission.name.clone();
        let member = self.assembly.member(planned, Origin::Http(submission.clone()))?;
        let created = CreatedConnector {
            name: name.clone(),
            config: submission.to_json(),
        };
        // First what is wanted of it: one that is to be stopped does not run because of a crash between.
        let wish = match (there, wanted) {
            (Some(there), _) => there.wish(),
            (None, None) => {
                self.assembly.state.forget_wish(&name).await?;
                None
            }
            (None, Some(wanted)) => {
                let wish = Wish {
                    connector: name.clone(),
                    wanted,
                    by: by.to_owned(),
                    at_us: now_us(),
                };
                self.assembly.state.keep_wish(&wish).await?;
                Some(wish)
            }
        };
        self.assembly.state.keep_created(&created).await?;
        let (what, detail, kept) = match there {
            None => ("created", "a connector was created", Kept::Created),
            Some(_) => (
                "changed",
                "its configuration was changed; it begins anew with it",
                Kept::Changed,
            ),
        };
        self.journal.write(Some(&name), by, what, detail);
        if let Some(there) = there {
            there.end(self.deadline()).await;
        }
        Ok((kept, self.admit(member, wish)))
    }

    /// Ends a connector that was created over HTTP and forgets its configuration. How far it was stays known: one of the same name goes
    /// on from there.
    ///
    /// # Errors
    /// [`super::CONNECTOR_UNKNOWN`]; [`OWNED_BY_FILE`]; transient where the state cannot be written.
    pub(crate) async fn remove(self: &Arc<Self>, name: &str, by: &str) -> Result<()> {
        let supervisor = Arc::clone(self);
        let (name, by) = (name.to_owned(), by.to_owned());
        self.here(async move {
            let _turn = supervisor.turn_of_all().await?;
            let (member, _own_turn) = supervisor.turn(&name).await?;
            if matches!(member.origin, Origin::File) {
                return Err(owned_by_file(&name));
            }
            supervisor.assembly.state.remove_created(&name).await?;
            let detail = "the connector was deleted; its checkpoint stays, and one of the same name goes on from there";
            supervisor.journal.write_now(Some(&name), &by, "deleted", detail).await;
            member.end(supervisor.deadline()).await;
            let mut members = supervisor.members.write().unwrap_or_else(PoisonError::into_inner);
            members.remove(&name);
            drop(members);
            supervisor
                .planner
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .release(&name);
            Ok(())
        })
        .await
    }

    /// Everything that is wrong with a submitted connector; nothing is changed.
    pub(crate) fn validate(&self, submission: &Submission) -> Vec<Problem> {
        let tried = self.understand(submission).and_then(|tree| {
            let mut tried = self.planner.lock().unwrap_or_else(PoisonError::into_inner).clone();
            tried.plan_anew(&submission.name, tree).map(|_| ())
        });
        tried.err().map(Problems::into_list).unwrap_or_default()
    }

    /// What somebody submitted, as the file would have it.
    fn understand(&self, submission: &Submission) -> std::result::Result<Located, Problems> {
        let mut problems = Problems::new("");
        let tree = submission.understand(&self.rules, &Surroundings::of_process(), &mut problems);
        match (tree, problems.into_result()) {
            (Some(tree), Ok(())) => Ok(tree),
            (_, refused) => Err(refused.err().unwrap_or_else(|| Problems::new(""))),
        }
    }

    /// Takes what only one connector may have.
    fn plan_anew(&self, submission: &Submission) -> Result<AnyPlan> {
        let planned = self.understand(submission).and_then(|tree| {
            let mut planner = self.planner.lock().unwrap_or_else(PoisonError::into_inner);
            planner.plan_anew(&submission.name, tree)
        });
        planned.map_err(|problems| invalid(&submission.name, problems.into_list()))
    }

    /// Gives back what a connector took that did not come to be; the one that is there has its own again.
    fn give_back(&self, name: &str, there: Option<&Arc<Member>>) {
        let mut planner = self.planner.lock().unwrap_or_else(PoisonError::into_inner);
        planner.release(name);
        if let Some(plan) = there.and_then(|there| there.plan.as_ref()) {
            // It was right before, and nobody came between: the set of connectors is held.
            drop(planner.plan_anew(name, plan.written().clone()));
        }
    }

    /// A connector that was created in an earlier run; halted where it cannot be understood any more.
    pub(super) fn recall(&self, created: &CreatedConnector) -> Member {
        // It was read before it was kept; what is nothing is refused below.
        let sent = document(created.config.as_bytes()).unwrap_or_else(|_| empty_mapping(Mark { line: 1, column: 1 }));
        let submission = Submission {
            name: created.name.clone(),
            sent,
        };
        let made = self
            .plan_anew(&submission)
            .and_then(|plan| self.assembly.member(plan, Origin::Http(submission.clone())));
        made.unwrap_or_else(|error| self.assembly.halted(&created.name, Origin::Http(submission), error))
    }
}

fn owned_by_file(name: &str) -> Error {
    let message = format!(
        "connector `{name}` stands in the configuration file, which owns it; change the file and restart, or give a connector that is \
         created over HTTP another name"
    );
    Error::definite(OWNED_BY_FILE, message)
}

fn exists(name: &str) -> Error {
    Error::definite(CONNECTOR_EXISTS, format!("Connector {name} already exists"))
}

/// In the words of Kafka Connect, which its tools look for.
fn invalid(name: &str, problems: Vec<Problem>) -> Error {
    let mut message = format!(
        "Connector configuration is invalid and contains the following {} error(s):",
        problems.len()
    );
    for problem in &problems {
        let key = crate::config::submitted::key_of(problem, name);
        message.push('\n');
        if !key.is_empty() {
            message.push_str(&key);
            message.push_str(": ");
        }
        message.push_str(&problem.sentence);
    }
    Error::definite(CONFIG_INVALID, message)
}
