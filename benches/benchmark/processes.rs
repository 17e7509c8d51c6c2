//! What processes cost, read from `/proc` (proc(5)), and whether anybody else was using the machine meanwhile.
//!
//! Every server that the benchmark starts is its descendant, so that "ours" is the tree below this process: CPU time of
//! children that have ended is kept by their parents. What the machine was busy with beyond that is foreign.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde::Serialize;

/// The unit of CPU times in `/proc`, the same on every Linux that users see (`getconf CLK_TCK`).
const TICKS_PER_SECOND: f64 = 100.0;

/// A process that ends between two looks loses at most this much of its time.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(50);

/// CPU time and state of one process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// `Z` once it has ended and nobody has asked for its status.
    pub(crate) state: char,
    parent: u32,
    /// Of all its threads, also of those that have ended.
    own_ticks: u64,
    /// Of its children that have ended.
    children_ticks: u64,
}

/// CPU time of the whole machine.
#[derive(Clone, Copy, Debug)]
struct MachineTimes {
    /// Spent in processes, whoever's.
    busy_ticks: u64,
    /// Taken by the hypervisor for other machines.
    steal_ticks: u64,
    total_ticks: u64,
}

/// From when on a process's CPU time counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// All of it.
    Birth,
    /// What it spends from now on.
    Now,
}

/// What one process cost during a measurement.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct ProcessUse {
    pub(crate) name: String,
    pub(crate) cpu_seconds: f64,
    /// The most memory that it ever held (`VmHWM`).
    pub(crate) peak_bytes: u64,
    /// CPU seconds by the names of the threads that were there at the end.
    pub(crate) threads: BTreeMap<String, f64>,
}

/// What a measurement cost, and how undisturbed it was.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Cost {
    pub(crate) processes: Vec<ProcessUse>,
    /// CPU time of processes that are not ours, as a share of all that the cores had.
    pub(crate) foreign_share: f64,
    /// CPU time that the hypervisor gave to others.
    pub(crate) steal_share: f64,
    /// Load average of the minute before.
    pub(crate) load_before: f64,
    pub(crate) seconds: f64,
}

struct Followed {
    name: &'static str,
    process_id: u32,
    /// Those below it count too.
    is_tree: bool,
    baseline_ticks: u64,
    ticks: u64,
    peak_bytes: u64,
}

/// Looks at processes until the measurement is over.
pub(crate) struct Watch {
    followed: Arc<Mutex<Vec<Followed>>>,
    over: Arc<AtomicBool>,
    sampler: JoinHandle<()>,
    began: Instant,
    machine: MachineTimes,
    own_ticks: u64,
    load_before: f64,
}

// === impl Watch ===

impl Watch {
    /// Begins a measurement.
    pub(crate) fn start() -> Watch {
        let followed = Arc::new(Mutex::new(Vec::new()));
        let over = Arc::new(AtomicBool::new(false));
        let sampler = {
            let (followed, over) = (Arc::clone(&followed), Arc::clone(&over));
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    // A tree is all of /proc, and whoever ends in it is still in its parent's sum at the end.
                    let mut followed = lock(&followed);
                    followed.iter_mut().filter(|one| !one.is_tree).for_each(Followed::look);
                    drop(followed);
                    std::thread::sleep(SAMPLE_INTERVAL);
                }
            })
        };
        Watch {
            followed,
            over,
            sampler,
            began: Instant::now(),
            machine: MachineTimes::now(),
            own_ticks: ticks_of_tree(std::process::id()),
            load_before: load_average(),
        }
    }

    /// Counts a process in from here on.
    pub(crate) fn follow(&self, name: &'static str, process_id: u32, since: Since) {
        let now = times(process_id).map_or(0, |times| times.own_ticks);
        let baseline_ticks = if since == Since::Now { now } else { 0 };
        lock(&self.followed).push(Followed {
            name,
            process_id,
            is_tree: false,
            baseline_ticks,
            ticks: now,
            peak_bytes: 0,
        });
    }

    /// Counts in what a server of many processes spends from now on, as PostgreSQL is.
    pub(crate) fn follow_tree(&self, name: &'static str, process_id: u32) {
        let now = ticks_of_tree(process_id);
        lock(&self.followed).push(Followed {
            name,
            process_id,
            is_tree: true,
            baseline_ticks: now,
            ticks: now,
            peak_bytes: 0,
        });
    }

    /// Ends the measurement.
    pub(crate) fn finish(self) -> Cost {
        let seconds = self.began.elapsed().as_secs_f64();
        self.over.store(true, Ordering::Relaxed);
        let machine = MachineTimes::now();
        let own_ticks = ticks_of_tree(std::process::id()).saturating_sub(self.own_ticks);
        // It cannot have panicked, and its samples are here.
        drop(self.sampler.join());
        let processes = lock(&self.followed).iter_mut().map(Followed::finish).collect();
        let total = machine.total_ticks.saturating_sub(self.machine.total_ticks).max(1);
        let busy = machine.busy_ticks.saturating_sub(self.machine.busy_ticks);
        let steal = machine.steal_ticks.saturating_sub(self.machine.steal_ticks);
        Cost {
            processes,
            foreign_share: as_float(busy.saturating_sub(own_ticks)) / as_float(total),
            steal_share: as_float(steal) / as_float(total),
            load_before: self.load_before,
            seconds,
        }
    }
}

