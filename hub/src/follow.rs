//! Members that know the number of each message, and get what they missed when they come back.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use sockeye::socket::Join;
use sockeye::{Group, Message};
use tokio::time::timeout;

use crate::archive::{Kept, One};
use crate::counters::HubCounter;
use crate::envelope::{Envelope, Kind, Source};
use crate::error::Error;
use crate::history::History;
use crate::hub::Remote;
use crate::membership::{Interested, Membership};
use crate::seen::Seen;
use crate::state::{State, TopicState};

/// From where a socket [follows](crate::Topic::follow) a topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Start {
    /// From now on.
    #[default]
    Now,
    /// After so many of the last messages that are kept.
    Last(usize),
    /// After what it has seen of the topic, when it followed it before.
    After(Seen),
}

/// What a socket got as it began to [follow](crate::Topic::follow) a topic.
#[derive(Debug)]
#[non_exhaustive]
pub struct Followed {
    /// Its membership, until this is dropped.
    pub member: Membership,
    /// Messages that it has missed and does not get, since they are not kept any more; none where nobody can tell how many.
    pub missed: Option<u64>,
    /// Messages that it got first.
    pub replayed: usize,
    /// What it has seen with them.
    pub seen: Seen,
}

/// How long the store may take to give what it has kept. Then members go without that.
const LOAD_TIMEOUT: Duration = Duration::from_secs(3);

/// A message as followers get it: `@SOURCE:NUMBER`, a line feed, and the message itself; without source and number where it has none, as
/// the backplane did not take it.
pub(crate) fn numbered(message: &Message, number: Option<(Source, u64)>) -> Message {
    let head = number.map_or_else(|| "@\n".to_owned(), |(source, number)| format!("@{source}:{number}\n"));
    match message {
        Message::Text(text) => format!("{head}{text}").into(),
        _ => {
            let payload = message.as_bytes();
            let mut octets = BytesMut::with_capacity(head.len() + payload.len());
            octets.put_slice(head.as_bytes());
            octets.put_slice(payload);
            Message::Binary(octets.freeze())
        }
    }
}

impl TopicState {
    /// Gives a message of this number to those that follow, and keeps it. Under the lock, so that both have one order.
    pub(crate) fn give_numbered(
        &self,
        state: &mut State,
        message: &Message,
        number: Option<(Source, u64)>,
        send: impl FnOnce(&Group, Message) -> sockeye::socket::GroupSend,
    ) -> Option<sockeye::socket::GroupSend> {
        let history = self.hub.options.history.as_ref();
        if state.followers.is_none() && (history.is_none() || number.is_none()) {
            return None;
        }
        let message = numbered(message, number);
        if let (Some(history), Some((source, number))) = (history, number) {
            let one = One { source, number, at: self.hub.now(), message: message.clone() };
            let displaced = self.hub.archive().push(&mut state.kept, one, history);
            self.hub.counts.add(HubCounter::HistoryDisplaced, displaced);
        }
        Some(send(state.followers.as_ref()?, message))
    }

    pub(crate) async fn follow<S: Join>(self: Arc<Self>, socket: &S, start: Start) -> Result<Followed, Error> {
        let interest = Interested::new(self.clone());
        self.subscribed().await?;
        let (hub, mut state) = (&self.hub, self.state());
        let group = state.followers.get_or_insert_with(|| hub.options.group.clone().build()).clone();
        // What this node will say counts from now on, here and on all that hear the topic.
        self.begin_life(&mut state);
        let mut archive = hub.archive();
        if let Some(history) = &hub.options.history {
            archive.let_go_old(&state.kept, hub.now(), history);
        }
        let kept = archive.of(&state.kept);
        let seen = self.position(&state, kept);
        let (replay, missed) = after(&start, &seen, kept);
        drop(archive);
        let replayed = replay.len();
        // Under the lock of all that is sent: nothing comes between what is kept and what is new, or stands in both.
        let member = group.join_with(socket, replay)?;
        drop(state);
        Ok(Followed { member: Membership { member, interest }, missed, replayed, seen })
    }

