//! How far connectors are, and, while they are stopped, how far they are to be.

use std::sync::Arc;

use tailrace_core::position::{Checkpoint, Progress};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::{Error, Result, pattern};
use tokio::sync::OwnedMutexGuard;

use super::{Member, Supervisor};
use crate::config::plan::{AnyPlan, SinkPlan};

/// How far a part of a connector is.
pub(crate) enum Place {
    /// A source: its last checkpoint.
    Source(Progress),
    /// A partition of a sink: the first offset that is not written; `None` where nothing of it is.
    Sink(TopicPartition, Option<i64>),
}

/// Where a part of a connector is to go on.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    Source(Progress),
    /// With this offset; `None` as if nothing of it were written.
    Sink(TopicPartition, Option<i64>),
}

// === impl Supervisor ===

impl Supervisor {
    /// How far a connector is: a source by its last checkpoint, a sink by what its target says.
    ///
    /// # Errors
    /// What the state or the target answers.
    pub(crate) async fn places(&self, name: &str) -> Result<Vec<Place>> {
        // On the runtime of whoever asks: to look is not the work of the one that carries.
        let member = self.member(name)?;
        match plan_of(&member)? {
            AnyPlan::Reads(_) => {
                let saved = self.checkpoint(member.name()).await?;
                Ok(saved.map(|saved| Place::Source(saved.progress)).into_iter().collect())
            }
            AnyPlan::Writes(plan) => written_by(&plan).await,
        }
    }

    /// What would come of moves, in sentences; nothing where each part is there already.
    ///
    /// # Errors
    /// Definite where the database cannot go on from there, or the moves are of another kind of connector.
    pub(crate) async fn weigh(self: &Arc<Self>, name: &str, moves: &[Move]) -> Result<Vec<String>> {
        let (member, supervisor, moves) = (self.member(name)?, Arc::clone(self), moves.to_vec());
        self.here(async move {
            match plan_of(&member)? {
                AnyPlan::Reads(plan) => {
                    let target = one_source(&moves)?;
                    let saved = supervisor.checkpoint(&plan.name).await?.map(|saved| saved.progress);
                    // Where it is, it may be, also within its snapshot.
                    if saved.as_ref() == Some(target) {
                        return Ok(Vec::new());
                    }
                    let store = supervisor.assembly.state.connector(&plan.name).await?;
                    let source = plan.source_connector()?;
                    source.verify_position(&plan.name, &target.position, &*store).await?;
                    Ok(match saved {
                        Some(saved) => vec![format!(
                            "connector {} goes on from {} instead of {}: changes between the two are skipped or sent again, whichever \
                             comes first in the log",
                            plan.name, target.position, saved.position
                        )],
                        None => vec![format!(
                            "connector {} has carried nothing yet: rows that are there now are not carried, and what comes before {} is skipped",
                            plan.name, target.position
                        )],
                    })
                }
                AnyPlan::Writes(plan) => {
                    check_partitions(&plan, &sinks(&moves)?)?;
                    let there = written_by(&plan).await?;
                    moves.iter().filter_map(|wanted| effect(wanted, &there).transpose()).collect()
                }
            }
        })
        .await
    }

    /// Lets a stopped connector go on from elsewhere. Durable on return.
    ///
    /// # Errors
    /// As [`Self::weigh`].
    pub(crate) async fn move_to(self: &Arc<Self>, name: &str, moves: Vec<Move>, by: &str) -> Result<()> {
        let (name, supervisor, by) = (name.to_owned(), Arc::clone(self), by.to_owned());
        self.here(async move {
            let (member, _turn) = supervisor.still(&name).await?;
            let detail = match plan_of(&member)? {
                AnyPlan::Reads(plan) => {
                    let target = one_source(&moves)?;
                    let store = supervisor.assembly.state.connector(&plan.name).await?;
                    let saved = store.load().await?;
                    if saved.as_ref().is_some_and(|saved| saved.progress == *target) {
                        return Ok(());
                    }
                    let source = plan.source_connector()?;
                    source.verify_position(&plan.name, &target.position, &*store).await?;
                    let sequence = saved.map_or(0, |saved| saved.sequence) + 1;
                    let progress = target.clone();
                    store.save(&Checkpoint { sequence, progress }).await?;
                    format!("it goes on from {}", target.position)
                }
                AnyPlan::Writes(plan) => {
                    let wanted = sinks(&moves)?;
                    check_partitions(&plan, &wanted)?;
                    let target = plan.sink.connect()?;
                    target.alter_offsets(&plan.name, &wanted).await?;
                    format!("the offsets of {} partitions were changed in the target", wanted.len())
                }
            };
            supervisor
                .journal
                .write_now(Some(member.name()), &by, "offsets", &detail)
                .await;
            Ok(())
        })
        .await
    }

    /// What would be lost if a connector began as if it had never run.
    ///
    /// # Errors
    /// What the state or the target answers.
    pub(crate) async fn weigh_reset(self: &Arc<Self>, name: &str) -> Result<Vec<String>> {
        let (member, supervisor) = (self.member(name)?, Arc::clone(self));
        self.here(async move {
            match plan_of(&member)? {
                AnyPlan::Reads(plan) => {
                    let saved = supervisor.checkpoint(&plan.name).await?;
                    let position = saved.map_or_else(|| "nothing".to_owned(), |saved| saved.progress.position.to_string());
                    let letters = supervisor.assembly.state.dead_letter_summary(&plan.name).await?.waiting;
                    let mut lost = vec![format!(
                        "what is known of connector {}: it was carried up to {position}. Its next start is its first: with a snapshot \
                         every row is published again, changes between are not published, deletes among them not at all. What it made \
                         on the source is still there: a replication slot has to be dropped before",
                        plan.name
                    )];
                    if letters > 0 {
                        lost.push(format!("{letters} dead letters that wait, whose events will be nowhere"));
                    }
                    Ok(lost)
                }
                AnyPlan::Writes(plan) => {
                    let partitions = written_by(&plan).await?.len();
                    Ok(vec![format!(
                        "how far sink {} is in {partitions} partitions: it begins where its `start` says, and writes again what it wrote",
                        plan.name
                    )])
                }
            }
        })
        .await
    }

