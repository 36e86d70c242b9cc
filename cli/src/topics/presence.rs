//! How many sockets a topic has, on all servers: asked once for all of its sockets here.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sockeye_hub::{Error, Hub, Topic};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// Time after which other servers are asked again: their sockets come and go unseen.
const AGAIN: Duration = Duration::from_secs(5);
/// Time between two questions at least, however many sockets come and go.
const PAUSE: Duration = Duration::from_millis(100);

/// Time after which sockets are told what they know already: a page sees by it that its connection is alive.
const ALIVE: Duration = Duration::from_secs(20);

/// The topics that somebody here looks at. Clones are the same.
#[derive(Clone)]
pub(super) struct Rooms {
    hub: Hub,
    rooms: Arc<Mutex<HashMap<String, Weak<Room>>>>,
}

/// A topic, as long as somebody here looks at it.
pub(super) struct Room {
    pub(super) topic: Topic,
    rooms: Rooms,
    members: watch::Sender<Option<usize>>,
    changed: Arc<Notify>,
}

impl Rooms {
    pub(super) fn new(hub: Hub) -> Self {
        Self { hub, rooms: Arc::default() }
    }

    fn rooms(&self) -> MutexGuard<'_, HashMap<String, Weak<Room>>> {
        self.rooms.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic of this name.
    ///
    /// # Errors
    ///
    /// No topic is called so.
    pub(super) fn enter(&self, name: &str) -> Result<Arc<Room>, Error> {
        let topic = self.hub.topic(name)?;
        let mut rooms = self.rooms();
        if let Some(room) = rooms.get(name).and_then(Weak::upgrade) {
            return Ok(room);
        }
        let (members, changed) = (watch::channel(None).0, Arc::<Notify>::default());
        let room = Arc::new(Room { topic, rooms: self.clone(), members, changed: changed.clone() });
        rooms.insert(name.to_owned(), Arc::downgrade(&room));
        tokio::spawn(keep_count(Arc::downgrade(&room), changed));
        Ok(room)
    }
}

impl Room {
    /// Sockets here have come or gone.
    pub(super) fn count(&self) {
        self.changed.notify_one();
    }

    /// What is known of the number of sockets on all servers, each time that it is another, and now and then; nothing at first.
    pub(super) fn members(&self) -> watch::Receiver<Option<usize>> {
        self.members.subscribe()
    }

    /// How many sockets there are on all servers, once that is known.
    pub(super) async fn known(&self) -> usize {
        let mut members = self.members();
        let known = members.wait_for(Option::is_some).await;
        known.ok().and_then(|members| *members).unwrap_or_default()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut rooms = self.rooms.rooms();
        let name = self.topic.name();
        // Unless it was asked for again just now.
        if rooms.get(&*name).is_some_and(|room| room.strong_count() == 0) {
            rooms.remove(&*name);
        }
        drop(rooms);
        self.changed.notify_one();
    }
}

async fn keep_count(room: Weak<Room>, changed: Arc<Notify>) {
    let mut told = Instant::now();
    loop {
        let Some(topic) = room.upgrade().map(|room| room.topic.clone()) else { return };
        let members = topic.all_members().await.total();
        drop(topic);
        let Some(shared) = room.upgrade() else { return };
        let is_news = |known: &mut Option<usize>| known.replace(members) != Some(members) || told.elapsed() >= ALIVE;
        if shared.members.send_if_modified(is_news) {
            told = Instant::now();
        }
        drop(shared);
        tokio::time::sleep(PAUSE).await;
        _ = tokio::time::timeout(AGAIN, changed.notified()).await;
    }
}
