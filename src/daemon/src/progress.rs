//! Long work shows how far it is: rows done of estimated, rate, time left. On a terminal the lines are drawn over five
//! times a second, elsewhere the log says it every ten seconds.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tailrace_core::telemetry::{Life, TableProgress};

use crate::screen;
use crate::supervisor::Supervisor;

/// The eye sees motion and can still read.
const DRAW_INTERVAL: Duration = Duration::from_millis(200);
/// A log should say that something goes on, not fill a disk.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// More tables than this would push the log off the screen; the rest is in the sum.
const TABLES_SHOWN: usize = 6;
/// Rates are averaged over about so long.
const RATE_SECONDS: f64 = 5.0;
const BAR_CHARACTERS: u64 = 16;
const NAME_CHARACTERS: usize = 26;

/// Rows done, and how fast.
#[derive(Debug, Clone, Copy, Default)]
struct Pace {
    rows: u64,
    rows_per_second: f64,
    known: bool,
}

/// The paces of all tables of all connectors, by connector and table.
#[derive(Debug, Default)]
struct Paces {
    by_table: BTreeMap<(String, String), Pace>,
    looked_at: Option<Instant>,
}

/// Shows progress until it is dropped. One task for the whole process.
pub(crate) async fn show(supervisor: Arc<Supervisor>) {
    let terminal = screen::stderr_is_terminal();
    let mut paces = Paces::default();
    let mut tick = tokio::time::interval(if terminal { DRAW_INTERVAL } else { LOG_INTERVAL });
    loop {
        tick.tick().await;
        let now = Instant::now();
        let mut lines = Vec::new();
        for telemetry in &supervisor.telemetry() {
            if telemetry.life() != Life::Snapshotting {
                continue;
            }
            let tables = telemetry.snapshot().tables;
            let rows = paces.look(&telemetry.connector, &tables, now);
            if terminal {
                lines.extend(draw(&telemetry.connector, &rows));
            } else {
                log(&telemetry.connector, &rows);
            }
        }
        paces.looked_at = Some(now);
        if terminal {
            screen::draw_foot(lines);
        }
    }
}

/// One table, or all of them.
#[derive(Debug, Clone, PartialEq)]
struct RowsDone {
    name: String,
    done: u64,
    estimated: Option<u64>,
    rows_per_second: f64,
    finished: bool,
}

// === impl Paces ===

impl Paces {
    fn look(&mut self, connector: &str, tables: &BTreeMap<String, TableProgress>, now: Instant) -> Vec<RowsDone> {
        let seconds = self.looked_at.map(|before| now.duration_since(before).as_secs_f64());
        let rows = tables.iter().map(|(name, table)| {
            let pace = self.by_table.entry((connector.to_owned(), name.clone())).or_default();
            pace.look(table.rows_done, seconds);
            RowsDone {
                name: screen::escape(name),
                done: table.rows_done,
                estimated: table.rows_estimated,
                rows_per_second: pace.rows_per_second,
                finished: table.finished,
            }
        });
        rows.collect()
    }
}

// === impl Pace ===

impl Pace {
    fn look(&mut self, rows: u64, seconds: Option<f64>) {
        let before = std::mem::replace(&mut self.rows, rows);
        let Some(seconds) = seconds.filter(|seconds| *seconds > 0.0) else {
            return;
        };
        let now = float(rows.saturating_sub(before)) / seconds;
        let weight = if self.known {
            (seconds / RATE_SECONDS).min(1.0)
        } else {
            1.0
        };
        self.rows_per_second += (now - self.rows_per_second) * weight;
        self.known = true;
    }
}

// === impl RowsDone ===

impl RowsDone {
    fn sum(connector: &str, tables: &[RowsDone]) -> Self {
        // A table without an estimate makes the sum a guess that is too low; then there is none.
        let estimated: Option<u64> = tables
            .iter()
            .map(|table| table.estimated.or_else(|| table.finished.then_some(table.done)))
            .sum();
        Self {
            name: format!("{connector}: {} tables", tables.len()),
            done: tables.iter().map(|table| table.done).sum(),
            estimated,
            rows_per_second: tables.iter().map(|table| table.rows_per_second).sum(),
            finished: tables.iter().all(|table| table.finished),
        }
    }

    /// Rows that should come in all; statistics may be behind what is already there.
    fn expected(&self) -> Option<u64> {
        if self.finished {
            Some(self.done)
        } else {
            self.estimated.map(|estimated| estimated.max(self.done))
        }
    }

