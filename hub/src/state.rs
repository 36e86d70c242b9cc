//! What a node knows of a topic: its members here, whether it is subscribed to, what was sent and what was heard.

use std::num::NonZeroU64;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use sockeye::socket::Member;
use sockeye::{ByteString, Group, Message};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout_at};

use crate::archive::Place;
use crate::builder::WhenDown;
use crate::counters::HubCounter;
use crate::envelope::{Aging, Envelope, Kind, SIZE, Source};
use crate::error::Error;
use crate::hub::{Remote, Shared};
use crate::name::node_channel;
use crate::presence::Presence;
use crate::queue::{Queued, Task};
use crate::quiet::Telling;
use crate::sources::{Arrival, Sources, When};
use crate::topic::TopicSend;

pub(crate) struct TopicState {
    pub(crate) hub: Arc<Shared>,
    pub(crate) channel: Arc<str>,
    /// Those that get messages as they are.
    pub(crate) group: Group,
    state: Mutex<State>,
}

#[derive(Default)]
pub(crate) struct State {
    subscription: Subscription,
    /// Those that get messages with their numbers.
    pub(crate) followers: Option<Group>,
    /// Memberships, joins that are under way, and one for as long as the topic lingers.
    pub(crate) interested: u32,
    /// Once this node has sent something.
    pub(crate) life: Option<Box<Life>>,
    telling: Telling,
    /// Once others have.
    pub(crate) sources: Option<Box<Sources>>,
    pub(crate) kept: Place,
    /// Since when nobody has been there for whom it is heard, where it lingers.
    pub(crate) lingers: Option<NonZeroU64>,
}

/// Whether the node gets what others send.
#[derive(Default)]
enum Subscription {
    #[default]
    None,
    /// It has asked for it, and waits for its marker of this number.
    Asked(Box<Awaited>),
    /// It gets all since this time, and waits for what the store has kept.
    Loading(Box<Awaited>),
    /// It gets all since this time, in microseconds since the hub began.
    Live { since: u64 },
}

/// What is awaited before members get what others send. Boxed, since it is for a moment.
struct Awaited {
    number: u64,
    /// When another marker is to be sent, in microseconds since the hub began.
    again: u64,
    came: Arc<Notify>,
}

/// A service has a million topics.
const _: () = assert!(size_of::<TopicState>() <= 104);

/// The numbers that this node gives its messages.
#[derive(Clone, Copy)]
pub(crate) struct Life {
    pub(crate) number: u32,
    /// In microseconds since the hub began.
    began: u64,
    /// Messages that were sent.
    pub(crate) sent: u64,
}

/// How long a marker may take before another is sent: it may be lost with a connection.
const MARKER_WAIT: Duration = Duration::from_millis(250);

impl TopicState {
    pub(crate) fn new(hub: Arc<Shared>, channel: Arc<str>) -> Self {
        let group = hub.options.group.clone().build();
        Self { hub, channel, group, state: Mutex::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends to the members here, and to the others as far as may be. Under the lock, so that all have one order.
    pub(crate) fn send(self: &Arc<Self>, message: Message, except: Option<&Member>) -> TopicSend {
        let counts = &self.hub.counts;
        let here = |group: &Group, message| match except {
            Some(member) => group.send_except(member, message),
            None => group.send(message),
        };
        let Some(remote) = &self.hub.remote else {
            counts.count(HubCounter::Sent);
            let mut state = self.state();
            if self.hub.options.history.is_none() && state.followers.is_none() {
                drop(state);
                return TopicSend { here: [Some(here(&self.group, message)), None], outcome: None };
            }
            let number = Some(self.life(&mut state).next(self.hub.node));
            let numbered = self.give_numbered(&mut state, &message, number, here);
            let plain = here(&self.group, message);
            if state.interested <= u32::from(state.lingers.is_some()) {
                self.linger(state);
            }
            return TopicSend { here: [Some(plain), numbered], outcome: None };
        };
        let max = remote.backplane.max_payload().saturating_sub(SIZE);
        if message.len() > max {
            counts.count(HubCounter::TooLarge);
            return TopicSend { here: [None, None], outcome: Some(Error::TooLarge { size: message.len(), max }) };
        }
        let is_down = self.hub.options.when_down == WhenDown::Error && !remote.is_up();
        let kind = if message.is_text() { Kind::Text } else { Kind::Binary };
        let mut state = self.state();
        let published = match is_down {
            true => {
                counts.count(HubCounter::Refused);
                Err(Error::Down)
            }
            false => self.publish(remote, &mut state, kind, message.as_bytes()),
        };
        let numbered = self.give_numbered(&mut state, &message, published.as_ref().ok().copied(), here);
        let plain = here(&self.group, message);
        drop(state);
        counts.count(HubCounter::Sent);
        TopicSend { here: [Some(plain), numbered], outcome: published.err() }
    }

    fn life<'a>(&self, state: &'a mut State) -> &'a mut Life {
        let new = || Box::new(Life { number: self.hub.number(), began: self.hub.now(), sent: 0 });
        state.life.get_or_insert_with(new)
    }