// === impl Followed ===

impl Followed {
    fn look(&mut self) {
        if self.is_tree {
            self.ticks = self.ticks.max(ticks_of_tree(self.process_id));
        } else if let Some(times) = times(self.process_id) {
            self.ticks = self.ticks.max(times.own_ticks);
        }
        // An ended process has no memory any more.
        self.peak_bytes = self.peak_bytes.max(peak_memory_bytes(self.process_id).unwrap_or(0));
    }

    fn finish(&mut self) -> ProcessUse {
        self.look();
        ProcessUse {
            name: self.name.to_owned(),
            cpu_seconds: as_float(self.ticks.saturating_sub(self.baseline_ticks)) / TICKS_PER_SECOND,
            peak_bytes: self.peak_bytes,
            threads: if self.baseline_ticks == 0 {
                threads(self.process_id)
            } else {
                BTreeMap::new()
            },
        }
    }
}

// === impl Cost ===

impl Cost {
    /// The process of that name.
    pub(crate) fn of(&self, name: &str) -> Option<&ProcessUse> {
        self.processes.iter().find(|process| process.name == name)
    }
}

// === impl MachineTimes ===

impl MachineTimes {
    /// `cpu user nice system idle iowait irq softirq steal …` of `/proc/stat`.
    fn now() -> MachineTimes {
        let text = fs::read_to_string("/proc/stat").unwrap_or_default();
        let line = text.lines().next().unwrap_or_default();
        let fields: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .filter_map(|field| field.parse().ok())
            .collect();
        let field = |index: usize| fields.get(index).copied().unwrap_or(0);
        MachineTimes {
            busy_ticks: field(0) + field(1) + field(2),
            steal_ticks: field(7),
            total_ticks: (0..8).map(field).sum(),
        }
    }
}

/// CPU times of a process; `None` once it is gone.
pub(crate) fn times(process_id: u32) -> Option<Times> {
    parse_times(&fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?)
}

/// `pid (name, with any characters) state parent …`; utime is field 14.
fn parse_times(stat: &str) -> Option<Times> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Times {
        state: fields.first()?.chars().next()?,
        parent: fields.get(1)?.parse().ok()?,
        own_ticks: number(11)? + number(12)?,
        children_ticks: number(13)? + number(14)?,
    })
}

/// The most memory that a process ever held.
pub(crate) fn peak_memory_bytes(process_id: u32) -> Option<u64> {
    memory_bytes(process_id, "VmHWM:")
}

/// The memory that a process holds now.
pub(crate) fn resident_memory_bytes(process_id: u32) -> Option<u64> {
    memory_bytes(process_id, "VmRSS:")
}

fn memory_bytes(process_id: u32, name: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process_id}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    Some(line.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

/// Bytes that a process has handed to `write` and its like.
pub(crate) fn written_bytes(process_id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{process_id}/io")).ok()?;
    text.lines()
        .find_map(|line| line.strip_prefix("wchar: "))?
        .trim()
        .parse()
        .ok()
}

/// CPU seconds by thread name.
fn threads(process_id: u32) -> BTreeMap<String, f64> {
    let mut seconds = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{process_id}/task"))
        .into_iter()
        .flatten()
        .flatten()
    {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        if let Some(times) = parse_times(&read("stat")) {
            *seconds.entry(read("comm").trim().to_owned()).or_insert(0.0) +=
                as_float(times.own_ticks) / TICKS_PER_SECOND;
        }
    }
    seconds.retain(|_, seconds| *seconds > 0.0);
    seconds
}

/// CPU time of a process and of all below it.
fn ticks_of_tree(root: u32) -> u64 {
    let all: BTreeMap<u32, Times> = fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter_map(|process_id| Some((process_id, times(process_id)?)))
        .collect();
    let is_below = |mut process_id: u32| {
        while process_id != root {
            match all.get(&process_id) {
                Some(times) if times.parent != 0 => process_id = times.parent,
                _ => return false,
            }
        }
        true
    };
    let below = all.iter().filter(|(process_id, _)| is_below(**process_id));
    below.map(|(_, times)| times.own_ticks + times.children_ticks).sum()
}

/// Of the last minute.
pub(crate) fn load_average() -> f64 {
    let text = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace()
        .next()
        .and_then(|field| field.parse().ok())
        .unwrap_or(0.0)
}

/// Counts and sizes here are far below 2^53, from where on this would round.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
pub(crate) fn as_float(number: u64) -> f64 {
    number as f64
}

fn lock(followed: &Mutex<Vec<Followed>>) -> MutexGuard<'_, Vec<Followed>> {
    followed.lock().unwrap_or_else(PoisonError::into_inner)
}
