//! Named places where a test has the process die, panic, fail, or tear a write in two.
//!
//! A crash that comes at a random moment tests a random transition, mostly the same few. So each transition, each moment at which
//! the world is different from a moment before (a slot exists that the state does not know of yet, a batch is durable and
//! its checkpoint is not saved yet), has a name here and one line at its place:
//!
//! ```text
//!   failpoint!(StatusSent);                        may die or panic here, or be slow
//!   failpoint!(try AfterEnqueue);                  … or return a transient error
//!   failpoint!(torn SegmentWrite, { half });       … or do half of it and die
//! ```
//!
//! Armed by the environment, for one run of the process: `TAILRACE_FAILPOINTS=after_durable=kill@3` dies by SIGKILL at the third
//! passage. Nothing is flushed, no destructor runs, nobody is told: what a test finds afterwards is what a power cut or
//! the out-of-memory killer would leave (but for what the kernel had not written to the disk). A word that is not known is
//! refused at the start: a test that arms nothing would pass for ever.
//!
//! Invariants: a passage is counted exactly once; the line that says which failpoint was reached is written before the end, so that
//! a test can tell this death from any other; unarmed, a passage costs one relaxed load.
//!
//! Why `cfg(debug_assertions)` and not a feature: cargo unites the features of all packages of one command, so with a feature
//! `cargo build` and `cargo test` would make two different binaries, and it would be a matter of luck which one the tests start. The
//! release binary has none of this: nobody can kill it with an environment variable.