    /// Lets a stopped connector begin as if it had never run. Durable on return.
    ///
    /// # Errors
    /// What the state or the target answers.
    pub(crate) async fn reset(self: &Arc<Self>, name: &str, by: &str) -> Result<()> {
        let (name, supervisor, by) = (name.to_owned(), Arc::clone(self), by.to_owned());
        self.here(async move {
            let (member, _turn) = supervisor.still(&name).await?;
            match plan_of(&member)? {
                AnyPlan::Reads(plan) => drop(supervisor.assembly.state.forget(&plan.name).await?),
                AnyPlan::Writes(plan) => {
                    let there = written_by(&plan).await?;
                    let nowhere = there.into_iter().filter_map(|place| match place {
                        Place::Sink(partition, _) => Some((partition, None)),
                        Place::Source(_) => None,
                    });
                    let target = plan.sink.connect()?;
                    target.alter_offsets(&plan.name, &nowhere.collect::<Vec<_>>()).await?;
                }
            }
            let detail = "what was known of its progress was forgotten; its next start is its first";
            supervisor
                .journal
                .write_now(Some(member.name()), &by, "offsets", detail)
                .await;
            Ok(())
        })
        .await
    }

    /// A connector that is stopped, and stays so for as long as somebody has the guard.
    async fn still(&self, name: &str) -> Result<(Arc<Member>, OwnedMutexGuard<()>)> {
        let (member, turn) = self.turn(name).await?;
        match member.wanted() == "stopped" && !member.is_alive() {
            true => Ok((member, turn)),
            false => Err(Error::definite(
                "connector_not_stopped",
                "the connector was started meanwhile; stop it first",
            )),
        }
    }

    async fn checkpoint(&self, name: &str) -> Result<Option<Checkpoint>> {
        let known = self.assembly.state.connector_state(name).await?;
        Ok(known.and_then(|known| known.checkpoint))
    }
}

fn plan_of(member: &Member) -> Result<AnyPlan> {
    let sentence = || {
        format!(
            "connector `{}` cannot be understood; its configuration comes first",
            member.name()
        )
    };
    member
        .plan
        .clone()
        .ok_or_else(|| Error::definite("config_invalid", sentence()))
}

fn one_source(moves: &[Move]) -> Result<&Progress> {
    match moves {
        [Move::Source(progress)] => Ok(progress),
        _ => Err(Error::definite(
            "offsets_invalid",
            "a source has one partition, `{\"connector\": …}`, and its offset a `position`",
        )),
    }
}

fn sinks(moves: &[Move]) -> Result<Vec<(TopicPartition, Option<i64>)>> {
    let sink = |wanted: &Move| match wanted {
        Move::Sink(partition, next) => Ok((partition.clone(), *next)),
        Move::Source(_) => Err(Error::definite(
            "offsets_invalid",
            "a partition of a sink is `{\"kafka_topic\": …, \"kafka_partition\": …}`",
        )),
    };
    moves.iter().map(sink).collect()
}

/// Each partition is one that the sink reads, and is there once.
fn check_partitions(plan: &SinkPlan, wanted: &[(TopicPartition, Option<i64>)]) -> Result<()> {
    let patterns = &plan.subscription.topics;
    for (index, (partition, _)) in wanted.iter().enumerate() {
        let is_read = patterns
            .iter()
            .any(|pattern| pattern::glob_matches(pattern, &partition.topic));
        if !is_read {
            let message = format!(
                "sink {} does not read topic {}; its `topics` are {}",
                plan.name,
                partition.topic,
                patterns.join(", ")
            );
            return Err(Error::definite("offsets_invalid", message));
        }
        if wanted.iter().take(index).any(|(before, _)| before == partition) {
            let message = format!("{partition} is there twice; say once where it is to go on");
            return Err(Error::definite("offsets_invalid", message));
        }
    }
    Ok(())
}

/// What comes of a move of a sink; nothing where it is there already.
fn effect(wanted: &Move, there: &[Place]) -> Result<Option<String>> {
    let Move::Sink(partition, next) = wanted else {
        return sinks(std::slice::from_ref(wanted)).map(|_| None);
    };
    let now = there.iter().find_map(|place| match place {
        Place::Sink(known, next) if known == partition => *next,
        Place::Sink(..) | Place::Source(_) => None,
    });
    Ok(match (now, next) {
        (now, next) if now == *next => None,
        (Some(now), Some(next)) if *next > now => Some(format!(
            "{partition}: the events from offset {now} to {} are never written",
            next - 1
        )),
        (Some(now), Some(next)) => Some(format!(
            "{partition}: the events from offset {next} to {} are written again",
            now - 1
        )),
        (Some(now), None) => Some(format!(
            "{partition}: that {now} is the next offset; it begins where `start` says"
        )),
        (None, Some(next)) => Some(format!("{partition}: what comes before offset {next} is never written")),
        (None, None) => None,
    })
}

/// How far a sink is, as its target says.
async fn written_by(plan: &SinkPlan) -> Result<Vec<Place>> {
    let offsets = plan.sink.connect()?.offsets(&plan.name).await?;
    Ok(offsets
        .into_iter()
        .map(|(partition, next)| Place::Sink(partition, next))
        .collect())
}
