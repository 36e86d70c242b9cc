//! What NATS keeps of topics: a stream of JetStream.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use async_nats::Client;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::jetstream::stream::{Config, Stream};
use bytes::Bytes;
use futures_util::StreamExt as _;
use sockeye::BoxError;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::Instant;

use crate::history::History;

pub(crate) struct Store {
    context: Context,
    config: Config,
    stream: Mutex<Found>,
    /// Topics that are read at once.
    reads: Semaphore,
}

#[derive(Default)]
struct Found {
    stream: Option<Stream>,
    /// When it was looked for in vain.
    failed: Option<Instant>,
}

/// Reads at once: after a restart each topic has one.
const READS: usize = 64;
/// How long a request to the server may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);
/// After which time a stream that could not be found or made is looked for again. Publishing waits for it, no longer.
const AGAIN: Duration = Duration::from_secs(10);
/// How long a consumer of a topic is there that nobody reads, should it not be deleted.
const CONSUMER_LIFE: Duration = Duration::from_secs(10);

impl Store {
    pub(crate) fn new(client: Client, config: Config) -> Self {
        let context = ContextBuilder::new().timeout(REQUEST_TIMEOUT).build(client);
        Self { context, config, stream: Mutex::default(), reads: Semaphore::new(READS) }
    }

    /// The stream is there, or cannot be made now: then what is published for it goes nowhere.
    pub(crate) async fn ensure(&self, prefix: &str) {
        if let Err(error) = self.stream(prefix).await {
            tracing::debug!(error, "there is no stream for what topics keep");
        }
    }

    async fn stream(&self, prefix: &str) -> Result<Stream, BoxError> {
        let mut found = self.stream.lock().await;
        if let Some(stream) = &found.stream {
            return Ok(stream.clone());
        }
        if found.failed.is_some_and(|failed| failed.elapsed() < AGAIN) {
            return Err("there was no stream some seconds ago".into());
        }
        let config = Config { subjects: vec![format!("{prefix}-kept.>")], ..self.config.clone() };
        match self.context.get_or_create_stream(config).await {
            Ok(stream) => {
                *found = Found { stream: Some(stream.clone()), failed: None };
                Ok(stream)
            }
            Err(error) => {
                tracing::warn!(%error, name = self.config.name, "the stream for what topics keep cannot be made");
                found.failed = Some(Instant::now());
                Err(error.into())
            }
        }
    }

    /// The last messages of a subject, the oldest first, with their ages.
    pub(crate) async fn read(
        &self,
        prefix: &str,
        subject: &str,
        history: History,
    ) -> Result<Vec<(Bytes, Duration)>, BoxError> {
        let _permit = self.reads.acquire().await?;
        let stream = self.stream(prefix).await?;
        let config = pull::Config {
            deliver_policy: DeliverPolicy::All,
            ack_policy: AckPolicy::None,
            filter_subject: subject.to_owned(),
            inactive_threshold: CONSUMER_LIFE,
            memory_storage: true,
            num_replicas: 1,
            ..Default::default()
        };
        let consumer = match stream.create_consumer(config).await {
            Ok(consumer) => consumer,
            Err(error) => {
                // The stream may have gone: it is looked for again the next time.
                self.stream.lock().await.stream = None;
                return Err(error.into());
            }
        };
        let info = consumer.cached_info();
        let (name, mut rest) = (info.name.clone(), info.num_pending);
        let (mut kept, mut octets) = (VecDeque::<(Bytes, Duration)>::new(), 0);
        while rest > 0 {
            let mut batch = consumer.fetch().max_messages(BATCH).expires(REQUEST_TIMEOUT).messages().await?;
            let before = rest;
            while let Some(message) = batch.next().await {
                let message = message?;
                let info = message.info()?;
                rest = info.pending;
                // The clocks of two machines may differ.
                let age = SystemTime::now().duration_since(info.published.into()).unwrap_or_default();
                octets += message.payload.len();
                kept.push_back((message.payload.clone(), age));
                while kept.len() > history.messages || octets > history.octets {
                    octets -= kept.pop_front().map_or(octets, |(oldest, _)| oldest.len());
                }
            }
            if rest == before {
                break;
            }
        }
        _ = stream.delete_consumer(&name).await;
        Ok(kept.into())
    }
}

/// Messages that are asked for at once.
const BATCH: usize = 256;
