//! Topics that nobody is a member of any more, and that are heard for some time still: for those that come back.

use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::task::coop::consume_budget;
use tokio::time::sleep;

use crate::counters::HubCounter;
use crate::hub::Shared;
use crate::state::{State, TopicState};

/// Topics that linger at once; past that the first of them go.
const MAX_TOPICS: usize = 65_536;
/// How often it is looked at least, while there are some.
const TICK: Duration = Duration::from_secs(1);

#[derive(Default)]
pub(crate) struct Lingering(Mutex<Queue>);

#[derive(Default)]
struct Queue {
    /// All linger for the same time: the first is the first to go. Times are microseconds since the hub began.
    topics: VecDeque<(u64, Arc<TopicState>)>,
    /// A task is there that lets them go.
    is_swept: bool,
}

/// What the task does next.
enum Next {
    /// The first one's time is over.
    LetGo(Arc<TopicState>),
    /// There are too many, whatever the first one's time.
    Displace(Arc<TopicState>),
    Wait(Duration),
    End,
}

impl Lingering {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A topic goes at this time. False outside of a tokio runtime, where there would be nobody to let it go.
    pub(crate) fn add(&self, hub: &Arc<Shared>, until: u64, topic: Arc<TopicState>) -> bool {
        let Ok(runtime) = Handle::try_current() else { return false };
        let mut queue = self.queue();
        queue.topics.push_back((until, topic));
        if !std::mem::replace(&mut queue.is_swept, true) {
            runtime.spawn(sweep(Arc::downgrade(hub)));
        }
        true
    }

    fn next(&self, now: u64) -> Next {
        let mut queue = self.queue();
        let is_crowded = queue.topics.len() > MAX_TOPICS;
        match queue.topics.front() {
            Some((until, _)) if *until > now && !is_crowded => Next::Wait(Duration::from_micros(until - now).min(TICK)),
            _ => match queue.topics.pop_front() {
                Some((_, topic)) if is_crowded => Next::Displace(topic),
                Some((_, topic)) => Next::LetGo(topic),
                None => {
                    *queue = Queue::default();
                    Next::End
                }
            },
        }
    }
}

async fn sweep(hub: Weak<Shared>) {
    loop {
        let next = match hub.upgrade() {
            Some(hub) => hub.lingering.next(hub.now()),
            None => return,
        };
        match next {
            Next::LetGo(topic) => topic.let_go(),
            Next::Displace(topic) => {
                topic.hub.counts.count(HubCounter::TopicsDisplaced);
                topic.linger_no_more(&mut topic.state());
            }
            Next::Wait(time) => sleep(time).await,
            Next::End => return,
        }
        // Many may go at once: others get their turn between them.
        consume_budget().await;
    }
}

impl TopicState {
    /// Nobody may be there for whom the topic is heard: it goes on to be for some time, where it has a history. The state, where it does
    /// not linger.
    pub(crate) fn linger<'a>(self: &Arc<Self>, mut state: MutexGuard<'a, State>) -> Option<MutexGuard<'a, State>> {
        let Some(history) = &self.hub.options.history else { return Some(state) };
        let is_heard = self.hub.remote.is_none() || state.is_live();
        let now = self.hub.now();
        if state.lingers.is_none() {
            let until = now.saturating_add(history.age_micros());
            if !is_heard || !self.hub.lingering.add(&self.hub, until, self.clone()) {
                return Some(state);
            }
            state.interested += 1;
        }
        state.lingers = NonZeroU64::new(now.max(1));
        None
    }

    /// A topic that lingers was there for long enough, unless somebody was there since.
    pub(crate) fn let_go(self: Arc<Self>) {
        let mut state = self.state();
        let (Some(since), Some(history)) = (state.lingers, &self.hub.options.history) else { return };
        let until = since.get().saturating_add(history.age_micros());
        if state.interested == 1 && until > self.hub.now() && self.hub.lingering.add(&self.hub, until, self.clone()) {
            return;
        }
        self.linger_no_more(&mut state);
    }

    fn linger_no_more(&self, state: &mut State) {
        if state.lingers.take().is_none() {
            return;
        }
        state.interested -= 1;
        if state.interested == 0 {
            self.unsubscribe(state);
        }
    }
}
