//! What Linux says of this process, proc(5); nothing elsewhere.

use std::sync::OnceLock;
use std::time::Duration;

use tailrace_core::telemetry::metrics::ProcessNumbers;
use tailrace_core::telemetry::now_us;

/// Linux counts processor time for user programs in hundredths of a second, whatever its own clock does (USER_HZ).
const TICKS_PER_SECOND: f64 = 100.0;

/// When the process started, seconds since 1970. Fixed at the first look: what a clock that is being corrected makes of the same moment
/// later would look like a restart.
static START_TIME_SECONDS: OnceLock<f64> = OnceLock::new();

/// What is known of this process, which started so long ago.
pub(crate) fn numbers(version: &'static str, uptime: Duration) -> ProcessNumbers {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let status = read("status");
    ProcessNumbers {
        version,
        uptime_seconds: uptime.as_secs_f64(),
        start_time_seconds: Some(*START_TIME_SECONDS.get_or_init(|| started(uptime))),
        resident_bytes: number_behind(&status, "VmRSS:").and_then(|kilobytes| kilobytes.checked_mul(1024)),
        cpu_seconds: cpu_seconds(&read("stat")),
        // One of them is that of the folder that is being read.
        open_descriptors: std::fs::read_dir("/proc/self/fd")
            .ok()
            .and_then(|entries| u64::try_from(entries.count()).ok()?.checked_sub(1)),
        maximum_descriptors: number_behind(&read("limits"), "Max open files"),
        threads: number_behind(&status, "Threads:"),
        spans: None,
    }
}

fn started(uptime: Duration) -> f64 {
    let now = Duration::from_micros(u64::try_from(now_us()).unwrap_or_default());
    now.saturating_sub(uptime).as_secs_f64()
}

/// The first number behind these words; nothing where a word is there instead, as `unlimited`.
fn number_behind(text: &str, words: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(words))?;
    line.split_whitespace().next()?.parse().ok()
}

/// Fields 14 and 15 of `/proc/self/stat`; the second field, the program's name in brackets, may hold blanks and brackets itself.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut ticks = fields.split_whitespace().skip(11);
    let (user, system): (f64, f64) = (ticks.next()?.parse().ok()?, ticks.next()?.parse().ok()?);
    Some((user + system) / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernel_is_understood() {
        let stat = "7 (odd ) name) S 1 7 7 0 -1 4194560 1 2 3 4 150 25 9 9 20 0 3 0 88 99 42";
        assert_eq!(cpu_seconds(stat), Some(1.75));
        assert_eq!(cpu_seconds(""), None);
        let limits = "Limit                     Soft Limit           Hard Limit           Units     \n\
                      Max open files            1024                 524288               files     \n";
        assert_eq!(number_behind(limits, "Max open files"), Some(1024));
        assert_eq!(
            number_behind("Max open files   unlimited  unlimited", "Max open files"),
            None
        );
        assert_eq!(number_behind("VmRSS:\t   2048 kB\n", "VmRSS:"), Some(2048));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_is_known() {
        let first = numbers("1", Duration::from_secs(5));
        assert!(first.resident_bytes.is_some_and(|bytes| bytes > 1_000_000), "{first:?}");
        assert!(
            first.threads >= Some(1) && first.open_descriptors >= Some(3),
            "{first:?}"
        );
        assert!(first.maximum_descriptors >= first.open_descriptors, "{first:?}");
        assert!(first.cpu_seconds.is_some(), "{first:?}");
        let second = numbers("1", Duration::from_secs(7));
        assert_eq!(first.start_time_seconds, second.start_time_seconds);
    }
}
