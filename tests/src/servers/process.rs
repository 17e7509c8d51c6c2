//! A server's folder and its process, and what makes sure that both go away.

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::{Result, ServerError, running_as_root};

/// Between two looks at a condition: short beside a server's start, long beside the look itself.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// After SIGKILL only the kernel is left to do something.
const KILL_DEADLINE: Duration = Duration::from_secs(20);

/// How much of a server's log an error carries.
const LOG_TAIL_LINES: usize = 25;

/// Waits for the end of the test process, which closes the pipe that is its standard input; then kills what is left of
/// the server and removes the folder. A pid counts only while the process's arguments name the folder, because the kernel may have
/// given the number to somebody else.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
cd /
for pid in $(cat "$1/pids" 2>/dev/null); do
  if tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$1"; then
    kill -KILL "$pid" $(cat "/proc/$pid/task/$pid/children" 2>/dev/null) 2>/dev/null
  fi
done
tries=0
while [ -e "$1" ] && [ "$tries" -lt 100 ]; do
  rm -rf "$1" 2>/dev/null
  [ ! -e "$1" ] || sleep 0.1
  tries=$((tries + 1))
done
"#;

/// Notes the pid before the server exists, so that no moment is left in which the watchdog would not know of it.
const LAUNCHER: &str = r#"echo "$$" >>"$0/pids"; exec "$@""#;

/// The account that a server runs as where we are root and the server refuses that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    user_id: u32,
    group_id: u32,
}

/// A server's private folder under the temporary folder. Dropping it kills what is left of the server and removes it.
#[derive(Debug)]
pub(crate) struct ServerFolder {
    path: PathBuf,
    account: Option<Account>,
    watchdog: Child,
}

/// A running server, or one that has ended and was not yet looked at.
#[derive(Debug)]
pub(crate) struct ServerProcess {
    name: String,
    log: PathBuf,
    child: Child,
}

/// A server over its lives in one folder: at most one process at a time. Dropping it kills that.
#[derive(Debug)]
pub(crate) struct Server {
    name: String,
    running: Mutex<Option<ServerProcess>>,
}

/// What to run.
pub(crate) struct ServerCommand {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<OsString>,
    pub(crate) environment: Vec<(String, OsString)>,
}

/// Looks until the answer is `Some`, and gives up at the deadline or at the first error.
///
/// # Errors
/// When looking fails, or when `timeout` has passed; the error then says that `what` did not happen.
pub fn poll_until<T>(what: &str, timeout: Duration, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look()? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(ServerError::new(format!("{what} did not happen within {timeout:?}")));
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}

