//! What the figures were made with: the machine, the versions of everything, and whether the machine is free.

use std::process::Command;
use std::time::Duration;

use serde::Serialize;
use tailrace_tests::daemon::binary;
use tailrace_tests::servers::{PostgresVersion, cache_folder};

use crate::processes::{Watch, load_average};

/// How long the machine is looked at before anything is started.
const LOOK: Duration = Duration::from_secs(2);

/// The machine and everything on it that matters.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    pub(crate) cpu: String,
    pub(crate) cores: usize,
    pub(crate) memory_bytes: u64,
    pub(crate) kernel: String,
    pub(crate) commit: String,
    pub(crate) binary_bytes: u64,
    pub(crate) versions: Vec<String>,
    /// One-minute load average when the run began.
    pub(crate) load: f64,
    /// CPU share that others used when the run began.
    pub(crate) foreign_share: f64,
}

// === impl Machine ===

impl Machine {
    /// Looks at the machine, for two seconds.
    pub(crate) fn look() -> Machine {
        let watch = Watch::start();
        std::thread::sleep(LOOK);
        let cost = watch.finish();
        let binary = binary().ok();
        Machine {
            cpu: line_of("/proc/cpuinfo", "model name").unwrap_or_default(),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            memory_bytes: memory_bytes(),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            commit: commit(),
            binary_bytes: binary.and_then(|path| Some(path.metadata().ok()?.len())).unwrap_or(0),
            versions: versions(),
            load: load_average(),
            foreign_share: cost.foreign_share + cost.steal_share,
        }
    }
}

fn versions() -> Vec<String> {
    let mut versions = Vec::new();
    if let Ok(cache) = cache_folder() {
        let postgres = cache.join(format!("postgresql/{}/bin/postgres", PostgresVersion::V15.major()));
        versions.push(output(&postgres.to_string_lossy(), &["--version"]));
        for (folder, jar, name) in [
            ("kafka/libs", "kafka_2.13-", "Apache Kafka"),
            ("connect/libs", "connect-runtime-", "Kafka Connect"),
            ("connect/libs", "debezium-connector-postgres-", "Debezium"),
        ] {
            versions.extend(version_of_jar(&cache.join(folder), jar).map(|version| format!("{name} {version}")));
        }
    }
    versions.push(
        output("java", &["--version"])
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned(),
    );
    versions
}

/// From a name such as `kafka_2.13-4.3.1.jar`.
fn version_of_jar(folder: &std::path::Path, begin: &str) -> Option<String> {
    let names = std::fs::read_dir(folder).ok()?.flatten();
    let mut names = names.filter_map(|entry| entry.file_name().into_string().ok());
    names.find_map(|name| {
        let version = name.strip_prefix(begin)?.strip_suffix(".jar")?.to_owned();
        version
            .starts_with(|character: char| character.is_ascii_digit())
            .then_some(version)
    })
}

/// The commit, and whether the tree differs from it.
fn commit() -> String {
    let commit = output("git", &["rev-parse", "--short=12", "HEAD"]);
    let changed = output("git", &["status", "--porcelain", "--untracked-files=no"]);
    let mark = if changed.is_empty() { "" } else { ", with changes" };
    format!("{commit}{mark}")
}

fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}

fn line_of(path: &str, name: &str) -> Option<String> {
    let text = read(path);
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn memory_bytes() -> u64 {
    let line = line_of("/proc/meminfo", "MemTotal").unwrap_or_default();
    line.split_whitespace()
        .next()
        .and_then(|word| word.parse::<u64>().ok())
        .unwrap_or(0)
        * 1024
}

fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
