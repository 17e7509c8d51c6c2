//! The real `tailrace` binary as a process of its own: started on a configuration in a private folder, asked over HTTP,
//! killed, stopped, started again on the same state.
//!
//! Everything that a test waits for is read from the outside, as an operator would: `/status`, `/readyz`, `/metrics`,
//! the exit code, the log.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;

use crate::http::{Answer, Client};
use crate::servers::process::{ServerCommand, ServerFolder, ServerProcess};
use crate::servers::{Port, Result, ServerError, poll_until};

/// A state is reached in a fraction of a second; two cores that also run a JVM and several databases take their time.
const STATE_DEADLINE: Duration = Duration::from_secs(60);

/// Above the daemon's own deadline for draining.
const STOP_DEADLINE: Duration = Duration::from_secs(40);

/// The variable that arms failpoints; see `tailrace_core::failpoint`.
const FAILPOINTS: &str = "TAILRACE_FAILPOINTS";

/// The configuration's name in the daemon's folder.
const CONFIG_FILE: &str = "tailrace.yaml";

/// One daemon: its folder with configuration, state and log, and its process while it runs.
pub struct Daemon {
    port: Port,
    environment: Vec<(String, String)>,
    /// Further settings of the endpoint.
    admin: String,
    /// How it is asked.
    client: Client,
    state_file: PathBuf,
    file_limit_kilobytes: Option<u32>,
    /// Length of the log at the last start.
    log_before: AtomicUsize,
    process: Mutex<Option<ServerProcess>>,
    folder: ServerFolder,
}

/// What a command printed, and how it ended.
#[derive(Clone, Debug)]
pub struct Printed {
    /// The exit code; `None` after a signal.
    pub code: Option<i32>,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
}

/// Where cargo puts the binary: beside the folder of the test executables. `TAILRACE_BINARY` names another one, such as
/// the release that the benchmark measures.
///
/// # Errors
/// When it was not built.
pub fn binary() -> Result<PathBuf> {
    if let Some(binary) = std::env::var_os("TAILRACE_BINARY").filter(|path| !path.is_empty()) {
        return Ok(PathBuf::from(binary));
    }
    let test = std::env::current_exe().map_err(ServerError::doing("asking for the test's own path"))?;
    let folder = test.ancestors().nth(2).unwrap_or(Path::new("."));
    let binary = folder.join("tailrace");
    if binary.is_file() {
        return Ok(binary);
    }
    Err(ServerError::new(format!(
        "{} is missing; run `cargo build` first, as tests/run does",
        binary.display()
    )))
}

// === impl Daemon ===

impl Daemon {
    /// A folder with a configuration made of these sections (`streams:` and `connectors:`), and with `version`, `admin`
    /// and `state` before them. Nothing runs yet.
    ///
    /// # Errors
    /// When the folder cannot be made.
    pub fn new(sections: &str) -> Result<Daemon> {
        let folder = ServerFolder::create("daemon", None)?;
        let state_file = folder.path().join("state/state.db");
        Daemon::in_folder(folder, state_file, sections)
    }

    /// As [`Daemon::new`], with the state of another one.
    ///
    /// # Errors
    /// As [`Daemon::new`].
    pub fn beside(other: &Daemon, sections: &str) -> Result<Daemon> {
        Daemon::in_folder(
            ServerFolder::create("daemon", None)?,
            other.state_file.clone(),
            sections,
        )
    }

    fn in_folder(folder: ServerFolder, state_file: PathBuf, sections: &str) -> Result<Daemon> {
        let port = Port::claim()?;
        let daemon = Daemon {
            client: Client::at(port.number()),
            port,
            environment: Vec::new(),
            admin: String::new(),
            state_file,
            file_limit_kilobytes: None,
            log_before: AtomicUsize::new(0),
            process: Mutex::new(None),
            folder,
        };
        daemon.configure(sections)?;
        Ok(daemon)
    }