/// As [`poll_until`], where looking is asynchronous.
///
/// # Errors
/// As [`poll_until`].
pub async fn eventually<T, F: Future<Output = Result<Option<T>>>>(
    what: &str,
    timeout: Duration,
    mut look: impl FnMut() -> F,
) -> Result<T> {
    let deadline = Instant::now() + timeout;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() >= deadline {
            return Err(ServerError::new(format!("{what} did not happen within {timeout:?}")));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// Sends a signal, named as `kill -s` names it. Processes that are gone are no error.
pub(crate) fn send_signal(signal: &str, process_ids: &[u32]) -> Result<()> {
    // Only the shell's own `kill` is on every machine.
    Command::new("sh")
        .args(["-c", "kill -s \"$0\" \"$@\" 2>/dev/null", signal])
        .args(process_ids.iter().map(u32::to_string))
        .status()
        .map_err(ServerError::doing("running sh to send a signal"))?;
    Ok(())
}

/// Processes whose parent is this one.
pub(crate) fn children_of(process_id: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|candidate| parent_of(*candidate) == Some(process_id))
        .collect()
}

/// From `/proc/PID/stat`: `pid (name, with any characters) state parent …`, see proc(5).
fn parent_of(process_id: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{process_id}/stat")).ok()?;
    let (_, after_name) = stat.rsplit_once(')')?;
    after_name.split_whitespace().nth(1)?.parse().ok()
}

/// Whether no thread of a process runs any more (state `T`, proc(5)).
fn all_threads_stopped(process_id: u32) -> bool {
    let tasks = fs::read_dir(format!("/proc/{process_id}/task"))
        .into_iter()
        .flatten()
        .flatten();
    let mut states = tasks.filter_map(|task| fs::read_to_string(task.path().join("stat")).ok());
    states.all(|stat| {
        stat.rsplit_once(')')
            .is_some_and(|(_, state)| state.trim_start().starts_with('T'))
    })
}

// === impl Account ===

impl Account {
    /// For servers that refuse root: `postgres` where we are root, else nobody but ourselves.
    ///
    /// # Errors
    /// When we are root and there is no account `postgres`.
    pub(crate) fn for_databases() -> Result<Option<Account>> {
        if !running_as_root()? {
            return Ok(None);
        }
        let accounts = fs::read_to_string("/etc/passwd").map_err(ServerError::doing("reading /etc/passwd"))?;
        accounts
            .lines()
            .find_map(Account::parse_postgres)
            .map(Some)
            .ok_or_else(|| {
                ServerError::new("there is no account 'postgres' to run databases as; run tests/services/install")
            })
    }

    fn parse_postgres(line: &str) -> Option<Account> {
        let mut fields = line.split(':');
        if fields.next()? != "postgres" {
            return None;
        }
        Some(Account {
            user_id: fields.nth(1)?.parse().ok()?,
            group_id: fields.next()?.parse().ok()?,
        })
    }
}

// === impl ServerFolder ===

impl ServerFolder {
    /// Makes the folder, owned by the account, and starts its watchdog.
    pub(crate) fn create(name: &str, account: Option<Account>) -> Result<ServerFolder> {
        let path = tempfile::Builder::new()
            .prefix(&format!("tailrace-{name}-"))
            .tempdir()
            .map_err(ServerError::doing("making a temporary folder"))?
            .keep();
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog"])
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal reaches the test process's group; this one has to outlive it.
            .process_group(0)
            .spawn()
            .map_err(ServerError::doing("starting a watchdog"))?;
        let folder = ServerFolder {
            path,
            account,
            watchdog,
        };
        fs::set_permissions(&folder.path, fs::Permissions::from_mode(0o755))
            .map_err(ServerError::doing("opening a temporary folder"))?;
        folder.give_to_account(&folder.path)?;
        Ok(folder)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder that only the server's account can read, as PostgreSQL demands of keys.
    pub(crate) fn write(&self, relative: &str, contents: &[u8]) -> Result<()> {
        let path = self.path.join(relative);
        let attempt = || format!("writing {}", path.display());
        fs::write(&path, contents).map_err(ServerError::doing(attempt()))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(ServerError::doing(attempt()))?;
        self.give_to_account(&path)
    }

    /// Everything that the server has written to its output.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path.join("log")).unwrap_or_default()
    }

    /// Copies a folder with owners and modes, sharing blocks where the file system can.
    pub(crate) fn copy_in(&self, from: &Path, relative: &str) -> Result<()> {
        let to = self.path.join(relative);
        let output = Command::new("cp")
            .args(["-a", "--reflink=auto"])
            .args([from, to.as_path()])
            .output()
            .map_err(ServerError::doing("running cp"))?;
        if output.status.success() {
            return Ok(());
        }
        Err(ServerError::new(format!(
            "copying {} failed: {}",
            from.display(),
            String::from_utf8_lossy(&output.stderr)
        )))
    }

    fn give_to_account(&self, path: &Path) -> Result<()> {
        let Some(account) = self.account else {
            return Ok(());
        };
        chown(path, Some(account.user_id), Some(account.group_id)).map_err(ServerError::doing(format!(
            "giving {} to the server's account",
            path.display()
        )))
    }

    /// Starts a server in this folder, in a process group of its own, its output appended to `FOLDER/log`.
    pub(crate) fn spawn(&self, name: &str, server: ServerCommand) -> Result<ServerProcess> {
        let log = self.path.join("log");
        let output = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(ServerError::doing("opening the server's log"))?;
        let errors = output
            .try_clone()
            .map_err(ServerError::doing("opening the server's log"))?;
        let mut command = Command::new("sh");
        command
            .args(["-c", LAUNCHER])
            .arg(&self.path)
            .arg(server.program)
            .args(server.arguments)
            .envs(server.environment)
            .current_dir(&self.path)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0);
        if let Some(account) = self.account {
            command.uid(account.user_id).gid(account.group_id);
        }
        let child = command
            .spawn()
            .map_err(ServerError::doing(format!("starting {name}")))?;
        Ok(ServerProcess {
            name: name.to_owned(),
            log,
            child,
        })
    }
}

