//! The rules that a run is held to. Each is looked at the moment when it could be broken, or when all is over.

use sockeye::{Error, Message};

use crate::content;
use crate::wire::{CLIENT, SERVER, Seen};
use crate::world::{Heard, Record, World};

/// Octets that a connection may hold on the way from a socket's buffer to the transport: its output of 256 KiB, and what one
/// batch may add to it.
const OUTPUT: u64 = 448 << 10;

impl World {
    /// There is a socket.
    pub(crate) fn opened(&self, socket: u32, side: usize) {
        self.note("open", socket, side as u64);
        let is_second = self.records(socket, |records| {
            let record = &mut records[side];
            record.is_second = std::mem::replace(&mut record.is_open, true);
            record.is_second
        });
        // RFC 9113 §8.7, RFC 9112 §9.3.1: what is tried again was not acted on.
        if is_second {
            self.fail(socket, side, "it was opened twice");
        }
    }

    fn is_told_apart(&self, socket: u32) -> bool {
        let is_asked_for_again = self.sightings.of(socket).is_some_and(|sighting| sighting.is_second);
        !is_asked_for_again && self.records(socket, |records| records.iter().all(|record| !record.is_second))
    }
    /// A message was sent: `send` has returned.
    pub(crate) fn sent(&self, socket: u32, side: usize, size: usize) {
        let (number, octets, largest) = self.records(socket, |records| {
            let record = &mut records[side];
            record.sent.push(size);
            record.sent_octets += size as u64;
            record.largest = record.largest.max(size);
            (record.sent.len(), record.sent_octets, record.largest)
        });
        self.scheduler.progress();
        self.note("sent", socket, (number * 2 + side) as u64);
        // Sending waits while the peer does not read, so that what waits is bounded. Where the transport has failed nothing waits: it
        // is thrown away, until the application looks.
        let sighting = self.sightings.of(socket).unwrap_or_default();
        if !self.is_told_apart(socket) || sighting.failed[side] {
            return;
        }
        let seen = sighting.sides[side];
        let most = (self.settings.stream_send + largest) as u64 + OUTPUT;
        if !self.settings.deflate && octets - seen.octets > most {
            self.fail(socket, side, &format!("{} octets wait, {most} at most should", octets - seen.octets));
        }
    }

    /// Every message arrives once, in order, whole and unchanged.
    pub(crate) fn received(&self, socket: u32, side: usize, message: &Message) {
        self.scheduler.progress();
        if let Some((group, number, size)) = content::parse_group_message(message) {
            return self.received_of_group(socket, side, message, group, number, size);
        }
        if !self.is_told_apart(socket) {
            return;
        }
        let number = self.records(socket, |records| {
            let number = records[side].received;
            let expected = records[1 - side].sent.get(number).copied();
            records[side].received += 1;
            let is_right = expected.is_some_and(|size| {
                size == message.len() && *message == content::message(socket, 1 - side, number, size)
            });
            if is_right { Ok(number) } else { Err((number, expected)) }
        });
        match number {
            Ok(number) => self.note("received", socket, (number * 2 + side) as u64),
            Err((number, expected)) => {
                let size = message.len();
                self.fail(
                    socket,
                    side,
                    &format!("message {number} is of {size} octets, and not the one of {expected:?}"),
                );
            }
        }
    }

    fn received_of_group(&self, socket: u32, side: usize, message: &Message, group: usize, number: usize, size: usize) {
        let last = self.records(socket, |records| records[side].last_of_group.insert(group, number));
        self.note("of a group", socket, number as u64);
        if !self.is_told_apart(socket) {
            return;
        }
        if last.is_some_and(|last| last >= number) {
            self.fail(socket, side, &format!("message {number} to the group {group} came after {last:?}"));
        }
        if *message != content::group_message(group, number, size) {
            self.fail(socket, side, &format!("message {number} to the group {group} was changed"));
        }
    }

    /// What was sent before a flush is with the transport, and on its way.
    pub(crate) fn flushed(&self, socket: u32, side: usize) {
        let sent = self.records(socket, |records| records[side].sent.len());
        let flushed = self.sightings.of(socket).unwrap_or_default().flushed[side].own;
        self.note("flushed", socket, sent as u64);
        if flushed < sent && self.is_told_apart(socket) {
            self.fail(socket, side, &format!("a flush is done, and of {sent} messages only {flushed} were flushed"));
        }
    }

