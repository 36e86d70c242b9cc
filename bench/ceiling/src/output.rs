//! What a read brought and what is to be written.

use std::io::{ErrorKind, IoSlice, Result, Write};
use std::ops::Range;

use mio::net::TcpStream;

/// Slices of one call of writev.
const SLICES: usize = 64;

/// The buffer that is read into and answered in, and what could not be put there, in the order of both.
pub struct Output {
    pub buffer: Vec<u8>,
    /// Answers that are no shorter than what they answer.
    extra: Vec<u8>,
    pieces: Vec<Piece>,
}

#[derive(Clone)]
enum Piece {
    Buffer(Range<usize>),
    Extra(Range<usize>),
}

impl Output {
    pub fn new(size: usize) -> Self {
        Self { buffer: vec![0; size], extra: Vec::new(), pieces: Vec::new() }
    }

    /// Where the next short answer may begin: behind the last one that is in the buffer, or at `start`.
    #[inline]
    pub fn place(&self, start: usize) -> usize {
        match self.pieces.last() {
            Some(Piece::Buffer(range)) => range.end,
            _ => start,
        }
    }

    /// These octets of the buffer are to be written next.
    #[inline]
    pub fn push(&mut self, octets: Range<usize>) {
        match self.pieces.last_mut() {
            Some(Piece::Buffer(range)) if range.end == octets.start => range.end = octets.end,
            _ => self.pieces.push(Piece::Buffer(octets)),
        }
    }

    /// A place for octets that are to be written next.
    pub fn extend(&mut self, octets: &[&[u8]]) {
        let start = self.extra.len();
        for octets in octets {
            self.extra.extend_from_slice(octets);
        }
        match self.pieces.last_mut() {
            Some(Piece::Extra(range)) => range.end = self.extra.len(),
            _ => self.pieces.push(Piece::Extra(start..self.extra.len())),
        }
    }

    /// Writes all there is, as far as the system takes it; the rest goes to the backlog.
    pub fn write(&mut self, mut stream: &TcpStream, backlog: &mut Vec<u8>) -> Result<()> {
        let mut index = 0;
        while backlog.is_empty() && index < self.pieces.len() {
            let mut written = match self.write_some(&mut stream, index) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                written => written?,
            };
            while let Some(Piece::Buffer(range) | Piece::Extra(range)) = self.pieces.get_mut(index)
                && written >= range.len()
            {
                written -= range.len();
                index += 1;
            }
            if let Some(Piece::Buffer(range) | Piece::Extra(range)) = self.pieces.get_mut(index) {
                range.start += written;
            }
        }
        for piece in &self.pieces[index..] {
            backlog.extend_from_slice(self.octets(piece));
        }
        self.pieces.clear();
        self.extra.clear();
        Ok(())
    }

    fn write_some(&self, stream: &mut &TcpStream, index: usize) -> Result<usize> {
        if let [piece] = &self.pieces[index..] {
            return stream.write(self.octets(piece));
        }
        let mut slices = [IoSlice::new(&[]); SLICES];
        let count = SLICES.min(self.pieces.len() - index);
        for (slice, piece) in slices.iter_mut().zip(&self.pieces[index..]) {
            *slice = IoSlice::new(self.octets(piece));
        }
        stream.write_vectored(&slices[..count])
    }

    fn octets(&self, piece: &Piece) -> &[u8] {
        match piece {
            Piece::Buffer(range) => &self.buffer[range.clone()],
            Piece::Extra(range) => &self.extra[range.clone()],
        }
    }
}
