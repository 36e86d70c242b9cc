use bytes::{Buf, BytesMut};
use flate2::{Decompress, FlushDecompress, Status};

use super::zlib::{END, inflate};
use crate::ws::Violation;

/// Octets that are decompressed at a time.
const STEP: usize = 16 << 10;

/// The decompression of one message in pieces. It holds a decompressor of its own (47 KiB), since the next piece may be asked
/// for on another thread.
#[derive(Debug)]
pub(in crate::ws) struct Inflater {
    decompress: Decompress,
    /// Payload that is not decompressed yet.
    pending: BytesMut,
    state: State,
}

/// What can be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing, before more payload comes.
    Hungry,
    /// Payload is pending, or what it is decompressed to.
    Busy,
    /// The same, and it is the last.
    Ending,
    /// Nothing any more.
    Ended,
}

/// What an [`Inflater`] makes of the payload next.
#[derive(Debug)]
pub(in crate::ws) enum Inflated {
    /// Some octets of the message.
    Octets(Vec<u8>),
    /// None, before more payload comes.
    Nothing,
    /// The end of the message.
    End,
}

impl Inflater {
    /// A decompressor whose message may refer to `history`.
    pub(super) fn new(history: [&[u8]; 2]) -> Self {
        let mut decompress = Decompress::new(false);
        let is_set = history.into_iter().all(|octets| decompress.set_dictionary(octets).is_ok());
        // zlib takes any dictionary before raw data. Without it what refers there is a violation, not silently wrong.
        debug_assert!(is_set, "a dictionary before the first octet");
        Self { decompress, pending: BytesMut::new(), state: State::Hungry }
    }

    /// Takes payload, which then is held.
    pub(in crate::ws) fn push(&mut self, octets: &[u8]) {
        self.pending.extend_from_slice(octets);
        self.state = State::Busy;
    }

    /// The payload is whole.
    pub(in crate::ws) fn end(&mut self) {
        self.state = State::Ending;
    }

    /// Whether the payload is whole.
    pub(in crate::ws) fn has_all(&self) -> bool {
        matches!(self.state, State::Ending | State::Ended)
    }

    pub(in crate::ws) fn is_busy(&self) -> bool {
        matches!(self.state, State::Busy | State::Ending)
    }

    /// Decompresses some octets: at most [`STEP`].
    pub(in crate::ws) fn next(&mut self) -> Result<Inflated, Violation> {
        if !self.is_busy() {
            return Ok(Inflated::Nothing);
        }
        let mut output = Vec::with_capacity(STEP);
        loop {
            let before = self.decompress.total_in();
            let status = self
                .decompress
                .decompress_vec(&self.pending, &mut output, FlushDecompress::None)
                .map_err(|_| Violation::Deflate)?;
            self.pending.advance((self.decompress.total_in() - before) as usize);
            if status == Status::StreamEnd {
                // RFC 7692 §7.2.3.4: a message may have final blocks; what follows one refers to nothing before it.
                self.decompress.reset(false);
            }
            if output.len() == output.capacity() {
                return Ok(Inflated::Octets(output));
            }
            // With room left in the output nothing more can be made of what came.
            if self.pending.is_empty() {
                break;
            }
        }
        if !output.is_empty() {
            output.shrink_to_fit();
            // The next call finds the end, or that there is nothing.
            return Ok(Inflated::Octets(output));
        }
        if self.state == State::Busy {
            self.state = State::Hungry;
            self.pending = BytesMut::new();
            return Ok(Inflated::Nothing);
        }
        self.state = State::Ended;
        // The tail completes an empty block (RFC 7692 §7.2.1). In data that was cut off it can be anything else.
        match inflate(&mut self.decompress, &END, &mut output, END.len()) {
            Ok(true) if output.is_empty() => Ok(Inflated::End),
            _ => Err(Violation::Deflate),
        }
    }
}
