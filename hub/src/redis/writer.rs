//! The task that gives a server what it is asked, over one connection after the other.

use std::collections::HashSet;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until};

use super::arriving::{Happened, Inbox};
use super::link::{Link, Server};
use crate::envelope::Aging;

/// What the hub asks for.
pub(super) enum Ask {
    Subscribe(String),
    Unsubscribe(String),
    Publish {
        channel: String,
        payload: Aging,
        /// Its part of what may be unconfirmed, for as long as it is.
        _room: OwnedSemaphorePermit,
    },
}

/// What is asked for at once: one round trip.
const AT_ONCE: usize = 1024;

/// How long nothing is asked before it is seen whether the server is there.
const SILENCE: Duration = Duration::from_secs(5);

/// When all subscriptions of a cluster are asked for again: the client may make a connection to one of the servers anew, as to one
/// that has come back, and say nothing of the subscriptions that the old one had. What came meanwhile shows by its numbers.
const FIRST_AGAIN: Duration = Duration::from_secs(2);
const AGAIN: Duration = Duration::from_secs(20);

/// The longest of the first wait for another connection, and of any.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const MAX_WAIT: Duration = Duration::from_secs(4);

pub(super) struct Writer {
    server: Server,
    is_sharded: bool,
    asked: mpsc::UnboundedReceiver<Ask>,
    inbox: Inbox,
    /// Whether there is a connection.
    is_up: watch::Sender<bool>,
    /// Channels that are subscribed to on every connection.
    channels: HashSet<String>,
    /// What is not confirmed.
    batch: Vec<Ask>,
}

impl Writer {
    pub(super) fn new(
        server: Server,
        is_sharded: bool,
        asked: mpsc::UnboundedReceiver<Ask>,
        inbox: Inbox,
        is_up: watch::Sender<bool>,
    ) -> Self {
        Self { server, is_sharded, asked, inbox, is_up, channels: HashSet::new(), batch: Vec::new() }
    }

    /// Until the backplane is gone, and all that it asked for is confirmed, or there is no server.
    pub(super) async fn run(mut self) {
        let (mut wait, mut is_known_down) = (FIRST_WAIT, false);
        loop {
            match self.connect().await {
                Ok(mut link) => {
                    (wait, is_known_down) = (FIRST_WAIT, false);
                    self.inbox.say(Happened::Connected).await;
                    self.is_up.send_replace(true);
                    if self.serve(&mut link).await.is_none() {
                        return;
                    }
                    self.is_up.send_replace(false);
                }
                Err(error) if is_known_down => tracing::debug!(%error, "the server is not reached"),
                Err(error) => tracing::warn!(%error, "the server is not reached"),
            }
            if self.asked.is_closed() {
                return;
            }
            if !std::mem::replace(&mut is_known_down, true) {
                self.inbox.say(Happened::Disconnected).await;
            }
            // Not all machines at once.
            let part = rand::random::<f64>();
            sleep(wait.mul_f64(part)).await;
            wait = MAX_WAIT.min(wait * 2);
        }
    }

    /// A connection that has all subscriptions.
    async fn connect(&mut self) -> redis::RedisResult<Link> {
        let mut link = self.server.connect(self.is_sharded, &self.inbox).await?;
        self.subscribe(&mut link).await?;
        Ok(link)
    }

    /// Subscribes to all channels, which changes nothing for those that are subscribed to.
    async fn subscribe(&self, link: &mut Link) -> redis::RedisResult<()> {
        let mut all: Vec<_> = self.channels.iter().cloned().map(Ask::Subscribe).collect();
        for some in all.chunks_mut(AT_ONCE) {
            self.refused(link.ask(some).await?).await;
        }
        Ok(())
    }

    /// Until the connection is lost; nothing once nobody asks any more.
    async fn serve(&mut self, link: &mut Link) -> Option<()> {
        let mut again = Instant::now() + FIRST_AGAIN;
        loop {
            if self.batch.is_empty() {
                tokio::select! {
                    biased;
                    () = link.lost() => return Some(()),
                    () = sleep_until(again), if link.is_cluster() => {
                        if self.subscribe(link).await.is_err() {
                            return Some(());
                        }
                        again = Instant::now() + AGAIN;
                        continue;
                    }
                    count = self.asked.recv_many(&mut self.batch, AT_ONCE) => {
                        if count == 0 {
                            return None;
                        }
                    }
                    () = sleep(SILENCE) => {
                        if link.ping().await.is_err() {
                            return Some(());
                        }
                        continue;
                    }
                }
                for ask in &self.batch {
                    match ask {
                        Ask::Subscribe(channel) => _ = self.channels.insert(channel.clone()),
                        Ask::Unsubscribe(channel) => _ = self.channels.remove(channel),
                        Ask::Publish { .. } => {}
                    }
                }
            }
            match link.ask(&mut self.batch).await {
                Ok(refused) => {
                    self.batch.clear();
                    self.refused(refused).await;
                }
                Err(error) => {
                    tracing::debug!(%error, "the connection is lost");
                    return Some(());
                }
            }
        }
    }

    async fn refused(&self, reasons: Vec<String>) {
        for why in reasons {
            self.inbox.say(Happened::Refused(why)).await;
        }
    }
}

impl Ask {
    pub(super) fn channel(&self) -> &str {
        match self {
            Self::Subscribe(channel) | Self::Unsubscribe(channel) | Self::Publish { channel, .. } => channel,
        }
    }
}