/// Declares [`Failpoint`]: each with its name in the environment and with what may happen there besides an end of the process.
macro_rules! failpoints {
    ($($(#[$meta:meta])* $point:ident $name:literal $place:ident,)*) => {
        /// A transition. The names are part of the failure matrix in the documentation.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Failpoint {
            $($(#[$meta])* $point,)*
        }

        #[cfg(debug_assertions)]
        impl Failpoint {
            /// All of them, in the order in which a connector passes them.
            pub const ALL: &[Self] = &[$(Self::$point,)*];

            /// As the environment calls it.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$point => $name,)*
                }
            }

            fn place(self) -> Place {
                match self {
                    $(Self::$point => Place::$place,)*
                }
            }
        }
    };
}

failpoints! {
    /// The configuration is read; no file is made, nothing is connected.
    AfterConfig "after_config" Plain,
    /// A new state is whole, but under another name.
    StateDraft "state_draft" Plain,
    /// The state knows the connector; the source was not asked for anything.
    BeforeSource "before_source" Fallible,
    /// The publication exists, and nothing is remembered of it.
    AfterPublication "after_publication" Fallible,
    /// The state announces a slot that does not exist yet.
    SlotAnnounced "slot_announced" Fallible,
    /// The slot exists; where it began is not remembered.
    AfterSlotCreate "after_slot_create" Fallible,
    /// The slot is remembered; no row was read.
    AfterSlotSaved "after_slot_saved" Fallible,
    /// Tables were added to the publication, and none of them is read.
    TableAdded "table_added" Fallible,
    /// Rows of the snapshot were read and not handed to the stream; once per batch.
    SnapshotRows "snapshot_rows" Fallible,
    /// The last rows of a table were read and not handed to the stream.
    SnapshotTableFinished "snapshot_table_finished" Fallible,
    /// The last row was handed to the stream; that is not checkpointed.
    SnapshotComplete "snapshot_complete" Fallible,
    /// The checkpoint says that every row is durable; the log is not begun.
    BetweenMarkerAndPromote "between_marker_and_promote" Fallible,
    /// The log is begun, and nothing was read of it.
    AfterPromote "after_promote" Fallible,
    /// Rows of a snapshot that was asked for are about to be handed to the stream, with how far it is; once per batch.
    IncrementalRows "incremental_rows" Fallible,
    /// A change of a transaction was decoded; once per change that is carried.
    InTransaction "in_transaction" Fallible,
    /// A change of a transaction that is still open on the server is about to be held; once per change.
    InStreamedTransaction "in_streamed_transaction" Fallible,
    /// What is held of open transactions is about to go to the disk.
    SpoolSpill "spool_spill" Fallible,
    /// A transaction that was held has committed; nothing of it is handed out.
    StreamCommit "stream_commit" Fallible,
    /// A new version of a table's schema is saved; nothing that uses it was delivered.
    SchemaSaved "schema_saved" Fallible,
    /// Changes of a batch cannot be encoded; nothing is written down of that.
    BeforeQuarantine "before_quarantine" Fallible,
    /// Dead letters of a batch are durable; nothing of the batch was delivered.
    AfterQuarantine "after_quarantine" Fallible,
    /// Dead letters were given to the producer once more; nobody knows what became of them.
    ReplayEnqueued "replay_enqueued" Fallible,
    /// Replayed letters are durable in the stream, and not marked.
    ReplayDurable "replay_durable" Fallible,
    /// Replayed letters are marked.
    ReplayMarked "replay_marked" Fallible,
    /// The topics of a batch exist; the batch was not delivered.
    TopicsReady "topics_ready" Fallible,
    /// A batch was given to the producer; nobody knows what became of it.
    AfterEnqueue "after_enqueue" Fallible,
    /// Records are in the buffer of a segment; torn: half of them are in the file.
    SegmentWrite "segment_write" Torn,
    /// Records are in a segment and not synced.
    BeforeFsync "before_fsync" Plain,
    /// A segment has a name and nothing in it, not even a header.
    SegmentRoll "segment_roll" Plain,
    /// A batch is durable in the stream; that is not checkpointed.
    AfterDurable "after_durable" Fallible,
    /// A checkpoint is about to be written.
    BeforeCheckpoint "before_checkpoint" Fallible,
    /// Half of a checkpoint's transaction is done.
    InCheckpointWrite "in_checkpoint_write" Plain,
    /// The checkpoint is saved; the source was not told.
    AfterCheckpoint "after_checkpoint" Fallible,
    /// The same, of a checkpoint within a transaction.
    AfterPartialCheckpoint "after_partial_checkpoint" Fallible,
    /// The source was told; whether the server knows is open.
    AfterConfirm "after_confirm" Fallible,
    /// Rows of a queue are durable and checkpointed, and neither deleted nor marked.
    BeforeAcknowledge "before_acknowledge" Fallible,
    /// A transaction of the target has its offsets and no row.
    InSinkTransaction "in_sink_transaction" Fallible,
    /// A transaction of the target has its offsets and rows, and is not committed.
    BeforeSinkCommit "before_sink_commit" Fallible,
    /// A transaction of the target is committed, and nobody was told.
    AfterSinkCommit "after_sink_commit" Fallible,
    /// Records could not be written together, and are tried by halves.
    SinkBisect "sink_bisect" Fallible,
    /// The server was sent a higher flushed position; whether it received it is open.
    StatusSent "status_sent" Plain,
}

/// Passes a failpoint; see the module.
#[cfg(debug_assertions)]
#[macro_export]
macro_rules! failpoint {
    (try $point:ident) => {
        $crate::failpoint::pass_or_fail($crate::failpoint::Failpoint::$point)?
    };
    (torn $point:ident, $half:block) => {
        if $crate::failpoint::pass_or_tear($crate::failpoint::Failpoint::$point) {
            $half
            $crate::failpoint::die($crate::failpoint::Failpoint::$point);
        }
    };
    ($point:ident) => {
        $crate::failpoint::pass($crate::failpoint::Failpoint::$point)
    };
}

/// Nothing: a release has no failpoints.
#[cfg(not(debug_assertions))]
#[macro_export]
macro_rules! failpoint {
    ($($anything:tt)*) => {};
}

#[cfg(debug_assertions)]
pub use armed::{arm_from_environment, die, pass, pass_or_fail, pass_or_tear};

#[cfg(debug_assertions)]
use armed::Place;

#[cfg(debug_assertions)]
mod armed {
    use std::io::Write;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
    use std::time::Duration;

    use super::Failpoint;
    use crate::error::{Error, Result};

    /// The variable that arms.
    const VARIABLE: &str = "TAILRACE_FAILPOINTS";

    /// Of one passage that is slow: a few of them take longer than anything that happens at intervals in the pipeline.
    const SLOW: Duration = Duration::from_millis(50);

    /// What the code around a failpoint allows.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub(super) enum Place {
        /// The process may end.
        Plain,
        /// An error may be returned.
        Fallible,
        /// A write may be done by half.
        Torn,
    }

    /// What happens.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Action {
        /// SIGKILL.
        Kill,
        /// A panic of the thread.
        Panic,
        /// A short sleep at each passage, so that something else comes first on the fastest machine too.
        Slow,
        /// A transient error.
        Error,
        /// Half of a write, then SIGKILL.
        Torn,
    }

    /// One entry of the variable.
    #[derive(Debug)]
    struct Armed {
        point: Failpoint,
        action: Action,
        /// The passage at which it happens, from 1.
        at: u64,
        passages: AtomicU64,
    }

    static ANY: AtomicBool = AtomicBool::new(false);
    static ARMED: OnceLock<Vec<Armed>> = OnceLock::new();

    /// Arms what the environment names, once per process.
    ///
    /// # Errors
    /// Definite `failpoint_unknown`, with all names.
    pub fn arm_from_environment() -> Result<()> {
        let text = std::env::var(VARIABLE).unwrap_or_default();
        let armed = parse(&text)?;
        if !armed.is_empty() && ARMED.set(armed).is_ok() {
            tracing::warn!("failpoints are armed: {text}");
            ANY.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Goes on, or ends the process or the thread.
    pub fn pass(point: Failpoint) {
        if ANY.load(Ordering::Relaxed) {
            act(point);
        }
    }

    /// As [`pass`], or fails.
    ///
    /// # Errors
    /// Transient `failpoint`.
    pub fn pass_or_fail(point: Failpoint) -> Result<()> {
        if ANY.load(Ordering::Relaxed) && act(point) == Some(Action::Error) {
            let message = format!("the failpoint {} was armed to fail here", point.name());
            return Err(Error::transient("failpoint", message));
        }
        Ok(())
    }

    /// As [`pass`]; true where half of the write is wanted, and then [`die`].
    pub fn pass_or_tear(point: Failpoint) -> bool {
        ANY.load(Ordering::Relaxed) && act(point) == Some(Action::Torn)
    }

    /// SIGKILL to this process, as nobody can catch it.
    pub fn die(point: Failpoint) -> ! {
        say(point, "killed");
        // It cannot fail: the process is there, and it is ours.
        rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).ok();
        // The signal is on its way; this thread has nothing more to do.
        loop {
            std::thread::park();
        }
    }

    /// The action that is due and is left to the caller.
    fn act(point: Failpoint) -> Option<Action> {
        let armed = ARMED.get()?;
        let action = armed.iter().find_map(|armed| armed.pass(point))?;
        match action {
            Action::Kill => die(point),
            Action::Panic => panic(point),
            Action::Slow => {
                std::thread::sleep(SLOW);
                None
            }
            Action::Error | Action::Torn => {
                say(point, "reached");
                Some(action)
            }
        }
    }

    #[expect(clippy::panic, reason = "a panic is what was asked for")]
    fn panic(point: Failpoint) -> ! {
        say(point, "panics");
        panic!("the failpoint {} was armed to panic", point.name())
    }

    /// Straight to the standard error: no log may hold it back.
    fn say(point: Failpoint, what: &str) {
        drop(writeln!(std::io::stderr(), "failpoint {}: {what}", point.name()));
    }

    fn parse(text: &str) -> Result<Vec<Armed>> {
        let entries = text.split(',').map(str::trim).filter(|entry| !entry.is_empty());
        entries
            .map(|entry| Armed::parse(entry).ok_or_else(|| unknown(entry)))
            .collect()
    }

    fn unknown(entry: &str) -> Error {
        let known = Failpoint::ALL.iter().map(|point| point.name()).collect::<Vec<_>>();
        let message = format!(
            "{VARIABLE} has `{entry}`; write name=kill, name=panic, name=error, name=torn (perhaps with @n behind it) or name=slow. \
             Not every place can fail or tear. The names: {}",
            known.join(" ")
        );
        Error::definite("failpoint_unknown", message)
    }

    // === impl Place ===

    impl Place {
        fn allows(self, action: Action) -> bool {
            match action {
                Action::Kill | Action::Panic | Action::Slow => true,
                Action::Error => self == Place::Fallible,
                Action::Torn => self == Place::Torn,
            }
        }
    }

    // === impl Armed ===

    impl Armed {
        /// `name=action` or `name=action@n`.
        fn parse(entry: &str) -> Option<Self> {
            let (name, rest) = entry.split_once('=')?;
            let (action, at) = match rest.split_once('@') {
                Some((action, at)) => (action, at.parse().ok().filter(|at| *at > 0)?),
                None => (rest, 1),
            };
            let action = match action {
                "kill" => Action::Kill,
                "panic" => Action::Panic,
                "slow" => Action::Slow,
                "error" => Action::Error,
                "torn" => Action::Torn,
                _ => return None,
            };
            let mut points = Failpoint::ALL.iter().copied();
            let point = points.find(|point| point.name() == name && point.place().allows(action))?;
            Some(Self {
                point,
                action,
                at,
                passages: AtomicU64::new(0),
            })
        }

        /// Counts a passage; the action where it is the one, or where each is.
        fn pass(&self, point: Failpoint) -> Option<Action> {
            let passed = self.point == point && self.passages.fetch_add(1, Ordering::Relaxed) + 1 == self.at;
            (passed || self.point == point && self.action == Action::Slow).then_some(self.action)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;
        use std::os::unix::process::ExitStatusExt;
        use std::process::Command;

        #[test]
        fn names_are_unique_and_in_snake_case() {
            let mut names: Vec<&str> = Failpoint::ALL.iter().map(|point| point.name()).collect();
            let is_snake = |name: &&str| name.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_');
            assert!(names.iter().all(is_snake));
            names.sort_unstable();
            names.dedup();
            assert_eq!(names.len(), Failpoint::ALL.len());
        }

        #[test]
        fn it_happens_at_the_passage_that_was_named_and_only_there() {
            let armed = parse("after_durable=kill@3, after_enqueue=error").unwrap();
            let passages: Vec<_> = (0..5).map(|_| armed[0].pass(Failpoint::AfterDurable)).collect();
            assert_eq!(passages, [None, None, Some(Action::Kill), None, None]);
            assert_eq!(armed[1].pass(Failpoint::AfterDurable), None);
            assert_eq!(armed[1].pass(Failpoint::AfterEnqueue), Some(Action::Error));
            assert_eq!(armed[1].pass(Failpoint::AfterEnqueue), None);
            let slow = &parse("after_enqueue=slow").unwrap()[0];
            let passages: Vec<_> = (0..3).map(|_| slow.pass(Failpoint::AfterEnqueue)).collect();
            assert_eq!(passages, [Some(Action::Slow); 3]);
        }

        #[test]
        fn what_is_not_known_is_refused_with_the_list() {
            for wrong in [
                "after_durabel=kill",
                "after_durable",
                "after_durable=stop",
                "after_durable=kill@0",
                "after_durable=kill@",
                "after_durable=torn",
                "status_sent=error",
            ] {
                let error = parse(wrong).unwrap_err();
                assert_eq!(error.code(), "failpoint_unknown");
                assert!(error.report().contains("between_marker_and_promote"), "{wrong}");
            }
            assert!(parse("").unwrap().is_empty());
            assert_eq!(parse("segment_write=torn").unwrap().len(), 1);
        }

        /// Runs itself again with the variable set.
        #[test]
        fn a_process_that_is_armed_dies_by_signal_nine() {
            if std::env::var(VARIABLE).is_ok() {
                arm_from_environment().unwrap();
                pass(Failpoint::AfterConfig);
                assert!(pass_or_fail(Failpoint::AfterEnqueue).is_err());
                pass(Failpoint::AfterConfig);
                unreachable!("the second passage kills");
            }
            let name = "failpoint::armed::tests::a_process_that_is_armed_dies_by_signal_nine";
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", name, "--nocapture"])
                .env(VARIABLE, "after_config=kill@2,after_enqueue=error")
                .output()
                .unwrap();
            let printed = String::from_utf8(child.stderr).unwrap();
            assert_eq!(child.status.signal(), Some(9), "{printed}");
            assert!(printed.ends_with("failpoint after_config: killed\n"), "{printed}");
        }
    }
}
