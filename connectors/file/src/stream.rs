//! The port: a stream of files, its producers and consumers.

use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tailrace_core::check::Finding;
use tailrace_core::event::EncodedBatch;
use tailrace_core::grants::{Script, TopicUse};
use tailrace_core::ports::sink::{Subscription, SubscriptionSpec};
use tailrace_core::ports::{Consumer, ConsumerSpec, EventStream, Producer, Receipt, TopicSpec};
use tailrace_core::{Error, Result};
use tokio::sync::oneshot;

use crate::config::FileStreamConfig;
use crate::consumer::FileConsumer;
use crate::subscription::FileSubscription;
use crate::writer::{Job, WriterThread};
use crate::{check, error, grants, topic};

/// An event stream in files. All connectors of a process that write to one folder share one of these: it holds the
/// folder's lock from its first producer until it is dropped.
pub struct FileStream {
    config: FileStreamConfig,
    writer: Mutex<Option<Arc<WriterThread>>>,
}

/// Hands batches to the writer's thread.
struct FileProducer {
    queue: Sender<Job>,
    failed: Arc<AtomicBool>,
    /// Keeps the thread running while somebody may deliver.
    _writer: Arc<WriterThread>,
}

// === impl FileStream ===

impl FileStream {
    /// A stream by configuration; nothing is opened yet.
    ///
    /// # Errors
    /// Definite `stream_config_invalid`.
    pub fn new(config: FileStreamConfig) -> Result<Self> {
        config.validate()?;
        Ok(Self {
            config,
            writer: Mutex::new(None),
        })
    }

    /// The folder of the stream.
    pub fn path(&self) -> &Path {
        &self.config.path
    }

    fn writer(&self) -> Result<Arc<WriterThread>> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(running) = writer.as_ref() {
            return Ok(Arc::clone(running));
        }
        let started = Arc::new(WriterThread::start(&self.config)?);
        *writer = Some(Arc::clone(&started));
        Ok(started)
    }
}

#[async_trait]
impl EventStream for FileStream {
    async fn check(&self, topics: &[TopicSpec]) -> Vec<Finding> {
        check::check(&self.config, topics)
    }

    fn grants(&self, uses: &[TopicUse]) -> Script {
        grants::of_stream(&self.config.path, uses)
    }

    fn held_by(&self) -> Option<u32> {
        check::held_by(&self.config.path)
    }

    async fn ensure_topic(&self, topic: &TopicSpec) -> Result<()> {
        topic::create(&self.config.path, &topic.name).map(drop)
    }

    async fn producer(&self) -> Result<Box<dyn Producer>> {
        let writer = self.writer()?;
        let queue = writer.queue().ok_or_else(stopped)?;
        Ok(Box::new(FileProducer {
            queue,
            failed: Arc::new(AtomicBool::new(false)),
            _writer: writer,
        }))
    }

    async fn consumer(&self, spec: ConsumerSpec) -> Result<Box<dyn Consumer>> {
        Ok(Box::new(FileConsumer::open(&self.config.path, &spec)?))
    }

    async fn subscribe(&self, spec: SubscriptionSpec) -> Result<Box<dyn Subscription>> {
        Ok(Box::new(FileSubscription::open(&self.config.path, &spec)?))
    }

    async fn topics(&self) -> Result<Vec<String>> {
        topic::list(&self.config.path)
    }
}

// === impl FileProducer ===

impl Producer for FileProducer {
    fn deliver(&mut self, batch: EncodedBatch) -> BoxFuture<'static, Result<Receipt>> {
        let (done, outcome) = oneshot::channel();
        let job = Job {
            batch,
            failed: Arc::clone(&self.failed),
            done,
        };
        if self.queue.send(job).is_err() {
            return ready(Err(stopped())).boxed();
        }
        async move { outcome.await.unwrap_or_else(|_| Err(stopped())) }.boxed()
    }
}

fn stopped() -> Error {
    let message = "the thread that writes the file stream has ended; restart Tailrace, and report what the log says";
    Error::transient(error::UNWRITABLE, message)
}