    /// Begins to number this node's messages, if it has not, and says so.
    pub(crate) fn begin_life(self: &Arc<Self>, state: &mut State) {
        if state.life.is_none() {
            self.life(state);
            self.hub.remote.iter().for_each(|remote| self.tell_position_in_time(remote, state));
        }
    }

    fn publish(
        self: &Arc<Self>,
        remote: &Remote,
        state: &mut State,
        kind: Kind,
        payload: &[u8],
    ) -> Result<(Source, u64), Error> {
        let life = self.life(state);
        let octets = life.envelope(remote, kind, life.sent, self.hub.now()).encode(payload);
        let number = match self.hub.queue(remote, &self.channel, octets) {
            Queued::Refused => return Err(Error::QueueFull),
            // What is dropped has its number, which others will find missing.
            Queued::Taken { .. } | Queued::Dropped => life.next(remote.node),
        };
        self.begin_telling(remote, state, number.1 + 1);
        Ok(number)
    }

    /// What was to be told at this stage is due, where so much was sent when that was said. What is to be told next.
    pub(crate) fn tell(&self, stage: usize, sent: u64, stages: usize) -> Option<(usize, u64)> {
        let remote = self.hub.remote.as_ref()?;
        let mut state = self.state();
        // A message has begun it anew meanwhile.
        if state.telling != Telling::Awaited(stage as u8) {
            return None;
        }
        let life = *state.life.as_deref()?;
        if life.sent != sent {
            // A message has begun it anew, and what it began has come as far as this.
            return (stage == 0).then_some((0, life.sent));
        }
        if !self.tell_position(remote, life, Kind::Position) {
            return Some((stage, sent));
        }
        let next = stage + 1;
        state.telling = if next < stages { Telling::Awaited(next as u8) } else { Telling::Done };
        (next < stages).then_some((next, sent))
    }

    /// Tells how much was sent, among the messages, in whose order it stands. Whether it has a place there.
    fn tell_position(&self, remote: &Remote, life: Life, kind: Kind) -> bool {
        let octets = life.envelope(remote, kind, life.sent, self.hub.now()).encode(&[]);
        remote.queue.note(&self.channel, octets)
    }

    /// The same, and later where it has no place now.
    fn tell_position_in_time(self: &Arc<Self>, remote: &Remote, state: &mut State) {
        if let Some(&life) = state.life.as_deref()
            && !self.tell_position(remote, life, Kind::Position)
        {
            self.begin_telling(remote, state, life.sent);
        }
    }

    fn begin_telling(self: &Arc<Self>, remote: &Remote, state: &mut State, sent: u64) {
        if state.telling != Telling::FIRST {
            state.telling = Telling::FIRST;
            remote.quiet.begin(self, sent);
        }
    }

    /// The backplane is connected again. Whatever was lost, both sides get to know of it.
    pub(crate) fn reconnected(self: &Arc<Self>) {
        let Some(remote) = &self.hub.remote else { return };
        let mut state = self.state();
        self.tell_position_in_time(remote, &mut state);
        if let Subscription::Loading(_) | Subscription::Live { .. } = state.subscription {
            let ask = Aging::new(remote.note(Kind::Ask, 0));
            remote.queue.control(Task::Publish(self.channel.clone(), ask));
        }
    }

    pub(crate) fn gain_interest(&self) {
        self.state().interested += 1;
    }

    pub(crate) fn lose_interest(self: &Arc<Self>) {
        let mut state = self.state();
        debug_assert!(state.interested > 0, "who leaves was there");
        state.interested -= 1;
        let alone = u32::from(state.lingers.is_some());
        if state.interested > alone {
            return;
        }
        let state = self.linger(state);
        if let Some(mut state) = state
            && state.interested == 0
        {
            self.unsubscribe(&mut state);
        }
    }

