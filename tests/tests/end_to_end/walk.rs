//! Random walks, a handful in the test run and as many as wanted in the long one; `tailrace_tests::walk` has the story.
//!
//! | variable | means |
//! |---|---|
//! | `TAILRACE_SOAK_SECONDS` | walk random seeds for so long; set by `tests/run soak` |
//! | `TAILRACE_SOAK_SEED` | the first of them; the others count up from it |
//! | `TAILRACE_SOAK_LANES` | how many walks at a time, each on servers of its own |
//! | `TAILRACE_REPLAY_SEED` | walk this one again; set by `tests/run replay` |
//! | `TAILRACE_REPLAY_TIMES` | so many times |
//! | `TAILRACE_WALK_DATABASE` | of both: `Postgres`, which is the default, or `MySql` |
//! | `TAILRACE_KEEP` | a folder for what is left of walks that failed |

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tailrace_tests::walk::{Family, Outcome, Plan, Site, walk};

use crate::crashes::seed;

/// Seeds of the ordinary run, beside a random one: both lanes, three versions, and a kill, a stop, a cut snapshot and a lost answer.
const SEEDS: [u64; 4] = [20_002, 20_003, 20_005, 20_012];

/// The same along MySQL and MariaDB: both lanes, all three servers, purged files, a killed server, a restarted one, cut events.
const SEEDS_MYSQL: [u64; 5] = [128, 130, 142, 163, 187];

/// A walk is mostly waiting; three keep two cores busy.
const LANES: u64 = 3;

/// What is left of the failing seeds of a long run; more of them rarely tell more.
const FAILURES_MOST: usize = 10;

/// Which seeds, and until when.
struct Seeds {
    family: Family,
    given: Vec<u64>,
    /// Random ones count up from here until the time is over.
    random: AtomicU64,
    until: Option<Instant>,
    given_taken: AtomicU64,
}

impl Seeds {
    fn next(&self) -> Option<u64> {
        let taken = usize::try_from(self.given_taken.fetch_add(1, Ordering::Relaxed)).unwrap();
        if let Some(seed) = self.given.get(taken) {
            return Some(*seed);
        }
        let until = self.until?;
        (Instant::now() < until).then(|| self.random.fetch_add(1, Ordering::Relaxed))
    }
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(
        text.parse()
            .map_err(|_| format!("{variable} is no number: {text}"))
            .unwrap(),
    )
}

/// One lane: walks one seed after the other on its own servers, and begins with new ones after a failure.
fn walk_lane(seeds: &Seeds, failures: &Mutex<Vec<String>>, done: &AtomicU64) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let keep =
        std::env::var("TAILRACE_KEEP").map_or_else(|_| std::env::temp_dir().join("tailrace-walks"), PathBuf::from);
    let mut site = Site::default();
    while failures.lock().unwrap().len() < FAILURES_MOST
        && let Some(seed) = seeds.next()
    {
        let outcome: Outcome = runtime.block_on(walk(&mut site, Plan::of(seeds.family, seed), &keep));
        eprintln!("{outcome}");
        done.fetch_add(1, Ordering::Relaxed);
        if outcome.findings.is_err() {
            failures.lock().unwrap().push(outcome.to_string());
            site = Site::default();
        }
    }
}

/// Seeds that are asked for, of the family that is asked for, or those of the ordinary run.
fn walk_all(family: Family, ordinary: &[u64]) {
    let (mut given, mut lanes, mut until) = (ordinary.to_vec(), 1, None);
    let first = number("TAILRACE_SOAK_SEED").unwrap_or_else(seed);
    let asked_for = std::env::var("TAILRACE_WALK_DATABASE").unwrap_or_else(|_| format!("{:?}", Family::Postgres));
    let is_asked_for = asked_for == format!("{family:?}");
    if let Some(replayed) = number("TAILRACE_REPLAY_SEED") {
        let times = number("TAILRACE_REPLAY_TIMES").unwrap_or(1);
        given = vec![
            replayed;
            if is_asked_for {
                usize::try_from(times).unwrap()
            } else {
                0
            }
        ];
    } else if let Some(seconds) = number("TAILRACE_SOAK_SECONDS") {
        given = Vec::new();
        lanes = number("TAILRACE_SOAK_LANES").unwrap_or(LANES);
        until = is_asked_for.then(|| Instant::now() + Duration::from_secs(seconds));
    } else {
        given.push(first);
    }
    let seeds = Seeds {
        family,
        given,
        random: AtomicU64::new(first),
        until,
        given_taken: AtomicU64::new(0),
    };
    let (failures, done) = (Mutex::default(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for _ in 0..lanes {
            scope.spawn(|| walk_lane(&seeds, &failures, &done));
        }
    });
    let (failures, done): (Vec<String>, u64) = (failures.into_inner().unwrap(), done.into_inner());
    eprintln!("{done} seeds walked, {} failed", failures.len());
    assert!(
        failures.is_empty(),
        "{} of {done} walks failed:\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn seeds_are_walked_and_nothing_is_lost() {
    walk_all(Family::Postgres, &SEEDS);
}

#[test]
fn seeds_are_walked_along_mysql_and_nothing_is_lost() {
    walk_all(Family::MySql, &SEEDS_MYSQL);
}
