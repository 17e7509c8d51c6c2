//! The one thread that writes, for all producers of the process.
//!
//! Batches queue up while the disk syncs; what has queued up is written as one group and shares one sync, so that many
//! slow connectors cost no more syncs than one. A group is written as a whole or not at all: when anything in it fails,
//! every log it touched is rolled back and each batch is tried alone. The producer of a batch that fails alone is refused
//! from then on, so that nothing overtakes what failed.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use tailrace_core::event::EncodedBatch;
use tailrace_core::ports::Receipt;
use tailrace_core::{Error, Result, failpoint};
use tokio::sync::oneshot;

use crate::config::{FileStreamConfig, FsyncPolicy};
use crate::error::{self, Failure, unopenable};
use crate::lock::{Lock, Refused};
use crate::log::Log;
use crate::record::{RECORD_BYTES_MAX, body_bytes};
use crate::{offsets, retention, topic};

/// File whose lock says that somebody writes.
pub(crate) const LOCK: &str = "writer.lock";
/// A group is closed when it has so many bytes: enough to hide the cost of a sync, little enough that the first batch
/// of the group does not wait long for the last.
const GROUP_BYTES: usize = 8 * 1024 * 1024;
/// How often retention looks at topics that nobody writes to.
const RETENTION_INTERVAL: Duration = Duration::from_secs(60);

/// A batch on its way to the disk.
pub(crate) struct Job {
    pub(crate) batch: EncodedBatch,
    /// Set once a batch of the same producer has failed.
    pub(crate) failed: Arc<AtomicBool>,
    pub(crate) done: oneshot::Sender<Result<Receipt>>,
}

/// The running thread. Dropping it waits until everything that was queued is written, and lets the lock go.
pub(crate) struct WriterThread {
    queue: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// What the thread knows.
struct Writer {
    config: FileStreamConfig,
    logs: Vec<Log>,
    indexes: HashMap<Arc<str>, usize>,
    /// A sync between groups failed: the next group is told.
    sync_failure: Option<Failure>,
    last_sync: Instant,
    last_retention: Option<Instant>,
    _lock: Lock,
}

// === impl Job ===

impl Job {
    /// Nobody may be waiting any more; then nobody is told.
    fn succeed(self) {
        let receipt = Receipt {
            records: self.batch.records.len(),
            bytes: self.batch.buffer.len(),
        };
        self.done.send(Ok(receipt)).ok();
    }

    /// Nothing more of the producer is written.
    fn fail(self, error: Error) {
        self.failed.store(true, Ordering::Release);
        self.done.send(Err(error)).ok();
    }
}

// === impl WriterThread ===

impl WriterThread {
    /// Takes the writer's lock and starts the thread; creates the folder where it is missing.
    pub(crate) fn start(config: &FileStreamConfig) -> Result<Self> {
        fs::create_dir_all(&config.path).map_err(|error| unopenable(&config.path, error))?;
        let lock = take_lock(&config.path)?;
        let (queue, jobs) = channel();
        let mut writer = Writer {
            config: config.clone(),
            logs: Vec::new(),
            indexes: HashMap::new(),
            sync_failure: None,
            last_sync: Instant::now(),
            last_retention: None,
            _lock: lock,
        };
        let thread = std::thread::Builder::new()
            .name("file-stream".to_owned())
            .spawn(move || writer.run(&jobs));
        let thread = thread.map_err(|error| unopenable(&config.path, error))?;
        Ok(Self {
            queue: Mutex::new(Some(queue)),
            thread: Mutex::new(Some(thread)),
        })
    }

    /// A handle that batches are sent with; `None` when the thread ended.
    pub(crate) fn queue(&self) -> Option<Sender<Job>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for WriterThread {
    fn drop(&mut self) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread that writes the file stream panicked");
        }
    }
}

// === impl Writer ===