    /// Nobody is interested. Under the lock, so that a later subscription comes after it.
    pub(crate) fn unsubscribe(&self, state: &mut State) {
        state.sources = None;
        self.keep_nothing(state);
        let before = std::mem::take(&mut state.subscription);
        if let (Some(remote), false) = (&self.hub.remote, matches!(before, Subscription::None)) {
            remote.queue.control(Task::Unsubscribe(self.channel.clone()));
        }
    }

    fn keep_nothing(&self, state: &mut State) {
        if !state.kept.is_none() {
            self.hub.archive().clear(&mut state.kept);
        }
    }

    /// Waits until the topic is subscribed to. Cancel safe.
    pub(crate) async fn subscribed(&self) -> Result<(), Error> {
        let Some(remote) = &self.hub.remote else { return Ok(()) };
        let is_live = self.state().is_live();
        // Boxed: a handler has room for this for as long as it lives, and needs it for a moment.
        if is_live { Ok(()) } else { Box::pin(self.until_subscribed(remote)).await }
    }

    async fn until_subscribed(&self, remote: &Remote) -> Result<(), Error> {
        let time = self.hub.options.join_timeout;
        let deadline = Instant::now() + time;
        loop {
            let Some(came) = self.subscribe(remote) else { return Ok(()) };
            let mut notified = pin!(came.notified());
            notified.as_mut().enable();
            // It may have come just before.
            if let Subscription::Live { .. } = self.state().subscription {
                return Ok(());
            }
            let next = deadline.min(Instant::now() + MARKER_WAIT);
            if timeout_at(next, notified).await.is_err() && Instant::now() >= deadline {
                self.hub.counts.count(HubCounter::JoinTimeouts);
                return Err(Error::JoinTimeout(time));
            }
        }
    }

    /// Asks for a subscription where there is none, and for another marker where none has come in time: once for all that wait. What to
    /// wait for.
    fn subscribe(&self, remote: &Remote) -> Option<Arc<Notify>> {
        let (mut state, now) = (self.state(), self.hub.now());
        match &mut state.subscription {
            Subscription::Live { .. } => None,
            Subscription::Asked(awaited) => {
                if now >= awaited.again {
                    awaited.again = now + MARKER_WAIT.as_micros() as u64;
                    remote.queue.ask(&self.channel, remote.note(Kind::Marker, awaited.number));
                }
                Some(awaited.came.clone())
            }
            Subscription::Loading(awaited) => Some(awaited.came.clone()),
            Subscription::None => {
                let (number, came) = (u64::from(self.hub.number()), Arc::<Notify>::default());
                // Where it has no room it is asked for again after a while.
                if remote.queue.subscribe(&self.channel, remote.note(Kind::Marker, number)) {
                    let again = now + MARKER_WAIT.as_micros() as u64;
                    let awaited = Awaited { number, again, came: came.clone() };
                    state.subscription = Subscription::Asked(Box::new(awaited));
                }
                Some(came)
            }
        }
    }