    /// The socket has ended for one side: by the peer's Close, or by an error.
    pub(crate) fn ended(&self, socket: u32, side: usize, heard: Heard) {
        self.scheduler.progress();
        self.note(&format!("ended: {heard:?}"), socket, side as u64);
        if !self.is_told_apart(socket) {
            return;
        }
        let is_rough = self.is_rough(socket);
        let missing = self.records(socket, |records| {
            records[side].end = Some(heard.clone());
            let [ours, theirs] = [&records[side], &records[1 - side]];
            let is_discarding = ours.is_discarding || ours.has_failed || self.is_drained(side);
            (!is_discarding).then(|| theirs.sent.len() - ours.received)
        });
        match heard {
            // A Close is the last that is sent.
            Heard::Close(_) => {
                if missing.is_some_and(|missing| missing > 0) {
                    self.fail(socket, side, &format!("the Close came before {missing:?} messages"));
                }
            }
            Heard::Error(why) if !is_rough => {
                self.fail(socket, side, &format!("it ended by {why:?}, and nothing happened that would explain it"));
            }
            Heard::Error(why) if !self.has_cause(&why) => {
                self.fail(socket, side, &format!("it ended by {why:?}, which was never counted"));
            }
            Heard::Error(_) => {}
        }
    }

    /// A call failed on a socket that may not have ended.
    pub(crate) fn failed(&self, socket: u32, side: usize, what: &str, error: &Error) {
        self.note(&format!("{what}: {error:?}"), socket, side as u64);
        if !matches!(error, Error::Closed | Error::Invalid(_)) {
            self.records(socket, |records| records[side].has_failed = true);
        }
        let is_over = self.is_closing(socket);
        if !is_over && !self.is_rough(socket) && self.is_told_apart(socket) {
            self.fail(socket, side, &format!("{what} failed for no reason: {error:?}"));
        }
    }

    /// Whether somebody has begun to close the socket.
    pub(crate) fn is_closing(&self, socket: u32) -> bool {
        let seen = self.sightings.of(socket).unwrap_or_default();
        let is_drained = self.is_drained(CLIENT) || self.is_drained(SERVER);
        let has_begun = self.records(socket, |records| records.iter().any(|record| !record.codes.is_empty()));
        has_begun || is_drained || seen.sides.iter().any(|side| side.close.is_some())
    }

    /// What every socket has to have come to in the end.
    pub(crate) fn check_end(&self) {
        for socket in self.sockets() {
            let Some(sighting) = self.sightings.of(socket) else { continue };
            if !self.is_told_apart(socket) {
                continue;
            }
            let records = self.records(socket, |records| records.clone());
            for side in [CLIENT, SERVER] {
                if let Err(why) = self.check_close(side, &records, &sighting.sides) {
                    self.fail(socket, side, &why);
                }
            }
            if !self.is_rough(socket) && records.iter().all(|record| record.is_open) {
                self.check_calm_end(socket, &sighting.sides);
            }
        }
    }

    /// RFC 6455 §7.4.1: the code says how the socket was ended here, or repeats the peer's.
    fn check_close(&self, side: usize, records: &[Record; 2], sides: &[Seen; 2]) -> Result<(), String> {
        let (Seen { own, close, .. }, record) = (sides[side], &records[side]);
        let sent = record.sent.len();
        let Some(code) = close else { return Ok(()) };
        let is_known = record.codes.contains(&code)
            || sides[1 - side].close == Some(code)
            || code == 1001 && self.is_drained(side)
            // What did not go on in time is failed by 1008.
            || [1001, 1008].contains(&code) && self.timeouts() > 0;
        if !is_known {
            return Err(format!("it closed with {code} and not one of {:?}", record.codes));
        }
        // What was sent goes before the Close.
        if own != sent { Err(format!("{own} of {sent} messages went out before the Close")) } else { Ok(()) }
    }

    /// Where nothing went wrong both sides say Close, and the server ends first.
    fn check_calm_end(&self, socket: u32, sides: &[Seen; 2]) {
        for side in [CLIENT, SERVER] {
            if sides[side].close.is_none() {
                self.fail(socket, side, "it never said Close");
            }
        }
        if sides[CLIENT].is_early {
            self.fail(socket, CLIENT, "it ended its half before the server (RFC 6455 §7.1.1)");
        }
    }
}
