//! What stands in for [`deflate`](super) without its feature: types that have no value, so that nothing can ask for it.

use bytes::{Bytes, BytesMut};

use super::frame::Opcode;
use super::handshake::Extension;
use super::{Role, Violation};

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

#[derive(Debug)]
pub(super) enum Codec {}

impl Codec {
    pub(super) fn new(_: Role, deflate: Deflate) -> Self {
        match deflate {}
    }

    pub(super) fn in_use(&self) -> Deflate {
        match *self {}
    }

    pub(super) fn encode(&mut self, _: &mut BytesMut, _: Opcode, _: &[u8], _: Option<[u8; 4]>) {
        match *self {}
    }

    pub(super) fn inflate(&mut self, _: &[u8], _: usize) -> Result<Bytes, Violation> {
        match *self {}
    }
}
