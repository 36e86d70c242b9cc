//! A connection whose peer does not read what it is sent: which of its streams are given octets all the same.
//!
//! What waits for a peer is bounded for all streams together ([`Limits::connection_send`]), but a handler that answers has to
//! have its answer wait somewhere. So it is not given what it would answer:
//!
//! - While the connection is [crowded](Link::is_crowded), a stream gets octets only where nothing waits on it and its peer takes
//!   more. What comes for the others stays in their windows. Streams that are read so go on as if they were alone.
//! - A client's request is answered by its server, and not the other way round: what comes of it has nothing wait.
//! - A stream that got octets then is late until it has answered and waits for more. While late streams have an eighth as much
//!   waiting, no other gets any, and the one of them whose peer has taken nothing for longest is reset, after ten seconds.
//!
//! [`Limits::connection_send`]: crate::engine::link::Limits::connection_send
//! [`Link::is_crowded`]: crate::engine::link::Link::is_crowded

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use sockeye_proto::h2::StreamId;
use sockeye_proto::{Machine, MachineStream as _, Reason};
use tokio::io::{AsyncRead, AsyncWrite};

use super::streams::find;
use super::{Application, Driver};
use crate::engine::link::Side;
use crate::engine::metrics::Counter;
use crate::engine::stream::Waits;

/// How long a late stream's peer may take nothing, where late streams keep others from going on.
const PATIENCE: Duration = Duration::from_secs(10);
/// Streams that are asked in one turn whether they may go on: their order goes round.
const ASKED_AT_ONCE: usize = 64;

/// Streams by what a crowded connection has to know of them.
#[derive(Default)]
pub(super) struct Crowd {
    /// Those whose octets are kept, each of them once, and by slot which those are.
    kept: VecDeque<StreamId>,
    is_kept: Vec<bool>,
    late: Vec<Late>,
}

/// A stream that got octets while its connection was crowded.
struct Late {
    id: StreamId,
    /// What waits on it.
    octets: usize,
    /// When less waited than before, last.
    since: Instant,
}

impl Crowd {
    fn keep(&mut self, id: StreamId) {
        if self.is_kept.len() <= id.slot() {
            self.is_kept.resize(id.slot() + 1, false);
        }
        if !std::mem::replace(&mut self.is_kept[id.slot()], true) {
            self.kept.push_back(id);
        }
    }

    fn waiting(&self) -> usize {
        self.late.iter().map(|late| late.octets).sum()
    }
}

impl<T, M, A> Driver<T, M, A>
where
    T: AsyncRead + AsyncWrite + Unpin,
    M: Machine,
    A: Application<M>,
{
    /// Whether a stream of a crowded connection may be given octets. Otherwise they are kept until it may.
    #[cold]
    pub(super) fn admit(&mut self, id: StreamId, now: Instant) -> bool {
        let Some(slot) = find(&self.streams.slots, id) else { return false };
        if self.link.info.side == Side::Client && slot.cell.is_exchange() {
            return true;
        }
        // Nothing waits where the cell is quiet, and it is to stay so.
        let is_free = slot.cell.is_quiet() || slot.cell.waits().octets == 0;
        let takes_more = self.machine.stream(id).is_some_and(|stream| stream.has_room());
        let crowd = self.streams.crowd.get_or_insert_default();
        if is_free && takes_more && crowd.waiting() <= self.link.limits.late() {
            if crowd.late.iter().all(|late| late.id != id) {
                crowd.late.push(Late { id, octets: 0, since: now });
            }
            return true;
        }
        crowd.keep(id);
        false
    }

    /// Lets streams go on whose octets were kept, where they may, and sees to it that those that are late have no more waiting
    /// than they may.
    pub(super) fn relieve(&mut self, now: Instant) {
        let Some(crowd) = &mut self.streams.crowd else { return };
        let is_crowded = self.link.is_crowded();
        if !is_crowded {
            crowd.late.clear();
        }
        let count = if is_crowded { crowd.kept.len().min(ASKED_AT_ONCE) } else { crowd.kept.len() };
        let asked: Vec<_> = crowd.kept.drain(..count).collect();
        asked.iter().for_each(|id| crowd.is_kept[id.slot()] = false);
        for id in asked {
            // Its slot may be another's by now, which is looked at in vain.
            self.exchange(id.slot(), now);
        }
        while let Some(id) = self.too_late(now) {
            self.link.metrics().count(Counter::UnreadStreamsReset);
            self.reset(id, Reason::ENHANCE_YOUR_CALM, None);
            self.exchange(id.slot(), now);
        }
        self.streams.crowd.take_if(|crowd| crowd.kept.is_empty() && crowd.late.is_empty());
    }

    /// The late stream whose peer has taken nothing for longest, where it keeps others from going on.
    fn too_late(&mut self, now: Instant) -> Option<StreamId> {
        let Self { streams, link, .. } = self;
        let crowd = streams.crowd.as_mut()?;
        let slots = &streams.slots;
        crowd.late.retain_mut(|late| {
            let Some(Waits { octets, for_octets }) = find(slots, late.id).map(|slot| slot.cell.waits()) else {
                return false;
            };
            if octets < late.octets || late.octets == 0 {
                late.since = now;
            }
            late.octets = octets;
            octets > 0 || !for_octets
        });
        if crowd.waiting() <= link.limits.late() {
            return None;
        }
        let waiting = crowd.late.iter().filter(|late| late.octets > 0);
        let oldest = waiting.min_by_key(|late| late.since).filter(|late| now >= late.since + PATIENCE);
        oldest.map(|late| late.id)
    }
}