    /// How many messages each source has sent, as far as is known here.
    fn position(&self, state: &State, kept: Option<&Kept>) -> Seen {
        let own = state.life.as_ref().map(|life| (Source { node: self.hub.node, life: life.number }, life.sent));
        let mut all: Vec<_> =
            own.into_iter().chain(state.sources.iter().flat_map(|sources| sources.counts())).collect();
        all.extend(kept.into_iter().flat_map(Kept::counts));
        // Of each source the highest count stays.
        all.sort_unstable_by_key(|&(source, count)| (source, std::cmp::Reverse(count)));
        all.dedup_by_key(|&mut (source, _)| source);
        Seen::new(all)
    }

    /// The store is asked for what it has kept, once the topic is subscribed to.
    pub(crate) async fn load(self: Arc<Self>, history: History, since: u64) {
        let Some(remote) = &self.hub.remote else { return };
        let stored = timeout(LOAD_TIMEOUT, remote.backplane.kept(&self.channel, history)).await;
        let stored = match stored {
            Ok(Ok(stored)) => stored,
            Ok(Err(error)) => self.not_loaded(&error.to_string()),
            Err(late) => self.not_loaded(&late.to_string()),
        };
        let now = self.hub.now();
        let all = stored.into_iter().filter_map(|(octets, age)| stored_one(&octets, now, age)).collect();
        self.loaded(remote, all, since);
    }

    fn not_loaded(&self, error: &str) -> Vec<(Bytes, Duration)> {
        tracing::warn!(error, "what was kept of a topic cannot be read");
        self.hub.counts.count(HubCounter::BackplaneErrors);
        Vec::new()
    }

    fn loaded(&self, remote: &Remote, stored: Vec<One>, asked: u64) {
        let came = {
            let mut state = self.state();
            // It may have been left since, and be subscribed to anew: then what is there is too old.
            let Some((since, came)) = state.loading().filter(|&(since, _)| since == asked) else { return };
            for one in stored.iter().rev().filter(|one| one.source.node != remote.node) {
                state.sources().stored(one.source, one.number + 1, self.hub.now());
            }
            if let Some(history) = &self.hub.options.history {
                let displaced = self.hub.archive().push_front(&mut state.kept, stored, history);
                self.hub.counts.add(HubCounter::HistoryDisplaced, displaced);
            }
            state.live(since);
            came
        };
        came.notify_waiters();
    }
}

fn stored_one(octets: &Bytes, now: u64, age: Duration) -> Option<One> {
    let (Envelope { kind, source, number, .. }, payload) = Envelope::decode(octets)?;
    let message = match kind {
        Kind::Text => Message::Text(payload.try_into().ok()?),
        Kind::Binary => Message::Binary(payload),
        _ => return None,
    };
    let at = now.saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
    Some(One { source, number, at, message: numbered(&message, Some((source, number))) })
}

/// What is kept for a socket that begins so, and how much is missed, where the topic is at this position.
fn after(start: &Start, position: &Seen, kept: Option<&Kept>) -> (Vec<Message>, Option<u64>) {
    let all = kept.into_iter().flat_map(Kept::all);
    match start {
        Start::Now => (Vec::new(), Some(0)),
        Start::Last(count) => {
            let skipped = all.clone().count().saturating_sub(*count);
            (all.skip(skipped).map(|one| one.message.clone()).collect(), Some(0))
        }
        Start::After(seen) => {
            let is_new = |one: &&One| seen.of(one.source).is_none_or(|count| one.number >= count);
            let new: Vec<_> = all.filter(is_new).collect();
            let missed = count_missed(seen, position, &new, kept);
            (new.into_iter().map(|one| one.message.clone()).collect(), missed)
        }
    }
}

/// How many messages are neither seen nor among the new ones.
fn count_missed(seen: &Seen, position: &Seen, new: &[&One], kept: Option<&Kept>) -> Option<u64> {
    let mut missed = 0;
    for source in position.sources() {
        let mut numbers = new.iter().filter(|one| one.source == source).map(|one| one.number);
        let (got, sent) = (numbers.clone().count() as u64, position.of(source)?);
        let first = match seen.of(source) {
            Some(count) => count,
            // It has sent nothing that was kept when it was asked for the last time, so all is new that is.
            None if kept.is_none_or(|kept| kept.has_lost(source)) => return None,
            None => numbers.next().unwrap_or(sent),
        };
        missed += sent.saturating_sub(first).saturating_sub(got);
    }
    // One that nobody here knows may have sent anything since.
    let is_known = |source| position.of(source).is_some();
    seen.sources().all(is_known).then_some(missed)
}
