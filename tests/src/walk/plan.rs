//! What a seed stands for: everything that is decided before anything runs.
//!
//! Numbers come from [`Dice`] (splitmix64) and are drawn in the order of the code below, so that a change here gives every
//! seed another meaning; a seed is worth something together with the commit that it was found with.

use std::fmt;

use crate::database::Version;
use crate::proxy::{Direction, Ending, FrameKind, Then, Who};
use crate::scenario::Lane;
use crate::servers::{MySqlVersion, PostgresVersion};
use crate::workload::Dice;

/// Whose log is walked along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// PostgreSQL's.
    Postgres,
    /// MySQL's and MariaDB's.
    MySql,
}

/// One walk.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What all the rest follows from.
    pub seed: u64,
    /// Where changes go.
    pub lane: Lane,
    /// The server.
    pub version: Version,
    /// Values in binary form.
    pub binary: bool,
    /// Transactions are sent while they run, and spill early.
    pub streaming: bool,
    /// Partitions of new topics.
    pub partitions: u32,
    /// Connections that copy at the same time.
    pub snapshot_connections: u64,
    /// Transactions before the first start.
    pub commits_before: usize,
    /// Rows of the largest statement of the workload.
    pub largest_rows: u64,
    /// Rows of one statement before the first start: the snapshot has something to read.
    pub archive_rows: u64,
    /// The first step comes before the snapshot is over.
    pub early: bool,
    /// What happens, in this order.
    pub steps: Vec<Step>,
}

/// A fault, and what is around it.
#[derive(Clone, Debug)]
pub struct Step {
    /// Transactions before it.
    pub commits: usize,
    /// What happens.
    pub fault: Fault,
    /// The next step waits until this one is healed; else it may meet the recovery.
    pub calm: bool,
}