    /// From the next start on no file may become larger than this: writing beyond fails, as on a full disk.
    pub fn limit_files(&mut self, kilobytes: Option<u32>) {
        self.file_limit_kilobytes = kilobytes;
    }

    /// Adds an environment variable for the next start.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Takes one away again.
    pub fn unset_variable(&mut self, name: &str) {
        self.environment.retain(|(known, _)| known != name);
    }

    /// Further settings of the endpoint, as in braces, for the next [`Daemon::configure`]; and how it is asked from then on.
    pub fn set_admin(&mut self, settings: &str, client: Client) {
        self.admin = format!(", {settings}");
        self.client = client;
    }

    /// Whoever asks the endpoint in this test.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Writes the configuration anew; it holds from the next start.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, sections: &str) -> Result<()> {
        let text = format!(
            "version: 1\nadmin: {{ listen: 127.0.0.1:{}{} }}\nstate: {{ url: \"sqlite://{}\" }}\n{sections}\n",
            self.port.number(),
            self.admin,
            self.state_file.display()
        );
        self.folder.write(CONFIG_FILE, text.as_bytes())
    }

    /// The daemon's folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// The configuration.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.path().join(CONFIG_FILE)
    }

    /// The state.
    #[must_use]
    pub fn state_file(&self) -> &Path {
        &self.state_file
    }

    /// What the daemon has logged since its last start.
    #[must_use]
    pub fn newest_log(&self) -> String {
        let log = self.log();
        let before = self.log_before.load(Ordering::Relaxed);
        log.get(before..).unwrap_or_default().to_owned()
    }

    /// Everything that the daemon has logged, over all its starts.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.path().join("log")).unwrap_or_default()
    }

    /// Starts `tailrace run` and waits until its endpoint answers.
    ///
    /// # Errors
    /// When it ends instead; the error carries the end of its log.
    pub fn start(&self) -> Result<()> {
        self.start_with(&[])
    }

    /// As [`Daemon::start`], with further arguments.
    ///
    /// # Errors
    /// As [`Daemon::start`].
    pub fn start_with(&self, arguments: &[&str]) -> Result<()> {
        let mut process = self.process();
        let mut running = self.spawn(arguments, None)?;
        let ready = running.wait_ready(STATE_DEADLINE, || self.get("/livez").is_ok());
        if ready.is_err() {
            // Its end is all that is wanted; the error to tell is the one at hand.
            drop(running.kill());
        }
        ready?;
        *process = Some(running);
        Ok(())
    }

    /// Starts `tailrace run` where it is expected to end by itself, and waits for that.
    ///
    /// # Errors
    /// When it is still there after the deadline.
    pub fn run_to_end(&self, arguments: &[&str]) -> Result<ExitStatus> {
        let mut running = self.spawn(arguments, None)?;
        let ended = running.wait_exit(STOP_DEADLINE);
        if ended.is_err() {
            // As above.
            drop(running.kill());
        }
        ended
    }

    /// Starts `tailrace run` with failpoints armed (`after_durable=kill@3`), and waits for nothing: it may be dead by now.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start_armed(&self, failpoints: &str) -> Result<()> {
        *self.process() = Some(self.spawn(&[], Some(failpoints))?);
        Ok(())
    }

    /// Waits until the endpoint answers, whatever it says.
    ///
    /// # Errors
    /// When it does not.
    pub fn wait_for_answer(&self) -> Result<()> {
        poll_until("an answer of the endpoint", STATE_DEADLINE, || {
            Ok(self.get("/livez").ok().map(drop))
        })
    }

    /// How the process ended, where it has; it is then forgotten.
    ///
    /// # Errors
    /// When it was not started.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        let mut process = self.process();
        let running = process
            .as_mut()
            .ok_or_else(|| ServerError::new("the daemon does not run"))?;
        let ended = running.exited()?;
        if ended.is_some() {
            *process = None;
        }
        Ok(ended)
    }

    fn spawn(&self, arguments: &[&str], failpoints: Option<&str>) -> Result<ServerProcess> {
        self.log_before.store(self.log().len(), Ordering::Relaxed);
        let mut all = vec![binary()?.into(), "run".into(), self.config_file().into()];
        all.extend(arguments.iter().map(Into::into));
        let mut script = "exec \"$0\" \"$@\"".to_owned();
        if let Some(kilobytes) = self.file_limit_kilobytes {
            // Ignored, the signal becomes an error of the write; a block is 512 bytes (POSIX).
            script = format!("trap '' XFSZ; ulimit -f {}; {script}", kilobytes * 2);
        }
        all.splice(0..0, ["-c".into(), script.into()]);
        let armed = failpoints.map(|failpoints| (FAILPOINTS.to_owned(), failpoints.into()));
        let environment = self
            .environment
            .iter()
            .map(|(name, value)| (name.clone(), value.into()))
            .chain(armed);
        self.folder.spawn(
            "tailrace",
            ServerCommand {
                program: "sh".into(),
                arguments: all,
                environment: environment.collect(),
            },
        )
    }

    /// Runs a command of the binary on the configuration to its end: `check`, `validate`, `describe`, `tail`, `triggers diff`.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn command(&self, command: &str, arguments: &[&str]) -> Result<Printed> {
        let config = self.config_file();
        let config = config.to_string_lossy();
        let mut all: Vec<&str> = command.split(' ').collect();
        all.push(&*config);
        all.extend(arguments);
        run_binary(&all, self.path(), &self.environment)
    }

    /// SIGKILL: nothing is flushed, nobody is told. No effect when it does not run.
    ///
    /// # Errors
    /// When the process is still there after the deadline.
    pub fn kill9(&self) -> Result<()> {
        let mut process = self.process();
        if let Some(running) = process.as_mut() {
            running.kill()?;
            *process = None;
        }
        Ok(())
    }

    /// SIGTERM, and nothing is waited for.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn ask_to_end(&self) -> Result<()> {
        self.process().as_ref().map_or(Ok(()), |running| running.signal("TERM"))
    }

    /// SIGTERM, and its end.
    ///
    /// # Errors
    /// When it does not run, or is still there after the deadline.
    pub fn terminate(&self) -> Result<ExitStatus> {
        let mut process = self.process();
        let running = process
            .as_mut()
            .ok_or_else(|| ServerError::new("the daemon does not run"))?;
        running.signal("TERM")?;
        let status = running.wait_exit(STOP_DEADLINE)?;
        *process = None;
        Ok(status)
    }

    /// SIGSTOP: as if the machine stood still.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn pause(&self) -> Result<()> {
        self.process().as_ref().map_or(Ok(()), |running| running.signal("STOP"))
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When no signal can be sent.
    pub fn resume(&self) -> Result<()> {
        self.process().as_ref().map_or(Ok(()), |running| running.signal("CONT"))
    }

    /// The running process's id.
    ///
    /// # Errors
    /// When it does not run.
    pub fn process_id(&self) -> Result<u32> {
        let process_id = self.process().as_ref().map(ServerProcess::process_id);
        process_id.ok_or_else(|| ServerError::new("the daemon does not run"))
    }

    /// The most memory that the running process ever held, bytes (`VmHWM` of `/proc/PID/status`, proc(5)).
    ///
    /// # Errors
    /// When it does not run.
    pub fn peak_memory_bytes(&self) -> Result<u64> {
        let process_id = self.process_id()?;
        let status = fs::read_to_string(format!("/proc/{process_id}/status"));
        let status = status.map_err(ServerError::doing("reading the daemon's memory"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes
            .map(|kilobytes| kilobytes * 1024)
            .ok_or_else(|| ServerError::new("there is no VmHWM"))
    }

    /// The endpoint's port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// The endpoint's URL, which is also that of the embedded registry.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port.number())
    }

    /// GET of the endpoint.
    ///
    /// # Errors
    /// When nobody answers, or not in HTTP.
    pub fn get(&self, path: &str) -> Result<Answer> {
        self.client.get(path)
    }

    /// What `/status` says of a connector.
    ///
    /// # Errors
    /// When nobody answers or the connector is not there.
    pub fn connector(&self, name: &str) -> Result<Value> {
        let answer = self.get("/status")?;
        let status: Value = serde_json::from_str(&answer.body).map_err(ServerError::doing("reading /status"))?;
        let connectors = status.get("connectors").and_then(Value::as_array);
        let mut connectors = connectors.into_iter().flatten();
        let found = connectors.find(|connector| connector.get("connector").and_then(Value::as_str) == Some(name));
        found
            .cloned()
            .ok_or_else(|| ServerError::new(format!("/status does not know {name}: {}", answer.body)))
    }

    /// A connector's state: `streaming`, or with its code, `halted:slot_missing`.
    ///
    /// # Errors
    /// As [`Daemon::connector`].
    pub fn state(&self, name: &str) -> Result<String> {
        let connector = self.connector(name)?;
        let text = |key: &str| connector.get(key).and_then(Value::as_str).unwrap_or_default();
        Ok(match text("code") {
            "" => text("state").to_owned(),
            code => format!("{}:{code}", text("state")),
        })
    }

    /// Waits for a state, as [`Daemon::state`] writes it. Without a colon any code will do.
    ///
    /// # Errors
    /// When it is not reached; the error says which one is, why, and what was logged.
    pub fn wait_for_state(&self, name: &str, wanted: &str) -> Result<()> {
        let outcome = poll_until(&format!("the state {wanted} of {name}"), STATE_DEADLINE, || {
            let state = self.state(name)?;
            let reached = state == wanted || state.split(':').next() == Some(wanted);
            if !reached && state.starts_with("halted") {
                // Nothing but a person gets it out of there.
                return Err(ServerError::new(format!("{name} is {state} and will not be {wanted}")));
            }
            Ok(reached.then_some(()))
        });
        outcome.map_err(|error| self.with_status(name, &error))
    }

    /// Waits until something else that `/status` says of a connector is so.
    ///
    /// # Errors
    /// As [`Daemon::wait_for_state`].
    pub fn wait_for(&self, name: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Result<Value> {
        let outcome = poll_until(what, STATE_DEADLINE, || {
            let connector = self.connector(name)?;
            Ok(is_so(&connector).then_some(connector))
        });
        outcome.map_err(|error| self.with_status(name, &error))
    }

    /// An error, and what the daemon says of itself.
    #[must_use]
    pub fn with_status(&self, name: &str, error: &ServerError) -> ServerError {
        let status = self
            .connector(name)
            .map_or_else(|error| error.to_string(), |status| format!("{status:#}"));
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines
            .get(lines.len().saturating_sub(30)..)
            .unwrap_or_default()
            .join("\n  ");
        ServerError::new(format!("{error}; it says: {status}; the end of its log:\n  {tail}"))
    }

    fn process(&self) -> MutexGuard<'_, Option<ServerProcess>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // A failure is left to the folder's watchdog.
        drop(self.kill9());
    }
}

impl Printed {
    /// Both outputs.
    #[must_use]
    pub fn all(&self) -> String {
        format!("{}{}", self.stdout, self.stderr)
    }
}

/// Runs the binary to its end.
///
/// # Errors
/// When it cannot be run.
pub fn run_binary(arguments: &[&str], folder: &Path, environment: &[(String, String)]) -> Result<Printed> {
    let variables = environment.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let output = Command::new(binary()?)
        .args(arguments)
        .current_dir(folder)
        .envs(variables)
        .stdin(Stdio::null())
        .output()
        .map_err(ServerError::doing("running tailrace"))?;
    let Output { status, stdout, stderr } = output;
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Ok(Printed {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    })
}