impl Drop for ServerFolder {
    fn drop(&mut self) {
        drop(self.watchdog.stdin.take());
        // Nothing can be done about a failure here, and the watchdog does its work unwatched too.
        drop(self.watchdog.wait());
    }
}

// === impl Server ===

impl Server {
    /// One that does not run yet.
    pub(crate) fn new(name: impl Into<String>) -> Server {
        Server {
            name: name.into(),
            running: Mutex::new(None),
        }
    }

    /// Starts it and waits until it is ready, which is asked with its process id.
    pub(crate) fn start(
        &self,
        folder: &ServerFolder,
        command: ServerCommand,
        deadline: Duration,
        mut is_ready: impl FnMut(u32) -> bool,
    ) -> Result<()> {
        let mut running = folder.spawn(&self.name, command)?;
        let process_id = running.process_id();
        let ready = running.wait_ready(deadline, || is_ready(process_id));
        if ready.is_err() {
            // Its end is all that is wanted; the error to tell is the one at hand.
            drop(running.kill());
        }
        ready?;
        *self.running() = Some(running);
        Ok(())
    }

    /// Asks it to end by a signal and waits for that. No effect where nothing runs.
    pub(crate) fn stop(&self, signal: &str, deadline: Duration) -> Result<()> {
        let mut running = self.running();
        if let Some(process) = running.as_mut() {
            process.signal(signal)?;
            process.wait_exit(deadline)?;
            *running = None;
        }
        Ok(())
    }

    /// SIGKILL to it and to its children, all at once. No effect where nothing runs.
    pub(crate) fn kill(&self) -> Result<()> {
        let mut running = self.running();
        if let Some(process) = running.as_mut() {
            process.kill()?;
            *running = None;
        }
        Ok(())
    }

    /// SIGSTOP: connections stay open and nothing answers, like a network that swallows packets. Returns when every thread has
    /// stopped, because one that was running when the signal came may still answer.
    pub(crate) fn pause(&self) -> Result<()> {
        self.signal("STOP")?;
        let Some(process_id) = self.process_id() else {
            return Ok(());
        };
        poll_until("the stop of every thread", KILL_DEADLINE, || {
            Ok(all_threads_stopped(process_id).then_some(()))
        })
    }

    /// SIGCONT: goes on after `pause`.
    pub(crate) fn resume(&self) -> Result<()> {
        self.signal("CONT")
    }

    /// The process, while there is one.
    pub(crate) fn process_id(&self) -> Option<u32> {
        self.running().as_ref().map(ServerProcess::process_id)
    }

    fn signal(&self, signal: &str) -> Result<()> {
        self.running().as_ref().map_or(Ok(()), |running| running.signal(signal))
    }

    fn running(&self) -> MutexGuard<'_, Option<ServerProcess>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A failure is left to the folder's watchdog.
        drop(self.kill());
    }
}

// === impl ServerProcess ===

