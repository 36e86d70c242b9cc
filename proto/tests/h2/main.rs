//! The HTTP/2 machine against the sentences of RFC 9113 and RFC 8441: a file for each chapter, then what no chapter says.

mod common;

mod section_3_starting;
mod section_4_frames;
mod section_5_streams;
mod section_6_definitions;
mod section_8_messages;

mod extended_connect;
mod lending;
mod limits;
mod semantics;
mod sending;
mod waiting;
mod windows;

mod chunking;
mod exhaustive;
