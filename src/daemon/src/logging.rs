//! Logs: lines with colours for a person at a terminal, JSON for everything else. Values from outside are escaped either
//! way, so that a table named `x\n{"level":"error"}` stays one value of one line.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::screen::{LogWriter, escape, stderr_is_terminal};

/// The form of logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub(crate) enum LogFormat {
    /// `text` on a terminal, `json` otherwise.
    #[default]
    Auto,
    /// A line per event, for people.
    Text,
    /// A JSON object per event, for machines.
    Json,
}

/// Lines for people.
struct ForPeople {
    colours: bool,
}

#[derive(Default)]
struct Fields {
    message: String,
    connector: String,
    others: String,
}

/// A part of the program, and what is logged of it.
#[derive(Debug, Clone)]
pub(crate) struct Logger {
    pub(crate) name: &'static str,
    /// In upper case, as of Kafka Connect.
    pub(crate) level: &'static str,
    /// Milliseconds since 1970; `None` where it was not changed since the start.
    pub(crate) changed_at_ms: Option<i64>,
}

/// What is logged, and how that is changed.
struct Levels {
    /// As it was started with.
    started_with: String,
    changed: Mutex<BTreeMap<&'static str, (LevelFilter, i64)>>,
    reload: Box<dyn Fn(EnvFilter) + Send + Sync>,
}

/// Every part, and all of them.
const ROOT: &str = "root";
const LOGGERS: [&str; 12] = [
    ROOT,
    "tailrace",
    "tailrace_codec",
    "tailrace_core",
    "tailrace_file",
    "tailrace_http",
    "tailrace_kafka",
    "tailrace_mysql",
    "tailrace_postgres",
    "tailrace_sql",
    "tailrace_sqlite",
    "tailrace_state",
];

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// Starts logging. `levels` is a level, or a list such as `info,tailrace_postgres=debug`.
pub(crate) fn start(format: LogFormat, levels: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(levels).map_err(|error| {
        format!("the log level `{levels}` is not understood ({error}); write error, warn, info, debug or trace, or a list such as `info,tailrace_postgres=debug`")
    })?;
    let terminal = stderr_is_terminal();
    let people = match format {
        LogFormat::Auto => terminal,
        LogFormat::Text => true,
        LogFormat::Json => false,
    };
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(LogWriter);
    let (started, reload): (_, Box<dyn Fn(EnvFilter) + Send + Sync>) = if people {
        let colours = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let builder = builder.event_format(ForPeople { colours }).with_filter_reloading();
        let handle = builder.reload_handle();
        let reload = move |filter| drop(handle.reload(filter));
        (
            tracing::subscriber::set_global_default(builder.finish()),
            Box::new(reload),
        )
    } else {
        let builder = builder.json().flatten_event(true).with_filter_reloading();
        let handle = builder.reload_handle();
        let reload = move |filter| drop(handle.reload(filter));
        (
            tracing::subscriber::set_global_default(builder.finish()),
            Box::new(reload),
        )
    };
    // A second start in one process is refused above.
    drop(LEVELS.set(Levels {
        started_with: levels.to_owned(),
        changed: Mutex::default(),
        reload,
    }));
    started.map_err(|error| error.to_string())
}

/// Every part of the program with its level.
pub(crate) fn loggers() -> Vec<Logger> {
    let Some(levels) = LEVELS.get() else {
        return Vec::new();
    };
    let changed = levels.changed.lock().unwrap_or_else(PoisonError::into_inner);
    let of = |name: &&'static str| {
        let known = changed.get(name).copied();
        let level = known.map_or_else(|| levels.level_of(name, &changed), |(level, _)| level);
        Logger {
            name,
            level: word_of(level),
            changed_at_ms: known.map(|(_, at_ms)| at_ms),
        }
    };
    LOGGERS.iter().map(of).collect()
}

/// A level by its name, in either case.
pub(crate) fn level_named(name: &str) -> Option<LevelFilter> {
    name.parse()
        .ok()
        .filter(|_| name.chars().all(|letter| letter.is_ascii_alphabetic()))
}

/// Changes a level until the process ends. The loggers that were changed.
pub(crate) fn set_level(name: &'static str, level: LevelFilter) -> Vec<&'static str> {
    let Some(levels) = LEVELS.get() else {
        return Vec::new();
    };
    let now_ms = tailrace_core::telemetry::now_us() / 1000;
    let mut changed = levels.changed.lock().unwrap_or_else(PoisonError::into_inner);
    // What is said of all of them counts from now on, whatever was said of one before.
    let names: Vec<&'static str> = match name {
        ROOT => LOGGERS.to_vec(),
        name => vec![name],
    };
    changed.extend(names.iter().map(|name| (*name, (level, now_ms))));
    let mut directives = levels.started_with.clone();
    for (name, (level, _)) in changed.iter() {
        let target = if *name == ROOT {
            String::new()
        } else {
            format!("{name}=")
        };
        directives.push_str(&format!(",{target}{level}"));
    }
    // Made of names and levels that are known.
    if let Ok(filter) = EnvFilter::try_new(&directives) {
        (levels.reload)(filter);
    }
    names
}