/// What may happen.
#[derive(Clone, Copy, Debug)]
pub enum Fault {
    /// The daemon dies (`kill`), fails (`error`) or tears a write (`torn`) at a passage of a failpoint of this name.
    At(&'static str, &'static str, u64),
    /// The daemon is killed after so many transactions.
    Kill(usize),
    /// The daemon is asked to stop, and started again.
    Stop,
    /// The daemon stands still for so many milliseconds.
    Freeze(u64),
    /// The network to the database.
    Source(Network),
    /// The network to the broker.
    Stream(Network),
    /// A table comes to those that are captured, and the daemon dies while it takes it in, at a passage of a failpoint.
    Table(&'static str, u64),
    /// A table's changes come with more of the row, or with less, from here on.
    Identity(&'static str),
    /// The database is restarted, or killed and started.
    Database(Restart),
    /// MySQL's log goes over into a new file; with `true` the files that were carried are removed.
    Rotate(bool),
    /// The broker is restarted, or killed and started.
    Broker(Restart),
}

/// What the network may do.
#[derive(Clone, Copy, Debug)]
pub enum Network {
    /// Connections end now.
    Cut(Who, Ending),
    /// A connection ends after so many bytes.
    CutAfter(Who, Direction, u64, Ending),
    /// A connection ends in the middle of a frame.
    CutInside(FrameKind, Ending),
    /// So many frames get lost, and what then.
    Lose(FrameKind, u32, Then),
    /// So many produce responses say this error.
    Answer(u32, i16),
    /// Connections fall silent for ever.
    Strand(Who),
    /// Nothing passes for so many milliseconds.
    Blackhole(u64),
    /// Everything ends and nobody is let in for so many milliseconds.
    Refuse(u64),
    /// Everything is late by so many milliseconds until the end of the next step.
    Delay(u64),
    /// So many bytes pass in a second until the end of the next step.
    Throttle(u64),
}

/// How a server goes.
#[derive(Clone, Copy, Debug)]
pub enum Restart {
    /// It is asked to.
    Clean,
    /// SIGKILL.
    Kill,
}

/// Failpoints of a first start, and the passages that are worth a death.
const EARLY: [(&str, u64); 17] = [
    ("after_config", 1),
    ("state_draft", 1),
    ("before_source", 1),
    ("after_publication", 1),
    ("slot_announced", 1),
    ("after_slot_create", 1),
    ("after_slot_saved", 1),
    ("snapshot_rows", 4),
    ("snapshot_table_finished", 4),
    ("snapshot_complete", 1),
    ("between_marker_and_promote", 1),
    ("after_promote", 1),
    ("schema_saved", 4),
    ("topics_ready", 4),
    ("after_enqueue", 4),
    ("after_durable", 4),
    ("after_checkpoint", 2),
];

/// Failpoints of the log, and the passages that are worth a death.
const LATE: [(&str, u64); 18] = [
    ("before_source", 1),
    ("after_promote", 1),
    ("in_transaction", 80),
    ("in_streamed_transaction", 200),
    ("spool_spill", 3),
    ("stream_commit", 3),
    ("schema_saved", 3),
    ("topics_ready", 6),
    ("after_enqueue", 8),
    ("segment_write", 12),
    ("before_fsync", 12),
    ("segment_roll", 6),
    ("after_durable", 8),
    ("before_checkpoint", 5),
    ("in_checkpoint_write", 5),
    ("after_checkpoint", 5),
    ("after_confirm", 5),
    ("status_sent", 6),
];

/// Failpoints of transactions that the server sends while they run.
pub(super) const STREAMED: [&str; 3] = ["in_streamed_transaction", "spool_spill", "stream_commit"];

/// Failpoints of what only PostgreSQL has: publications, slots, and a server that is told of progress.
const OF_SLOTS: [&str; 5] = [
    "after_publication",
    "slot_announced",
    "after_slot_create",
    "after_slot_saved",
    "status_sent",
];

/// PostgreSQL's sessions of a first start, by the ends of their application names.
const SESSIONS_EARLY: [Who; 7] = [
    Who::Purpose("log"),
    Who::Purpose("catalog"),
    Who::Purpose("snapshot"),
    Who::Purpose("snapshot"),
    Who::Purpose("setup"),
    Who::Purpose("slot"),
    Who::All,
];

/// Its sessions once it streams.
const SESSIONS_LATE: [Who; 5] = [
    Who::Purpose("log"),
    Who::Purpose("log"),
    Who::Purpose("log"),
    Who::Purpose("catalog"),
    Who::All,
];

/// MySQL's sessions.
const SESSIONS_MYSQL: [Who; 4] = [
    Who::Purpose("log"),
    Who::Purpose("log"),
    Who::Purpose("snapshot"),
    Who::All,
];

/// Failpoints of a start that finds a new table, and the passages that are worth a death.
const TABLE: [(&str, u64); 10] = [
    ("table_added", 1),
    ("snapshot_rows", 2),
    ("snapshot_table_finished", 1),
    ("snapshot_complete", 1),
    ("between_marker_and_promote", 1),
    ("after_promote", 1),
    ("topics_ready", 1),
    ("after_enqueue", 2),
    ("after_durable", 2),
    ("after_checkpoint", 2),
];

/// Answers that a person need not do anything about (protocol guide, "Error Codes"): a client sends again after LEADER_NOT_AVAILABLE,
/// NOT_LEADER_OR_FOLLOWER, REQUEST_TIMED_OUT, NETWORK_EXCEPTION, NOT_ENOUGH_REPLICAS (before and after the write) and
/// KAFKA_STORAGE_ERROR; the producer is made anew after UNKNOWN_SERVER_ERROR, TOPIC_AUTHORIZATION_FAILED, which may be
/// granted meanwhile, OUT_OF_ORDER_SEQUENCE_NUMBER and UNKNOWN_PRODUCER_ID.
const CURABLE: [i16; 11] = [5, 6, 7, 13, 19, 20, 56, -1, 29, 45, 59];

// === impl Plan ===

impl Plan {
    /// What this seed stands for.
    #[must_use]
    pub fn of(family: Family, seed: u64) -> Plan {
        let mut dice = Dice::new(seed);
        let lane = choose(&mut dice, &Lane::ALL);
        let version: Version = match family {
            Family::Postgres => choose(&mut dice, &PostgresVersion::ALL).into(),
            Family::MySql => choose(&mut dice, &MySqlVersion::ALL).into(),
        };
        let mut plan = Plan {
            seed,
            lane,
            version,
            binary: streams_transactions(version) && dice.chance(40),
            streaming: family == Family::Postgres && dice.chance(50),
            partitions: 1 + narrow(dice.below(4)),
            snapshot_connections: 1 + dice.below(3),
            commits_before: size(5 + dice.below(60)),
            largest_rows: choose(&mut dice, &[100, 500, 3000]),
            archive_rows: choose(&mut dice, &[0, 0, 300, 300, 5000, 5000, 20_000]),
            early: dice.chance(40),
            steps: Vec::new(),
        };
        for number in 0..=dice.below(4) {
            let early = plan.early && number == 0;
            let step = Step {
                commits: if early { 0 } else { size(dice.below(25)) },
                fault: Fault::draw(&mut dice, &plan, early),
                calm: dice.chance(60),
            };
            plan.steps.push(step);
        }
        plan
    }
}

impl Plan {
    /// Whose log it is.
    #[must_use]
    pub fn family(&self) -> Family {
        match self.version {
            Version::Postgres(_) => Family::Postgres,
            Version::MySql(_) => Family::MySql,
        }
    }

    /// Whether there is any hope that such a daemon passes a failpoint.
    fn passes(&self, failpoint: &str) -> bool {
        match failpoint {
            "segment_write" | "before_fsync" | "segment_roll" => self.lane == Lane::File,
            failpoint if STREAMED.contains(&failpoint) => self.streaming && streams_transactions(self.version),
            failpoint => self.family() == Family::Postgres || !OF_SLOTS.contains(&failpoint),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (lane, version, partitions) = (self.lane, self.version, self.partitions);
        write!(
            formatter,
            "{version} → {lane:?}, {partitions} partitions, {} copying",
            self.snapshot_connections
        )?;
        for (option, word) in [
            (self.binary, "binary"),
            (self.streaming, "streaming"),
            (self.early, "early"),
        ] {
            if option {
                write!(formatter, ", {word}")?;
            }
        }
        let (commits, archive, largest) = (self.commits_before, self.archive_rows, self.largest_rows);
        write!(
            formatter,
            ", {commits} commits and {archive} rows before, at most {largest} at once;"
        )?;
        for step in &self.steps {
            let calm = if step.calm { "" } else { " …" };
            write!(formatter, " +{} {}{calm};", step.commits, step.fault)?;
        }
        Ok(())
    }
}

// === impl Fault ===

impl Fault {
    fn draw(dice: &mut Dice, plan: &Plan, early: bool) -> Fault {
        let kafka = plan.lane == Lane::Kafka;
        match dice.below(100) {
            0..32 => Fault::draw_failpoint(dice, plan, if early { &EARLY } else { &LATE }),
            32..40 => Fault::Kill(size(dice.below(20))),
            40..44 if !early => Fault::Stop,
            44..48 => Fault::Freeze(dice.below(1500)),
            48..51 if !early => {
                let (point, passages) = choose(dice, &TABLE);
                Fault::Table(point, 1 + dice.below(passages))
            }
            51..54 if plan.family() == Family::MySql => Fault::Rotate(dice.chance(50)),
            51..54 => Fault::Identity(choose(dice, &["full", "default"])),
            54..59 => Fault::Database(Restart::draw(dice)),
            // A broker takes some seconds to come back.
            59..60 if kafka && !early => Fault::Broker(Restart::draw(dice)),
            60..80 if kafka => Fault::Stream(Network::draw_stream(dice)),
            92.. if plan.family() == Family::MySql => Fault::Rotate(dice.chance(50)),
            _ => Fault::Source(Network::draw_source(dice, plan, early)),
        }
    }

    fn draw_failpoint(dice: &mut Dice, plan: &Plan, points: &[(&'static str, u64)]) -> Fault {
        let passed = points.iter().filter(|(point, _)| plan.passes(point));
        let (point, passages) = choose(dice, &passed.copied().collect::<Vec<_>>());
        let passage = 1 + dice.below(passages);
        let roll = dice.below(100);
        let plain = [
            "after_config",
            "state_draft",
            "before_fsync",
            "segment_roll",
            "in_checkpoint_write",
            "status_sent",
        ];
        let action = match point {
            "segment_write" if roll < 70 => "torn",
            "segment_write" => "kill",
            _ if plain.contains(&point) || roll < 75 => "kill",
            _ => "error",
        };
        Fault::At(point, action, passage)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::At(point, action, passage) => write!(formatter, "{action} at {point}@{passage}"),
            Fault::Kill(commits) => write!(formatter, "kill after {commits} commits"),
            Fault::Stop => formatter.write_str("stop"),
            Fault::Table(point, passage) => write!(formatter, "new table, kill at {point}@{passage}"),
            Fault::Identity(identity) => write!(formatter, "replica identity {identity}"),
            Fault::Freeze(ms) => write!(formatter, "freeze {ms} ms"),
            Fault::Source(network) => write!(formatter, "source {network:?}"),
            Fault::Stream(network) => write!(formatter, "stream {network:?}"),
            Fault::Database(restart) => write!(formatter, "database {restart:?}"),
            Fault::Rotate(purged) => write!(formatter, "rotate{}", if *purged { " and purge" } else { "" }),
            Fault::Broker(restart) => write!(formatter, "broker {restart:?}"),
        }
    }
}

// === impl Network ===

impl Network {
    fn draw_source(dice: &mut Dice, plan: &Plan, early: bool) -> Network {
        let ending = choose(dice, &[Ending::Close, Ending::Reset]);
        let is_mysql = plan.family() == Family::MySql;
        let sessions = match (is_mysql, early) {
            (true, _) => &SESSIONS_MYSQL[..],
            (false, true) => &SESSIONS_EARLY[..],
            (false, false) => &SESSIONS_LATE[..],
        };
        let who = choose(dice, sessions);
        match dice.below(100) {
            0..40 => Network::CutAfter(who, direction(dice), bytes(dice), ending),
            40..55 => Network::Cut(who, ending),
            55..65 if is_mysql => Network::CutInside(FrameKind::BinlogEvent, ending),
            55..65 => Network::Lose(FrameKind::StatusUpdate, 1 + narrow(dice.below(5)), then(dice, ending)),
            65..70 => Network::Strand(Who::Purpose("log")),
            _ => Network::draw_weather(dice),
        }
    }

    fn draw_stream(dice: &mut Dice) -> Network {
        let ending = choose(dice, &[Ending::Close, Ending::Reset]);
        match dice.below(100) {
            0..20 => Network::CutAfter(Who::All, direction(dice), bytes(dice), ending),
            20..30 => Network::Cut(Who::All, ending),
            30..45 => Network::CutInside(FrameKind::ProduceRequest, ending),
            45..62 => {
                let then = choose(dice, &[Then::Cut(ending), Then::Cut(ending), Then::Hold]);
                Network::Lose(FrameKind::ProduceResponse, 1 + narrow(dice.below(4)), then)
            }
            62..65 => Network::Strand(Who::All),
            65..80 => Network::Answer(1 + narrow(dice.below(8)), choose(dice, &CURABLE)),
            _ => Network::draw_weather(dice),
        }
    }

    fn draw_weather(dice: &mut Dice) -> Network {
        match dice.below(4) {
            0 if dice.chance(10) => Network::Blackhole(dice.below(6000)),
            0 => Network::Blackhole(100 + dice.below(1200)),
            1 => Network::Refuse(50 + dice.below(800)),
            2 => Network::Delay(1 + dice.below(30)),
            _ => Network::Throttle(30_000 + dice.below(300_000)),
        }
    }
}

// === impl Restart ===

impl Restart {
    fn draw(dice: &mut Dice) -> Restart {
        choose(dice, &[Restart::Clean, Restart::Kill])
    }
}

/// PostgreSQL since 14: transactions come while they run, and values in binary form.
fn streams_transactions(version: Version) -> bool {
    matches!(version, Version::Postgres(version) if version >= PostgresVersion::V14)
}

fn direction(dice: &mut Dice) -> Direction {
    choose(dice, &[Direction::ToClient, Direction::ToClient, Direction::ToServer])
}

/// From the first words of a session to some hundred kilobytes, each size as likely as its half.
fn bytes(dice: &mut Dice) -> u64 {
    let most = 1_u64 << dice.below(19);
    dice.below(most)
}

fn then(dice: &mut Dice, ending: Ending) -> Then {
    choose(dice, &[Then::GoOn, Then::Cut(ending), Then::Hold])
}

/// One of a list, which is never empty.
#[expect(
    clippy::indexing_slicing,
    reason = "the dice stay below the length, and a list of nothing is a mistake here"
)]
fn choose<T: Clone>(dice: &mut Dice, among: &[T]) -> T {
    let length = u64::try_from(among.len()).unwrap_or(u64::MAX);
    among[size(dice.below(length))].clone()
}

fn size(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_stands_for_the_same_walk_again() {
        for seed in 0..200 {
            assert_eq!(
                format!("{:?}", Plan::of(Family::Postgres, seed)),
                format!("{:?}", Plan::of(Family::Postgres, seed))
            );
        }
    }

    #[test]
    fn walks_along_mysql_meet_what_mysql_has() {
        let plans = (0..2000).map(|seed| Plan::of(Family::MySql, seed));
        let faults: std::collections::BTreeSet<String> = plans
            .flat_map(|plan| plan.steps)
            .map(|step| step.fault.to_string())
            .collect();
        for wanted in [
            "rotate and purge",
            "source CutInside(BinlogEvent",
            "database Kill",
            "kill at in_transaction",
        ] {
            assert!(faults.iter().any(|told| told.starts_with(wanted)), "{wanted}");
        }
        for unwanted in [
            "replica identity",
            "source Lose",
            "kill at slot",
            "kill at status_sent",
            "kill at spool",
        ] {
            assert!(!faults.iter().any(|told| told.starts_with(unwanted)), "{unwanted}");
        }
    }

    #[test]
    fn seeds_reach_every_kind_of_fault() {
        let mut seen = std::collections::BTreeSet::new();
        for seed in 0..3000 {
            let plan = Plan::of(Family::Postgres, seed);
            assert!((1..=4).contains(&plan.steps.len()));
            for step in plan.steps {
                let told = match step.fault {
                    Fault::At(point, action, _) => format!("{action} {point}"),
                    other => format!("{other:?}").chars().filter(char::is_ascii_alphabetic).collect(),
                };
                seen.insert(told);
            }
        }
        for (point, _) in LATE.iter().chain(&EARLY) {
            assert!(seen.contains(&format!("kill {point}")), "{point}");
            let mut known = tailrace_core::failpoint::Failpoint::ALL.iter();
            assert!(known.any(|known| known.name() == *point), "{point}");
        }
        for wanted in [
            "StreamLoseProduceResponse",
            "SourceLoseStatusUpdate",
            "BrokerKill",
            "DatabaseClean",
            "Stop",
        ] {
            assert!(seen.iter().any(|told| told.starts_with(wanted)), "{wanted}: {seen:?}");
        }
    }
}