    /// Something came on the topic's channel.
    pub(crate) fn hear(self: &Arc<Self>, remote: &Remote, envelope: &Envelope, payload: Bytes) {
        let mut state = self.state();
        let Envelope { kind, source, number, age } = *envelope;
        let now = self.hub.now();
        if source.node == remote.node {
            if let (Kind::Marker, Subscription::Asked(awaited)) = (kind, &state.subscription)
                && awaited.number == number
            {
                let came = awaited.came.clone();
                if self.hub.options.history.is_some() {
                    // How far the others are: for who comes back, and has seen it elsewhere.
                    remote.queue.ask(&self.channel, remote.note(Kind::Ask, 0));
                }
                if let Some(history) = self.hub.options.history.filter(|_| remote.backplane.keeps()) {
                    state.subscription = Subscription::Loading(Box::new(Awaited { number: now, again: 0, came }));
                    tokio::spawn(self.clone().load(history, now));
                    return;
                }
                state.live(now);
                drop(state);
                came.notify_waiters();
            }
            // Members here have all that the node has sent.
            return;
        }
        let since = match &state.subscription {
            Subscription::Loading(awaited) => awaited.number,
            Subscription::Live { since } => *since,
            Subscription::None | Subscription::Asked(_) => return,
        };
        let when = When { now, since };
        match kind {
            Kind::Text | Kind::Binary => match state.sources().message(source, number, age, when) {
                Arrival::Double => self.hub.counts.count(HubCounter::Doubles),
                Arrival::New { missed } => {
                    self.miss(&state, missed);
                    self.deliver(&mut state, kind, payload, (source, number));
                }
            },
            Kind::Position => {
                let missed = state.sources().position(source, number, age, when);
                self.miss(&state, missed);
            }
            Kind::End => {
                let missed = state.sources().position(source, number, age, when);
                self.miss(&state, missed);
                state.sources().end(source);
            }
            Kind::Ask => self.tell_position_in_time(remote, &mut state),
            Kind::Count => {
                let members = self.members_by(&state) as u64;
                if members > 0 {
                    let source = Source { node: remote.node, life: 0 };
                    let answer = Envelope { kind: Kind::Counted, source, number, age: members };
                    remote.queue.note(&node_channel(envelope.source.node).into(), answer.encode(&[]));
                }
            }
            Kind::Marker | Kind::Counted => {}
        }
    }

    /// Members are told of what is lost.
    fn miss(&self, state: &State, messages: u64) {
        if messages > 0 {
            self.hub.counts.add(HubCounter::Missed, messages);
            self.group.miss(messages);
            state.followers.iter().for_each(|followers| followers.miss(messages));
        }
    }

    /// Members on this node.
    pub(crate) fn members(&self) -> usize {
        self.members_by(&self.state())
    }

    fn members_by(&self, state: &State) -> usize {
        self.group.len() + state.followers.as_ref().map_or(0, Group::len)
    }

    /// Whoever is behind is not waited for: the one who reads for all topics never waits.
    fn deliver(&self, state: &mut State, kind: Kind, payload: Bytes, number: (Source, u64)) {
        let message = match kind {
            Kind::Binary => Message::Binary(payload),
            _ => match ByteString::try_from(payload) {
                Ok(text) => Message::Text(text),
                Err(_) => {
                    self.hub.counts.count(HubCounter::Malformed);
                    return self.miss(state, 1);
                }
            },
        };
        self.hub.counts.count(HubCounter::Received);
        drop(self.give_numbered(state, &message, Some(number), Group::send));
        drop(self.group.send(message));
    }

    pub(crate) async fn all_members(&self) -> Presence {
        let Some(remote) = &self.hub.remote else { return Presence { here: self.members(), elsewhere: Vec::new() } };
        let number = u64::from(self.hub.number());
        let request = remote.requests.begin(number);
        remote.queue.ask(&self.channel, remote.note(Kind::Count, number));
        tokio::time::sleep(self.hub.options.presence_wait).await;
        Presence { here: self.members(), elsewhere: request.answers() }
    }
}

impl State {
    pub(crate) fn sources(&mut self) -> &mut Sources {
        self.sources.get_or_insert_default()
    }

    /// Whether the topic is heard.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.subscription, Subscription::Live { .. })
    }

    /// Since when the topic is heard, and who waits, where what is stored is awaited.
    pub(crate) fn loading(&self) -> Option<(u64, Arc<Notify>)> {
        match &self.subscription {
            Subscription::Loading(awaited) => Some((awaited.number, awaited.came.clone())),
            _ => None,
        }
    }

    pub(crate) fn live(&mut self, since: u64) {
        self.subscription = Subscription::Live { since };
    }
}

impl Life {
    /// The number of one message more.
    fn next(&mut self, node: u64) -> (Source, u64) {
        self.sent += 1;
        (Source { node, life: self.number }, self.sent - 1)
    }

    fn envelope(&self, remote: &Remote, kind: Kind, number: u64, now: u64) -> Envelope {
        let source = Source { node: remote.node, life: self.number };
        Envelope { kind, source, number, age: now.saturating_sub(self.began) }
    }
}

impl Drop for TopicState {
    fn drop(&mut self) {
        self.hub.forget(&self.channel);
        let life = {
            let mut state = self.state();
            self.keep_nothing(&mut state);
            state.life.take()
        };
        if let (Some(remote), Some(life)) = (&self.hub.remote, life) {
            self.tell_position(remote, *life, Kind::End);
        }
    }
}
