//! What comes with the database, into nothing: `pg_recvlogical` and `mysqlbinlog --raw` are the server and a socket, without
//! anything that makes use of what it sends.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tailrace_tests::servers::{Result, ServerError, cache_folder};

use super::{Backlog, Reader};
use crate::failed;
use crate::measurement::Measurement;
use crate::processes::{Since, Watch, times, written_bytes};
use crate::source::Source;
use crate::source::mysql::MySqlSource;
use crate::source::postgres::{PUBLICATION, PostgresSource};

/// Short beside a drain, long beside a look.
const LOOK_INTERVAL: Duration = Duration::from_millis(10);

/// A drain takes less than this; what takes longer hangs.
const DEADLINE: Duration = Duration::from_secs(600);

/// What was seen of the program while it ran.
struct Seen {
    first: Option<Instant>,
    end: Instant,
    bytes: u64,
}

/// Drains the backlog to its end. Events are the rows that are there: the program counts none.
pub(super) async fn drain(reader: Reader, backlog: &Backlog<'_>, round: u32) -> Result<Measurement> {
    backlog.source.rewind(reader.name()).await?;
    let mut command = match backlog.source {
        Source::Postgres(source) => of_postgres(reader, source, &backlog.end)?,
        Source::MySql(source) => of_mysql(source).await?,
    };
    let program = program(reader);
    command.stdin(Stdio::null()).stderr(Stdio::piped());
    let watch = Watch::start();
    let began = Instant::now();
    let mut child = command.spawn().map_err(failed(format!("starting {program}")))?;
    watch.follow(program, child.id(), Since::Birth);
    backlog
        .source
        .follow_server(&watch, reader.name(), Since::Birth)
        .await?;
    let seen = wait_for_end(program, &child)?;
    let cost = watch.finish();
    finish(program, &mut child)?;
    let mut measurement = Measurement::new(backlog.workload, reader.name(), round, cost);
    measurement.events = backlog.rows;
    measurement.seconds = seen.end.duration_since(began).as_secs_f64();
    measurement.first_event_seconds = seen.first.map(|first| first.duration_since(began).as_secs_f64());
    measurement.record_bytes = Some(seen.bytes);
    Ok(measurement)
}

fn program(reader: Reader) -> &'static str {
    match reader {
        Reader::RawDump => "mysqlbinlog",
        _ => "pg_recvlogical",
    }
}

fn of_postgres(reader: Reader, source: &PostgresSource, end: &str) -> Result<Command> {
    let root = cache_folder()?.join("postgresql/15");
    let server = &source.server;
    let mut command = Command::new(root.join("bin/pg_recvlogical"));
    command
        .args([
            "--start",
            "--no-loop",
            "-f",
            "/dev/null",
            "-U",
            "postgres",
            "-d",
            "postgres",
        ])
        .args(["-S", reader.name(), "--endpos", end])
        .arg("-h")
        .arg(server.socket_dir())
        .args(["-p", &server.port().to_string()])
        .args(["-o", &format!("publication_names={PUBLICATION}")]);
    match reader {
        Reader::LimitStreaming => command.args(["-o", "proto_version=2", "-o", "streaming=on"]),
        _ => command.args(["-o", "proto_version=1"]),
    };
    Ok(command)
}

/// From the place that was kept to the end of the newest file.
async fn of_mysql(source: &MySqlSource) -> Result<Command> {
    let server = &source.server;
    let (file, offset) = &source.place;
    let mut command = Command::new(server.client_program("mysqlbinlog")?);
    command
        .args(["--read-from-remote-server", "--raw", "--to-last-log"])
        .args(["--user=root", &format!("--start-position={offset}")])
        .arg(format!("--socket={}", server.socket().display()))
        .arg(format!(
            "--result-file={}/",
            source.folder_of_nothing().await?.display()
        ))
        .arg(file);
    Ok(command)
}

/// Until it has ended and before its status is asked for, so that what it has spent is still there to be read.
fn wait_for_end(program: &str, child: &Child) -> Result<Seen> {
    let deadline = Instant::now() + DEADLINE;
    let mut seen = Seen {
        first: None,
        end: Instant::now(),
        bytes: 0,
    };
    loop {
        let bytes = written_bytes(child.id()).unwrap_or(0);
        seen.end = Instant::now();
        if bytes > 0 && seen.first.is_none() {
            seen.first = Some(seen.end);
        }
        seen.bytes = seen.bytes.max(bytes);
        if times(child.id()).is_none_or(|times| times.state == 'Z') {
            return Ok(seen);
        }
        if seen.end >= deadline {
            return Err(ServerError::new(format!(
                "{program} did not come to the end of the backlog within {DEADLINE:?}"
            )));
        }
        std::thread::sleep(LOOK_INTERVAL);
    }
}

fn finish(program: &str, child: &mut Child) -> Result<()> {
    let status = child.wait().map_err(failed(format!("waiting for {program}")))?;
    if status.success() {
        return Ok(());
    }
    let mut said = String::new();
    if let Some(stderr) = child.stderr.as_mut() {
        std::io::Read::read_to_string(stderr, &mut said).map_err(failed(format!("reading what {program} said")))?;
    }
    Err(ServerError::new(format!("{program} ended with {status}: {said}")))
}