    fn line(&self) -> String {
        let name: String = self.name.chars().take(NAME_CHARACTERS).collect();
        let Some(expected) = self.expected() else {
            return format!(
                "{name:<NAME_CHARACTERS$} {} rows  {}/s",
                short(self.done),
                short_rate(self.rows_per_second)
            );
        };
        let filled = self
            .done
            .saturating_mul(BAR_CHARACTERS)
            .checked_div(expected)
            .unwrap_or(BAR_CHARACTERS)
            .min(BAR_CHARACTERS);
        let percent = self.done.saturating_mul(100).checked_div(expected).unwrap_or(100);
        let bar: String = (0..BAR_CHARACTERS)
            .map(|at| if at < filled { '#' } else { '.' })
            .collect();
        format!(
            "{name:<NAME_CHARACTERS$} [{bar}] {percent:>3}%  {} of {}  {}/s  {}",
            short(self.done),
            short(expected),
            short_rate(self.rows_per_second),
            if self.finished {
                "done".to_owned()
            } else {
                format!("ETA {}", self.time_left())
            },
        )
    }

    fn time_left(&self) -> String {
        let rest = self.expected().map(|expected| expected - self.done);
        match rest {
            Some(rest) if self.rows_per_second >= 0.1 => {
                let seconds = Duration::try_from_secs_f64(float(rest) / self.rows_per_second)
                    .unwrap_or(Duration::MAX)
                    .as_secs();
                match seconds / 3600 {
                    0 => format!("{}:{:02}", seconds / 60, seconds % 60),
                    hours => format!("{hours}:{:02}:{:02}", seconds / 60 % 60, seconds % 60),
                }
            }
            Some(_) | None => "?".to_owned(),
        }
    }
}

fn draw(connector: &str, tables: &[RowsDone]) -> Vec<String> {
    let unfinished = tables.iter().filter(|table| !table.finished && table.done > 0);
    let mut lines: Vec<String> = unfinished.take(TABLES_SHOWN).map(RowsDone::line).collect();
    if tables.len() > 1 || lines.is_empty() {
        lines.push(RowsDone::sum(connector, tables).line());
    }
    lines
}

fn log(connector: &str, tables: &[RowsDone]) {
    let sum = RowsDone::sum(connector, tables);
    let (rows_done, rows_estimated, eta) = (sum.done, sum.expected(), sum.time_left());
    let rows_per_second = sum.rows_per_second.round();
    tracing::info!(
        connector,
        rows_done,
        rows_estimated,
        rows_per_second,
        eta,
        "snapshot goes on"
    );
}

fn short(count: u64) -> String {
    short_rate(float(count))
}

fn short_rate(count: f64) -> String {
    match count {
        count if count >= 1e9 => format!("{:.1}G", count / 1e9),
        count if count >= 1e6 => format!("{:.1}M", count / 1e6),
        count if count >= 1e4 => format!("{:.1}K", count / 1e3),
        count => format!("{count:.0}"),
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "rates and times left are shown with three digits"
)]
fn float(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(name: &str, done: u64, estimated: Option<u64>, rows_per_second: f64) -> RowsDone {
        RowsDone {
            name: name.to_owned(),
            done,
            estimated,
            rows_per_second,
            finished: false,
        }
    }

    #[test]
    fn a_line_says_done_of_estimated_rate_and_time_left() {
        let line = table("public.orders", 1_200_000, Some(4_000_000), 85_100.0).line();
        assert_eq!(
            line,
            "public.orders              [####............]  30%  1.2M of 4.0M  85.1K/s  ETA 0:32"
        );
        let line = table("public.orders", 1200, None, 50.0).line();
        assert_eq!(line, "public.orders              1200 rows  50/s");
        let line = table("public.orders", 500, Some(100), 0.0).line();
        assert_eq!(
            line,
            "public.orders              [################] 100%  500 of 500  0/s  ETA ?"
        );
        let finished = RowsDone {
            finished: true,
            ..table("public.empty", 0, Some(10), 0.0)
        };
        assert_eq!(
            finished.line(),
            "public.empty               [################] 100%  0 of 0  0/s  done"
        );
        assert_eq!(table("x", 0, Some(36_610_000), 10_000.0).time_left(), "1:01:01");
    }

    #[test]
    fn the_sum_has_an_estimate_only_where_every_table_has_one() {
        let tables = [table("a", 10, Some(20), 1.0), table("b", 5, None, 2.0)];
        assert_eq!(RowsDone::sum("c", &tables).estimated, None);
        let done = RowsDone {
            finished: true,
            ..table("b", 5, None, 2.0)
        };
        let sum = RowsDone::sum("c", &[table("a", 10, Some(20), 1.0), done]);
        assert_eq!((sum.done, sum.estimated), (15, Some(25)));
        assert_eq!(draw("c", &tables).len(), 3);
    }

    #[test]
    fn the_rate_follows_slowly() {
        let mut pace = Pace::default();
        pace.look(100, None);
        pace.look(200, Some(1.0));
        assert!((pace.rows_per_second - 100.0).abs() < 1e-9);
        pace.look(200, Some(1.0));
        assert!((pace.rows_per_second - 80.0).abs() < 1e-9);
    }
}