impl Writer {
    fn run(&mut self, jobs: &Receiver<Job>) {
        loop {
            match jobs.recv_timeout(self.idle_time()) {
                Ok(first) => self.carry(collect(first, jobs)),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.sync_when_due(Instant::now());
            self.retain_when_due(Instant::now());
        }
        if self.config.fsync != FsyncPolicy::Never
            && let Err(failure) = self.sync_all()
        {
            tracing::error!(error = %failure.error(), "the last events may not survive a power cut");
        }
    }

    fn idle_time(&self) -> Duration {
        match self.config.fsync {
            FsyncPolicy::Interval => Duration::from_millis(self.config.fsync_interval_ms).min(RETENTION_INTERVAL),
            FsyncPolicy::Always | FsyncPolicy::Never => RETENTION_INTERVAL,
        }
    }

    /// Writes a group, and tells every batch of it what became of it.
    fn carry(&mut self, group: Vec<Job>) {
        let mut accepted = Vec::with_capacity(group.len());
        for job in group {
            match refusal(&job) {
                Some(error) => job.fail(error),
                None => accepted.push(job),
            }
        }
        let mut touched = Vec::new();
        match self.write(&accepted, &mut touched) {
            Ok(()) => accepted.into_iter().for_each(Job::succeed),
            Err(failure) => {
                self.roll_back(&touched);
                self.fail(accepted, &failure);
            }
        }
    }

    /// One batch is told of its failure; of several, each is tried alone, so that a damaged topic stops only those who
    /// write to it.
    fn fail(&mut self, mut group: Vec<Job>, failure: &Failure) {
        match group.pop() {
            Some(only) if group.is_empty() => only.fail(failure.error()),
            Some(last) => {
                group.push(last);
                group.into_iter().for_each(|job| self.carry(vec![job]));
            }
            None => {}
        }
    }

    /// Writes all batches, in order, each log once. `touched` names the logs that may hold a part when it fails.
    fn write(&mut self, jobs: &[Job], touched: &mut Vec<usize>) -> Result<(), Failure> {
        if let Some(failure) = self.sync_failure.take() {
            touched.extend(0..self.logs.len());
            return Err(failure);
        }
        for job in jobs {
            let indexes = self.logs_of(&job.batch, touched)?;
            for record in &job.batch.records {
                let log = indexes.get(record.topic).and_then(|index| self.logs.get_mut(*index));
                if let Some(log) = log {
                    log.append(&job.batch, record);
                }
            }
        }
        self.each(touched, Log::write)?;
        failpoint!(BeforeFsync);
        if self.config.fsync == FsyncPolicy::Always {
            self.each(touched, Log::sync)?;
        }
        self.each(touched, |log| {
            log.commit();
            Ok(())
        })
    }

    fn each(&mut self, indexes: &[usize], act: impl Fn(&mut Log) -> Result<(), Failure>) -> Result<(), Failure> {
        for index in indexes {
            if let Some(log) = self.logs.get_mut(*index) {
                act(log)?;
            }
        }
        Ok(())
    }

    /// The log of each topic of a batch, ready to be appended to.
    fn logs_of(&mut self, batch: &EncodedBatch, touched: &mut Vec<usize>) -> Result<Vec<usize>, Failure> {
        let mut indexes = Vec::with_capacity(batch.topics.len());
        for name in &batch.topics {
            let index = match self.indexes.get(name) {
                Some(index) => *index,
                None => self.open(name)?,
            };
            indexes.push(index);
            if !touched.contains(&index) {
                touched.push(index);
                // Once per group, before anything of the group is in it.
                self.prepare(index)?;
            }
        }
        Ok(indexes)
    }

    fn open(&mut self, name: &Arc<str>) -> Result<usize, Failure> {
        let definite = |error: Error| match error.kind() {
            tailrace_core::error::Kind::Transient => Failure::Unwritable(error.report()),
            _ => Failure::Definite {
                code: error.code(),
                message: error.report(),
            },
        };
        let folder = topic::create(&self.config.path, name).map_err(definite)?;
        let floor = offsets::highest_stored(&self.config.path, name);
        self.logs.push(Log::open(folder, floor)?);
        self.indexes.insert(Arc::clone(name), self.logs.len() - 1);
        Ok(self.logs.len() - 1)
    }

    fn prepare(&mut self, index: usize) -> Result<(), Failure> {
        let Some(log) = self.logs.get_mut(index) else {
            return Ok(());
        };
        if log.prepare(self.config.segment_bytes)? {
            delete_old(&log.folder, &self.config);
        }
        Ok(())
    }

    fn roll_back(&mut self, touched: &[usize]) {
        for index in touched {
            let Some(log) = self.logs.get_mut(*index) else { continue };
            if let Err(failure) = log.roll_back() {
                tracing::warn!(error = %failure.error(), "taken back before the next write");
            }
        }
    }

    fn sync_when_due(&mut self, now: Instant) {
        let interval = Duration::from_millis(self.config.fsync_interval_ms);
        if self.config.fsync != FsyncPolicy::Interval || now.duration_since(self.last_sync) < interval {
            return;
        }
        self.last_sync = now;
        if let Err(failure) = self.sync_all() {
            tracing::error!(error = %failure.error(), "events of the last interval may not survive a power cut");
            self.sync_failure = Some(failure);
        }
    }

    fn sync_all(&mut self) -> Result<(), Failure> {
        self.logs.iter_mut().try_for_each(Log::sync)
    }

    fn retain_when_due(&mut self, now: Instant) {
        if self
            .last_retention
            .is_some_and(|last| now.duration_since(last) < RETENTION_INTERVAL)
        {
            return;
        }
        self.last_retention = Some(now);
        for log in &mut self.logs {
            let aged = log
                .last_write()
                .is_some_and(|at| retention::is_expired(at, &self.config, SystemTime::now()));
            if aged && let Err(failure) = log.roll() {
                tracing::warn!(error = %failure.error(), "an old segment could not be sealed");
            }
        }
        for name in topic::list(&self.config.path).unwrap_or_default() {
            if let Ok(folder) = topic::partition_folder(&self.config.path, &name) {
                delete_old(&folder, &self.config);
            }
        }
    }
}

/// Retention must not stop the writing: what cannot be deleted now is tried again.
fn delete_old(folder: &Path, config: &FileStreamConfig) {
    if let Err(error) = retention::apply(folder, config, SystemTime::now()) {
        tracing::warn!(folder = %folder.display(), %error, "old segments could not be deleted");
    }
}

/// What has queued up behind a batch, up to the size of a group.
fn collect(first: Job, jobs: &Receiver<Job>) -> Vec<Job> {
    let mut bytes = first.batch.buffer.len();
    let mut group = vec![first];
    while bytes < GROUP_BYTES {
        let Ok(job) = jobs.try_recv() else { break };
        bytes += job.batch.buffer.len();
        group.push(job);
    }
    group
}

/// Why a batch is not even tried.
fn refusal(job: &Job) -> Option<Error> {
    if job.failed.load(Ordering::Acquire) {
        let message = "an earlier batch of this producer was not written; take a new producer";
        return Some(Error::transient(error::UNWRITABLE, message));
    }
    let batch = &job.batch;
    let record = batch
        .records
        .iter()
        .find(|record| body_bytes(batch, record) > RECORD_BYTES_MAX)?;
    let message = format!(
        "an event of topic {} has {} bytes, and the file stream takes up to {RECORD_BYTES_MAX}; leave its large columns \
         out with a transform",
        batch.topic(record),
        body_bytes(batch, record)
    );
    Some(Error::poison(error::TOO_LARGE, message))
}

fn take_lock(root: &Path) -> Result<Lock> {
    Lock::take(&root.join(LOCK)).map_err(|refused| match refused {
        Refused::Failed(error) => unopenable(root, error),
        Refused::Held(holder) => {
            let message = format!(
                "{} is being written by {holder}; stop that Tailrace, or give this stream another `path`",
                root.display()
            );
            Error::definite(error::LOCKED, message)
        }
    })
}
