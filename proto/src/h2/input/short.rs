//! The short frames of a stream: PRIORITY, RST_STREAM and WINDOW_UPDATE (RFC 9113 §6.3, §6.4, §6.9).

use super::data::handle_stray_or_ignore;
use super::{Effect, Fault, Handled, checked_stream_id};
use crate::h2::events::Events;
use crate::h2::frame::{Frame, read_u31};
use crate::h2::output::{Output, Turns};
use crate::h2::streams::{Ending, Numbers, Place, Side, State, Streams};
use crate::h2::{Event, Reason, StreamId, Violation};

/// PRIORITY (RFC 9113 §6.3): its content is no longer used.
pub(in crate::h2) fn handle_priority(frame: Frame<'_>, numbers: &Numbers) -> Handled {
    let stream_id = checked_stream_id(frame.head)?;
    let violation = match frame.payload.first_chunk::<4>() {
        _ if frame.payload.len() != 5 => Violation::PriorityLength,
        // RFC 7540 §5.3.1
        Some(dependency) if read_u31(dependency) == stream_id => Violation::SelfDependency,
        _ => return Ok(Effect::Nothing),
    };
    // RFC 9113 §5.1: an idle stream cannot be reset, so that the connection must end.
    if numbers.is_idle(stream_id) { Err(violation.into()) } else { Err(Fault::Stream(stream_id, violation)) }
}

/// RST_STREAM (RFC 9113 §6.4).
pub(in crate::h2) fn handle_rst_stream(frame: Frame<'_>, streams: &mut Streams, events: &mut Events) -> Handled {
    let stream_id = checked_stream_id(frame.head)?;
    let code: [u8; 4] = frame.payload.try_into().map_err(|_| Violation::FrameLength)?;
    let reason = Reason::new(u32::from_be_bytes(code));
    let Some(Place::Held(slot)) = streams.place(stream_id) else {
        return handle_stray_or_ignore(stream_id, streams.numbers());
    };
    let State::Active { send, .. } = streams.slot(slot).state() else {
        return Ok(Effect::Nothing);
    };
    streams.close(slot, Ending::ResetByPeer);
    events.push(Event::Reset { id: StreamId::new(stream_id, slot), reason, remote: true, violation: None });
    // A reset after the answer has begun is an ordinary end.
    if send == Side::Head { Ok(Effect::EarlyReset) } else { Ok(Effect::Taken) }
}

/// WINDOW_UPDATE (RFC 9113 §6.9). `initial_window` is the peer's.
pub(in crate::h2) fn handle_window_update(
    frame: Frame<'_>,
    initial_window: u32,
    streams: &mut Streams,
    output: &mut Output,
    turns: &mut Turns,
) -> Handled {
    let increment: &[u8; 4] = frame.payload.try_into().map_err(|_| Violation::FrameLength)?;
    let increment = read_u31(increment);
    let stream_id = frame.head.stream_id;
    if stream_id == 0 {
        output.update_window(increment)?;
        return Ok(Effect::Taken);
    }
    let Some(Place::Held(slot)) = streams.place(stream_id) else {
        return handle_stray_or_ignore(stream_id, streams.numbers());
    };
    if streams.slot(slot).state().is_closed() {
        return Ok(Effect::Nothing);
    }
    if increment == 0 {
        return Err(Fault::Stream(stream_id, Violation::StreamWindowUpdateZero));
    }
    let updated = streams.update_send_window(slot, increment, initial_window);
    updated.map_err(|violation| Fault::Stream(stream_id, violation))?;
    turns.handle_window_update(StreamId::new(stream_id, slot), streams.slot_mut(slot), initial_window);
    Ok(Effect::Taken)
}
