//! How far connectors are, and, while they are stopped, how far they are to be.

use std::sync::Arc;

use tailrace_core::position::{Checkpoint, Position, Progress};
use tailrace_core::record_batch::TopicPartition;
use tailrace_core::{Error, Result, pattern};
use tokio::sync::OwnedMutexGuard;

use super::source_offset::{SourceOffset, rest_of_run, rows_not_read, unfinished_snapshot};
use super::{Member, Supervisor};
use crate::config::plan::{AnyPlan, ConnectorPlan, SinkPlan};

/// How far a part of a connector is.
pub(crate) enum Place {
    /// A source: its last checkpoint.
    Source(SourceOffset),
    /// A partition of a sink: the first offset that is not written; `None` where nothing of it is.
    Sink(TopicPartition, Option<i64>),
}

/// Where a part of a connector is to go on.
#[derive(Debug, Clone)]
pub(crate) enum Move {
    /// From here; `None` as if it had never run.
    Source(Option<SourceOffset>),
    /// With this offset; `None` as if nothing of it were written.
    Sink(TopicPartition, Option<i64>),
}

/// What a move of a source changes.
enum Change<'a> {
    /// It is there already.
    Nothing,
    /// Everything that is known of it is forgotten.
    Reset,
    /// It goes on from this position of its log, which it can.
    To(&'a Position),
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
            AnyPlan::Reads(plan) => {
                let saved = self.saved(&plan.name).await?;
                let offset = saved.as_ref().map(SourceOffset::of).transpose()?;
                Ok(offset.map(Place::Source).into_iter().collect())
            }
            AnyPlan::Writes(plan) => written_by(&plan).await,
        }
    }

    /// What would come of moves, in sentences; nothing where each part is there already. Changes nothing.
    ///
    /// # Errors
    /// Definite where the connector is not stopped, the database cannot go on from there, or the moves are of another kind of connector.
    pub(crate) async fn weigh(self: &Arc<Self>, name: &str, moves: &[Move]) -> Result<Vec<String>> {
        let (name, supervisor, moves) = (name.to_owned(), Arc::clone(self), moves.to_vec());
        self.here(async move {
            let (member, _turn) = supervisor.still(&name).await?;
            match plan_of(&member)? {
                AnyPlan::Reads(plan) => supervisor.weigh_source(&plan, one_source(&moves)?).await,
                AnyPlan::Writes(plan) => {
                    check_partitions(&plan, &sinks(&moves)?)?;
                    let there = written_by(&plan).await?;
                    moves
                        .iter()
                        .filter_map(|wanted| effect(wanted, &there).transpose())
                        .collect()
                }
            }
        })
        .await
    }

    async fn weigh_source(&self, plan: &ConnectorPlan, target: Option<&SourceOffset>) -> Result<Vec<String>> {
        let saved = self.saved(&plan.name).await?;
        let target = match self.change(plan, target, saved.as_ref()).await? {
            Change::Nothing => return Ok(Vec::new()),
            Change::Reset => return self.lost_with_everything(plan).await,
            Change::To(target) => target,
        };
        let Some(saved) = saved else {
            return Ok(vec![format!(
                "connector {} has carried nothing yet: rows that are there now are not carried, and what comes before {target} is skipped",
                plan.name
            )]);
        };
        let mut lost = vec![format!(
            "connector {} goes on from {target} instead of {}: changes between the two are skipped or sent again, whichever comes first in \
             the log",
            plan.name,
            SourceOffset::of(&saved)?.position
        )];
        if let Some(snapshot) = unfinished_snapshot(&saved)? {
            let captured = plan.source_connector()?.describe().await?;
            lost.extend(rows_not_read(&snapshot, &captured));
        }
        lost.extend(rest_of_run(&saved)?);
        Ok(lost)
    }

    /// What a move of a source changes. The database is asked, and nothing of the connector is opened.
    async fn change<'a>(
        &self,
        plan: &ConnectorPlan,
        target: Option<&'a SourceOffset>,
        saved: Option<&Progress>,
    ) -> Result<Change<'a>> {
        let Some(target) = target else {
            return Ok(Change::Reset);
        };
        // Where it is, it may be, also within a snapshot or a transaction.
        if saved.map(SourceOffset::of).transpose()?.as_ref() == Some(target) {
            return Ok(Change::Nothing);
        }
        let position = target.in_log()?;
        let remembered = self.assembly.state.source_memory(&plan.name).await?;
        let source = plan.source_connector()?;
        source
            .verify_position(&plan.name, position, remembered.as_ref())
            .await?;
        Ok(Change::To(position))
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
                AnyPlan::Reads(plan) => supervisor.move_source(&member, &plan, one_source(&moves)?).await?,
                AnyPlan::Writes(plan) => {
                    let wanted = sinks(&moves)?;
                    check_partitions(&plan, &wanted)?;
                    let target = plan.sink.connect()?;
                    target.alter_offsets(&plan.name, &wanted).await?;
                    Some(format!(
                        "the offsets of {} partitions were changed in the target",
                        wanted.len()
                    ))
                }
            };
            if let Some(detail) = detail {
                supervisor
                    .journal
                    .write_now(Some(member.name()), &by, "offsets", &detail)
                    .await;
            }
            Ok(())
        })
        .await
    }

    /// What was done, for the journal; `None` where the source is there already.
    async fn move_source(
        &self,
        member: &Member,
        plan: &ConnectorPlan,
        target: Option<&SourceOffset>,
    ) -> Result<Option<String>> {
        let saved = self.saved(&plan.name).await?;
        let target = match self.change(plan, target, saved.as_ref()).await? {
            Change::Nothing => return Ok(None),
            Change::Reset => return self.forget(member).await.map(Some),
            Change::To(target) => target,
        };
        let store = self.assembly.state.connector(&plan.name).await?;
        let sequence = store.load().await?.map_or(0, |saved| saved.sequence) + 1;
        let progress = Progress::at(target.clone());
        store.save(&Checkpoint { sequence, progress }).await?;
        member.telemetry.set_position(target.as_str());
        member.snapshots.forget();
        Ok(Some(format!("it goes on from {target}")))
    }

    /// Forgets what is known of a source. What was done, for the journal.
    async fn forget(&self, member: &Member) -> Result<String> {
        self.assembly.state.forget(member.name()).await?;
        member.snapshots.forget();
        Ok("what was known of its progress was forgotten; its next start is its first".to_owned())
    }

    /// What would be lost if a connector began as if it had never run.
    ///
    /// # Errors
    /// Definite where it is not stopped; what the state or the target answers.
    pub(crate) async fn weigh_reset(self: &Arc<Self>, name: &str) -> Result<Vec<String>> {
        let (name, supervisor) = (name.to_owned(), Arc::clone(self));
        self.here(async move {
            let (member, _turn) = supervisor.still(&name).await?;
            match plan_of(&member)? {
                AnyPlan::Reads(plan) => supervisor.lost_with_everything(&plan).await,
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

    /// What is lost with everything that is known of a source. A checkpoint that cannot be read is lost as it is.
    async fn lost_with_everything(&self, plan: &ConnectorPlan) -> Result<Vec<String>> {
        let saved = self.saved(&plan.name).await?;
        let position = saved.as_ref().map_or_else(
            || "nothing".to_owned(),
            |saved| {
                SourceOffset::of(saved)
                    .map_or_else(|_| saved.position.to_string(), |offset| offset.position.to_string())
            },
        );
        let mut lost = vec![format!(
            "what is known of connector {}: it was carried up to {position}. Its next start is its first: with a snapshot every row is \
             published again, changes between are not published, deletes among them not at all. What it made on the source is still \
             there: a replication slot has to be dropped before",
            plan.name
        )];
        lost.extend(saved.and_then(|saved| rest_of_run(&saved).ok()).unwrap_or_default());
        let letters = self.assembly.state.dead_letter_summary(&plan.name).await?.waiting;
        if letters > 0 {
            lost.push(format!(
                "{letters} dead letters that wait, whose events will be nowhere"
            ));
        }
        Ok(lost)
    }

    /// Lets a stopped connector begin as if it had never run. Durable on return.
    ///
    /// # Errors
    /// As [`Self::weigh_reset`].
    pub(crate) async fn reset(self: &Arc<Self>, name: &str, by: &str) -> Result<()> {
        let (name, supervisor, by) = (name.to_owned(), Arc::clone(self), by.to_owned());
        self.here(async move {
            let (member, _turn) = supervisor.still(&name).await?;
            let detail = match plan_of(&member)? {
                AnyPlan::Reads(_) => supervisor.forget(&member).await?,
                AnyPlan::Writes(plan) => {
                    let there = written_by(&plan).await?;
                    let nowhere = there.into_iter().filter_map(|place| match place {
                        Place::Sink(partition, _) => Some((partition, None)),
                        Place::Source(_) => None,
                    });
                    let target = plan.sink.connect()?;
                    target.alter_offsets(&plan.name, &nowhere.collect::<Vec<_>>()).await?;
                    "its offsets were removed from the target; it begins where its `start` says".to_owned()
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

    /// A connector that is stopped, and stays so for as long as somebody has the guard. One that is still on its way there is waited for.
    async fn still(&self, name: &str) -> Result<(Arc<Member>, OwnedMutexGuard<()>)> {
        let (member, turn) = self.turn(name).await?;
        if member.is_stopped() {
            return Ok((member, turn));
        }
        // In the words of Kafka Connect.
        let sentence = format!(
            "Connectors must be in the STOPPED state before their offsets can be modified. This can be done for the specified connector by \
             issuing a 'PUT' request to the '/connectors/{name}/stop' endpoint"
        );
        Err(Error::definite("connector_not_stopped", sentence))
    }

    /// The last checkpoint of a connector, whoever has it open.
    async fn saved(&self, name: &str) -> Result<Option<Progress>> {
        let known = self.assembly.state.connector_state(name).await?;
        Ok(known
            .and_then(|known| known.checkpoint)
            .map(|checkpoint| checkpoint.progress))
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

fn one_source(moves: &[Move]) -> Result<Option<&SourceOffset>> {
    match moves {
        [Move::Source(target)] => Ok(target.as_ref()),
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
