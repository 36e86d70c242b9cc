//! DATA (RFC 9113 §6.1), and the frames of streams that are not held any more.

use super::{Effect, Fault, Handled, checked_stream_id, strip_padding};
use crate::h2::events::Events;
use crate::h2::frame::{Head, flag};
use crate::h2::output::Output;
use crate::h2::streams::{Ending, NotTaken, Numbers, Place, Side, Streams};
use crate::h2::timers::Clock;
use crate::h2::{Event, StreamId, Violation};

/// A DATA frame where it was received.
pub(in crate::h2) struct DataFrame<'a> {
    pub(in crate::h2) head: &'a Head,
    /// The octets that become the batch.
    pub(in crate::h2) input: &'a mut [u8],
    /// Where the payload begins in them.
    pub(in crate::h2) start: usize,
}

/// DATA (RFC 9113 §6.1): the path that every message takes.
#[inline]
pub(in crate::h2) fn handle_data(
    frame: DataFrame<'_>,
    streams: &mut Streams,
    output: &mut Output,
    events: &mut Events,
    clock: &Clock,
) -> Handled {
    let DataFrame { head, input, start } = frame;
    let payload = &input[start..start + head.length];
    let stream_id = checked_stream_id(head)?;
    let data = strip_padding(head, payload)?;
    // RFC 9113 §6.9.1: the padding counts as well, and so do frames that no stream takes.
    if !output.receive(payload.len()) {
        return Err(Violation::ConnectionWindowExceeded.into());
    }
    let Some(Place::Held(slot)) = streams.place(stream_id) else {
        output.give_back(payload.len());
        return handle_stray(stream_id, streams);
    };
    let end_stream = head.has(flag::END_STREAM);
    let (length, padding) = (data.len(), payload.len() - data.len());
    if let Err(not_taken) = streams.receive(slot, payload.len(), length, end_stream) {
        output.give_back(payload.len());
        return match not_taken {
            NotTaken::Fault(violation) => Err(Fault::Stream(stream_id, violation)),
            NotTaken::Late(ending) => handle_late(stream_id, ending),
        };
    }
    if padding > 0 {
        output.give_back(padding);
    }
    let id = StreamId::new(stream_id, slot);
    // The length of its padding is one octet before, the padding behind.
    let start = start + usize::from(head.has(flag::PADDED));
    if length > 0 && streams.place_data(slot, input, start, length) {
        events.push_readable(id);
    }
    if end_stream {
        streams.set_recv(slot, Side::Ended);
        events.push(Event::Finished { id, trailers: None });
    } else if padding > 0
        && let Some(increment) = streams.give_back(id, padding, clock)
    {
        output.put_window_update(stream_id, increment);
    }
    match length {
        0 if end_stream => Ok(Effect::Taken),
        0 => Ok(Effect::Nothing),
        length => Ok(Effect::Data(length)),
    }
}

/// DATA or HEADERS of a stream that is not held.
pub(super) fn handle_stray(stream_id: u32, streams: &Streams) -> Handled {
    match streams.place(stream_id) {
        Some(Place::Closed(ending)) => handle_late(stream_id, ending),
        _ => handle_stray_or_ignore(stream_id, streams.numbers()),
    }
}

/// RFC 9113 §5.1 "idle": an error; and "closed": WINDOW_UPDATE and RST_STREAM may have crossed our END_STREAM, and of
/// streams closed longer ago nothing is known.
pub(super) fn handle_stray_or_ignore(stream_id: u32, numbers: &Numbers) -> Handled {
    if stream_id == 0 {
        return Err(Violation::StreamIdZero.into());
    }
    if numbers.is_idle(stream_id) { Err(Violation::StreamIdle.into()) } else { Ok(Effect::Nothing) }
}

/// RFC 9113 §5.1 "closed": DATA or HEADERS after the end.
pub(super) fn handle_late(stream_id: u32, ending: Ending) -> Handled {
    match ending {
        Ending::Finished => Err(Violation::StreamClosed.into()),
        Ending::ResetByPeer => Err(Fault::Stream(stream_id, Violation::StreamReset)),
        // The peer may not have known.
        Ending::ResetByUs => Ok(Effect::Taken),
    }
}