// === impl Levels ===

impl Levels {
    /// As it was started with, or as the root was changed since.
    fn level_of(&self, name: &str, changed: &BTreeMap<&'static str, (LevelFilter, i64)>) -> LevelFilter {
        let directives = self.started_with.split(',').map(str::trim);
        let own = directives
            .clone()
            .find_map(|directive| directive.strip_prefix(name)?.strip_prefix('='));
        let root = directives.clone().rfind(|directive| !directive.contains('='));
        let started = own.or(root).and_then(|level| level.parse().ok());
        let root = changed.get(ROOT).map(|(level, _)| *level);
        own.and(started).or(root).or(started).unwrap_or(LevelFilter::ERROR)
    }
}

fn word_of(level: LevelFilter) -> &'static str {
    match level.into_level() {
        None => "OFF",
        Some(Level::ERROR) => "ERROR",
        Some(Level::WARN) => "WARN",
        Some(Level::INFO) => "INFO",
        Some(Level::DEBUG) => "DEBUG",
        Some(Level::TRACE) => "TRACE",
    }
}

// === impl ForPeople ===

impl ForPeople {
    fn paint(&self, code: &'static str, text: &str) -> String {
        if self.colours {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }

    fn level(&self, level: Level) -> String {
        match level {
            Level::ERROR => self.paint("1;31", "ERROR"),
            Level::WARN => self.paint("1;33", "WARN "),
            Level::INFO => self.paint("32", "INFO "),
            Level::DEBUG => self.paint("34", "DEBUG"),
            Level::TRACE => self.paint("35", "TRACE"),
        }
    }
}

impl<S, N> FormatEvent<S, N> for ForPeople
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let time = time_of_day(tailrace_core::telemetry::now_us());
        let level = self.level(*event.metadata().level());
        write!(writer, "{} {level} ", self.paint("2", &time))?;
        if !fields.connector.is_empty() {
            write!(writer, "{}: ", self.paint("1", &fields.connector))?;
        }
        writer.write_str(&fields.message)?;
        writeln!(writer, "{}", self.paint("2", &fields.others))
    }
}

/// UTC, milliseconds: as in events and in the JSON form.
fn time_of_day(now_us: i64) -> String {
    let ms = now_us.rem_euclid(86_400_000_000) / 1000;
    format!(
        "{:02}:{:02}:{:02}.{:03}Z",
        ms / 3_600_000,
        ms / 60_000 % 60,
        ms / 1000 % 60,
        ms % 1000
    )
}

// === impl Fields ===

impl Fields {
    fn put(&mut self, field: &Field, value: &str) {
        let value = escape(value);
        match field.name() {
            "message" => self.message = value,
            "connector" => self.connector = value,
            // Already said by level and message.
            "state" => {}
            name => {
                self.others.push_str("  ");
                self.others.push_str(name);
                self.others.push('=');
                self.others.push_str(&value);
            }
        }
    }
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, &format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};
    use tracing_subscriber::fmt::MakeWriter;

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Kept;

        fn make_writer(&'a self) -> Kept {
            self.clone()
        }
    }

    fn logged() -> (String, String) {
        let (people, machines) = (Kept::default(), Kept::default());
        let text = tracing_subscriber::fmt()
            .with_writer(people.clone())
            .event_format(ForPeople { colours: false })
            .finish();
        let json = tracing_subscriber::fmt()
            .with_writer(machines.clone())
            .json()
            .flatten_event(true)
            .finish();
        let evil = "x\n{\"level\":\"error\"}\x1b[2J";
        for dispatch in [tracing::Dispatch::new(text), tracing::Dispatch::new(json)] {
            tracing::dispatcher::with_default(&dispatch, || {
                tracing::warn!(connector = "orders", table = evil, "left out {evil}")
            });
        }
        let kept = |kept: &Kept| String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        (kept(&people), kept(&machines))
    }

    #[test]
    fn a_hostile_name_stays_one_value_of_one_line() {
        let (people, machines) = logged();
        assert_eq!(people.lines().count(), 1);
        assert!(
            people.contains("WARN  orders: left out x\\n{\"level\":\"error\"}\\u{1b}[2J  table=x\\n"),
            "{people}"
        );
        assert!(!people.contains('\x1b'));
        assert_eq!(machines.lines().count(), 1);
        let object: serde_json::Value = serde_json::from_str(&machines).unwrap();
        assert_eq!(object["table"], "x\n{\"level\":\"error\"}\x1b[2J");
        assert_eq!(object["level"], "WARN");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(time_of_day(1_700_000_000_123_456), "22:13:20.123Z");
    }
}
