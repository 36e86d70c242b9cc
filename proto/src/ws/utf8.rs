use std::{mem, str};

/// Text that arrives in pieces. Each octet is validated once, and the first bad one fails (RFC 6455 §8.1): the standard
/// library tells an incomplete sequence from one that nothing can complete.
#[derive(Debug, Default)]
pub(super) struct Utf8Buffer {
    text: String,
    /// A sequence cut by the end of the last piece: its first octets, fewer than it needs.
    tail: [u8; 3],
    tail_length: u8,
}

/// The text is not UTF-8.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct InvalidUtf8;

impl Utf8Buffer {
    /// Octets held.
    pub(super) fn len(&self) -> usize {
        self.text.len() + usize::from(self.tail_length)
    }

    /// Octets that there is memory for.
    pub(super) fn capacity(&self) -> usize {
        self.text.capacity()
    }

    /// Appends a piece. `spare` is how many octets to have room for, at least, when the buffer must grow.
    pub(super) fn push(&mut self, mut octets: &[u8], spare: usize) -> Result<(), InvalidUtf8> {
        if self.text.capacity() - self.text.len() < octets.len() + self.tail.len() {
            self.text.reserve_exact(spare.max(octets.len()) + self.tail.len());
        }
        while self.tail_length > 0 {
            let Some((&octet, rest)) = octets.split_first() else { return Ok(()) };
            octets = rest;
            self.push_to_tail(octet)?;
        }
        let (whole, tail) = split_incomplete(octets);
        self.text.push_str(str::from_utf8(whole).map_err(|_| InvalidUtf8)?);
        tail.iter().try_for_each(|&octet| self.push_to_tail(octet))
    }

    /// The text so far, if there is any: what is pushed next goes on behind it.
    pub(super) fn take(&mut self) -> Option<String> {
        (!self.text.is_empty()).then(|| mem::take(&mut self.text))
    }

    /// The text, if it does not end within a sequence.
    pub(super) fn finish(mut self) -> Result<String, InvalidUtf8> {
        if self.tail_length > 0 {
            return Err(InvalidUtf8);
        }
        if self.text.capacity() / 2 > self.text.len() {
            self.text.shrink_to_fit();
        }
        Ok(self.text)
    }

    fn push_to_tail(&mut self, octet: u8) -> Result<(), InvalidUtf8> {
        let length = usize::from(self.tail_length);
        let mut sequence = [0; 4];
        sequence[..length].copy_from_slice(&self.tail[..length]);
        sequence[length] = octet;
        match str::from_utf8(&sequence[..=length]) {
            Ok(character) => {
                self.text.push_str(character);
                self.tail_length = 0;
                Ok(())
            }
            // An incomplete sequence has at most three octets: it fits.
            Err(error) if error.error_len().is_none() => {
                self.tail[length] = octet;
                self.tail_length += 1;
                Ok(())
            }
            Err(_) => Err(InvalidUtf8),
        }
    }
}

/// Cuts off a last sequence that wants more octets than there are, so that the rest can be validated in one go.
fn split_incomplete(octets: &[u8]) -> (&[u8], &[u8]) {
    let last = octets.iter().rev().take(3).position(|&octet| octet & 0xC0 != 0x80);
    let tail_length = last.map_or(0, |continuations| {
        let needed = match octets[octets.len() - 1 - continuations] {
            0xC2..=0xDF => 2,
            0xE0..=0xEF => 3,
            0xF0..=0xF4 => 4,
            _ => 1,
        };
        if needed > continuations + 1 { continuations + 1 } else { 0 }
    });
    octets.split_at(octets.len() - tail_length)
}
