//! Header blocks: HEADERS and CONTINUATION (RFC 9113 §6.2, §6.10), until they are whole.

use std::borrow::Cow;

use super::header_list::hard_limits;
use super::{checked_stream_id, strip_padding};
use crate::h2::frame::{Frame, flag, read_u31};
use crate::h2::{Config, Violation};
use crate::hpack::Decoder;

/// Octets of the priority fields in HEADERS (RFC 9113 §6.2).
const PRIORITY_LENGTH: usize = 5;

/// What HEADERS says beside its fragment of the block.
#[derive(Clone, Copy)]
pub(in crate::h2) struct Opening {
    pub(super) stream_id: u32,
    pub(super) end_stream: bool,
    /// RFC 7540 §5.3.1
    pub(super) depends_on_itself: bool,
}

/// A whole header block.
pub(in crate::h2) struct Block<'a> {
    pub(super) opening: Opening,
    /// As it lies in its frame, unless it came in several.
    pub(super) octets: Cow<'a, [u8]>,
}

/// A header block that waits for CONTINUATION frames.
struct PartialBlock {
    opening: Opening,
    fragments: Vec<u8>,
    continuations: u32,
}

/// What was received and could not be handled yet, and the state of the peer's compression.
pub(in crate::h2) struct Input {
    decoder: Decoder,
    /// A header block without its END_HEADERS.
    partial_block: Option<Box<PartialBlock>>,
    /// Octets that the last call left in its input.
    unhandled: usize,
    /// Whether whole frames are among them.
    is_stopped: bool,
}

impl Input {
    pub(in crate::h2) fn new(config: &Config) -> Self {
        Self {
            decoder: Decoder::new(config.max_hpack_len_decoder as usize, hard_limits(config)),
            partial_block: None,
            unhandled: 0,
            is_stopped: false,
        }
    }

    /// What decodes the peer's header blocks, each of them in the order in which they come.
    pub(in crate::h2) fn decoder(&mut self) -> &mut Decoder {
        &mut self.decoder
    }

    /// Whether a header block waits for its END_HEADERS.
    #[inline]
    pub(in crate::h2) fn has_partial_block(&self) -> bool {
        self.partial_block.is_some()
    }

    #[inline]
    pub(in crate::h2) fn is_stopped(&self) -> bool {
        self.is_stopped
    }

    /// Leaves a frame that is whole, until the output was handed over.
    pub(in crate::h2) fn stop(&mut self) {
        self.is_stopped = true;
    }

    /// What stopped the input may be over.
    pub(in crate::h2) fn resume(&mut self) {
        self.is_stopped = false;
    }

    /// Nothing more is handled: a connection that lingers does not keep the half of a header block.
    pub(in crate::h2) fn end(&mut self) {
        self.is_stopped = false;
        self.partial_block = None;
    }

    /// Whether octets came since the last call.
    pub(in crate::h2) fn has_more(&self, octets: usize) -> bool {
        octets != self.unhandled
    }

    /// So many octets are left.
    pub(in crate::h2) fn leave(&mut self, octets: usize) {
        self.unhandled = octets;
    }

    /// HEADERS (RFC 9113 §6.2). A block that is whole is decoded where it lies; of another the first fragment is kept.
    pub(in crate::h2) fn handle_headers<'a>(&mut self, frame: Frame<'a>) -> Result<Option<Block<'a>>, Violation> {
        debug_assert!(self.partial_block.is_none(), "nothing comes between the frames of a header block");
        let Frame { head, payload } = frame;
        let stream_id = checked_stream_id(head)?;
        let mut fragment = strip_padding(head, payload)?;
        let mut depends_on_itself = false;
        if head.has(flag::PRIORITY) {
            let (priority, rest) = fragment.split_first_chunk::<PRIORITY_LENGTH>().ok_or(Violation::FrameLength)?;
            let [dependency @ .., _weight] = priority;
            depends_on_itself = read_u31(dependency) == stream_id;
            fragment = rest;
        }
        let opening = Opening { stream_id, end_stream: head.has(flag::END_STREAM), depends_on_itself };
        if head.has(flag::END_HEADERS) {
            return Ok(Some(Block { opening, octets: Cow::Borrowed(fragment) }));
        }
        self.partial_block = Some(Box::new(PartialBlock { opening, fragments: fragment.to_vec(), continuations: 0 }));
        Ok(None)
    }

    /// CONTINUATION (RFC 9113 §6.10). Returns the block once it is whole.
    pub(in crate::h2) fn handle_continuation(
        &mut self,
        frame: Frame<'_>,
        config: &Config,
    ) -> Result<Option<Block<'static>>, Violation> {
        let block = self.partial_block.as_mut().ok_or(Violation::ContinuationUnexpected)?;
        if block.opening.stream_id != frame.head.stream_id {
            return Err(Violation::ContinuationMissing);
        }
        block.continuations += 1;
        if block.continuations > config.max_continuations {
            return Err(Violation::TooManyContinuations);
        }
        // No honest encoder makes a list longer than it was.
        if block.fragments.len() + frame.payload.len() > hard_limits(config).max_list_size {
            return Err(Violation::HeaderListFarTooLarge);
        }
        block.fragments.extend_from_slice(frame.payload);
        if !frame.head.has(flag::END_HEADERS) {
            return Ok(None);
        }
        let block = self.partial_block.take();
        Ok(block.map(|block| Block { opening: block.opening, octets: Cow::Owned(block.fragments) }))
    }
}
