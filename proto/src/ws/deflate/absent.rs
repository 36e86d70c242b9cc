//! What stands in for [`deflate`](super) without its feature: types that have no value, so that nothing can ask for it.

use std::sync::Arc;
use std::time::Instant;

use bytes::{Bytes, BytesMut};

use super::frame::{Fragment, Opcode};
use super::handshake::Extension;
use super::{Inflation, MessageKind, Role, Violation};
use crate::Rate;

/// No `permessage-deflate`: the feature `deflate` is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deflate {}

impl Deflate {
    pub(super) fn offer(&self) -> Extension {
        match *self {}
    }

    pub(super) fn accept(&self, _: &Extension) -> Option<(Self, Extension)> {
        match *self {}
    }

    pub(super) fn check(&self, _: &Extension) -> Option<Self> {
        match *self {}
    }
}

/// No compression to share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SharedDeflate {}

impl SharedDeflate {
    /// The window, of which there is none.
    pub fn window_bits(self) -> u8 {
        match self {}
    }

    /// Nothing is.
    pub fn is_worth(self, _: usize) -> bool {
        match self {}
    }

    /// Nothing is.
    pub fn encode(self, _: MessageKind, _: &[u8]) -> Option<Bytes> {
        match self {}
    }
}

#[derive(Debug)]
pub(super) enum Codec {}

impl Codec {
    pub(super) fn new(_: Role, deflate: Deflate) -> Self {
        match deflate {}
    }

    pub(super) fn in_use(&self) -> Deflate {
        match *self {}
    }

    pub(super) fn shared(&self) -> Option<SharedDeflate> {
        match *self {}
    }

    pub(super) fn encode(&mut self, _: &mut BytesMut, _: Opcode, _: &[u8], _: Option<[u8; 4]>) {
        match *self {}
    }

    pub(super) fn share_inflation(&mut self, _: Arc<Inflation>) {
        match *self {}
    }

    pub(super) fn inflation(&self) -> Rate {
        match *self {}
    }

    pub(super) fn count(&mut self, _: Instant) -> Result<(), Violation> {
        match *self {}
    }

    pub(super) fn expect(&mut self, _: usize) {
        match *self {}
    }

    pub(super) fn inflate(&mut self, _: &[u8], _: usize, _: Instant) -> Result<Bytes, Violation> {
        match *self {}
    }

    pub(super) fn inflater(&self) -> Inflater {
        match *self {}
    }

    pub(super) fn note(&mut self, _: &[u8]) {
        match *self {}
    }

    pub(super) fn is_worth(&self, _: usize) -> bool {
        match *self {}
    }

    pub(super) fn encode_piece(&mut self, _: &mut BytesMut, _: Fragment, _: &[u8], _: Option<[u8; 4]>) {
        match *self {}
    }
}

#[derive(Debug)]
pub(super) enum Inflater {}

impl Inflater {
    pub(super) fn push(&mut self, _: &[u8]) {
        match *self {}
    }

    pub(super) fn end(&mut self) {
        match *self {}
    }

    pub(super) fn has_all(&self) -> bool {
        match *self {}
    }

    pub(super) fn is_busy(&self) -> bool {
        match *self {}
    }

    pub(super) fn next(&mut self) -> Result<Inflated, Violation> {
        match *self {}
    }
}

#[allow(dead_code, reason = "nothing is decompressed")]
#[derive(Debug)]
pub(super) enum Inflated {
    Octets(Vec<u8>),
    Nothing,
    End,
}