impl ServerProcess {
    pub(crate) fn process_id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: &str) -> Result<()> {
        send_signal(signal, &[self.process_id()])
    }

    /// Looks until the server is ready, and no longer than it lives.
    pub(crate) fn wait_ready(&mut self, timeout: Duration, mut is_ready: impl FnMut() -> bool) -> Result<()> {
        let outcome = poll_until(&format!("the start of {}", self.name), timeout, || {
            if is_ready() {
                return Ok(Some(()));
            }
            match self.exited()? {
                Some(status) => Err(ServerError::new(format!(
                    "{} ended while it started: {status}",
                    self.name
                ))),
                None => Ok(None),
            }
        });
        outcome.map_err(|error| self.with_log_tail(&error))
    }

    /// Waits for the end of a server that was told to stop.
    pub(crate) fn wait_exit(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let outcome = poll_until(&format!("the end of {}", self.name), timeout, || self.exited());
        outcome.map_err(|error| self.with_log_tail(&error))
    }

    /// SIGKILL to the server and to its children, all at once; returns when the server is gone.
    pub(crate) fn kill(&mut self) -> Result<ExitStatus> {
        let mut process_ids = vec![self.process_id()];
        process_ids.extend(children_of(self.process_id()));
        send_signal("KILL", &process_ids)?;
        self.wait_exit(KILL_DEADLINE)
    }

    pub(crate) fn exited(&mut self) -> Result<Option<ExitStatus>> {
        self.child
            .try_wait()
            .map_err(ServerError::doing(format!("looking after {}", self.name)))
    }

    fn with_log_tail(&self, error: &ServerError) -> ServerError {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .iter()
            .skip(lines.len().saturating_sub(LOG_TAIL_LINES))
            .copied()
            .collect::<Vec<_>>()
            .join("\n  ");
        ServerError::new(format!("{error}; the end of its log:\n  {tail}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sleeper(folder: &ServerFolder) -> ServerProcess {
        // The folder's name is among the arguments, as it is with real servers.
        let arguments = vec![
            "-c".into(),
            "sleep 600 & wait".into(),
            folder.path().as_os_str().to_owned(),
        ];
        let command = ServerCommand {
            program: "sh".into(),
            arguments,
            environment: Vec::new(),
        };
        let server = folder.spawn("sleeper", command).unwrap();
        poll_until("its child", KILL_DEADLINE, || {
            Ok((!children_of(server.process_id()).is_empty()).then_some(()))
        })
        .unwrap();
        server
    }

    #[test]
    fn the_end_of_the_pipe_takes_the_server_its_children_and_the_folder_away() {
        let folder = ServerFolder::create("watchdog", None).unwrap();
        let mut server = sleeper(&folder);
        let grandchildren = children_of(server.process_id());
        let path = folder.path().to_owned();
        drop(folder);
        server.wait_exit(KILL_DEADLINE).unwrap();
        assert!(!path.exists());
        poll_until("the end of the child", KILL_DEADLINE, || {
            Ok(grandchildren
                .iter()
                .all(|child| !Path::new(&format!("/proc/{child}")).exists())
                .then_some(()))
        })
        .unwrap();
    }

    #[test]
    fn a_process_that_does_not_belong_to_the_folder_is_left_alone() {
        let folder = ServerFolder::create("watchdog", None).unwrap();
        let mut stranger = Command::new("sleep").arg("600").spawn().unwrap();
        folder.write("pids", format!("{}\n", stranger.id()).as_bytes()).unwrap();
        drop(folder);
        assert!(stranger.try_wait().unwrap().is_none());
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }

    #[test]
    fn a_server_that_ends_while_it_starts_shows_its_log() {
        let folder = ServerFolder::create("failing", None).unwrap();
        let arguments = vec!["-c".into(), "echo no such option; exit 3".into()];
        let mut server = folder
            .spawn(
                "failing server",
                ServerCommand {
                    program: "sh".into(),
                    arguments,
                    environment: Vec::new(),
                },
            )
            .unwrap();
        let error = server.wait_ready(KILL_DEADLINE, || false).unwrap_err().to_string();
        assert!(error.contains("failing server ended while it started"), "{error}");
        assert!(error.contains("no such option"), "{error}");
    }
}
