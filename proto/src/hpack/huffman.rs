//! The Huffman code for string literals (RFC 7541 §5.2 and Appendix B).
//!
//! The code is canonical: codes of one length are consecutive numbers in the order of their symbols, and the first code
//! of a length follows from the last one of the length before. So the lengths are the whole code, and every table here
//! is computed from them at compile time.

use bytes::{BufMut, BytesMut};

use super::Error;

/// The bits of each symbol's code, EOS last (RFC 7541 Appendix B).
#[rustfmt::skip]
const LENGTHS: [u8; 257] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
    28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
     6, 10, 10, 12, 13,  6,  8, 11, 10, 10,  8, 11,  8,  6,  6,  6,
     5,  5,  5,  6,  6,  6,  6,  6,  6,  6,  7,  8, 15,  6, 12, 10,
    13,  6,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,  7,
     7,  7,  7,  7,  7,  7,  7,  7,  8,  7,  8, 13, 19, 13, 14,  6,
    15,  5,  6,  5,  6,  5,  6,  6,  6,  5,  7,  7,  6,  6,  6,  5,
     6,  7,  6,  5,  5,  6,  7,  7,  7,  7,  7, 15, 11, 14, 13, 28,
    20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
    24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
    21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
    26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
    19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
    20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
    30,
];

const EOS: u16 = 256;

/// The shortest and the longest code, in bits.
const MIN_LENGTH: usize = 5;
const MAX_LENGTH: usize = 30;

/// Codes of up to this many bits, which is nearly all of honest text, are found by one look at their first octet.
const SHORT: u32 = 8;

static CODE: Code = Code::new();

struct Code {
    /// By symbol: its code in the low bits.
    codes: [u32; 257],
    /// By the next eight bits: the symbol and the length of its code, or a length of 0 where the code is longer.
    short: [(u8, u8); 256],
    /// By length: the codes of this length.
    ranges: [Range; MAX_LENGTH + 1],
    /// The symbols in the order of their codes.
    symbols: [u16; 257],
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Range {
    first_code: u32,
    /// Where the symbol of `first_code` stands in [`Code::symbols`].
    first_position: u16,
    /// The greatest 32 bits that begin with a code of this length or of a shorter one.
    last_window: u32,
}

impl Code {
    const fn new() -> Self {
        let mut this = Self {
            codes: [0; 257],
            short: [(0, 0); 256],
            ranges: [Range { first_code: 0, first_position: 0, last_window: 0 }; MAX_LENGTH + 1],
            symbols: [0; 257],
        };
        let (mut next_code, mut position) = (0_u32, 0);
        let mut length = MIN_LENGTH;
        while length <= MAX_LENGTH {
            this.ranges[length] = Range { first_code: next_code, first_position: position as u16, last_window: 0 };
            let mut symbol = 0;
            while symbol < LENGTHS.len() {
                if LENGTHS[symbol] as usize == length {
                    this.codes[symbol] = next_code;
                    this.symbols[position] = symbol as u16;
                    this.enter_short(symbol, length, next_code);
                    next_code += 1;
                    position += 1;
                }
                symbol += 1;
            }
            this.ranges[length].last_window = (((next_code as u64) << (32 - length)) - 1) as u32;
            next_code <<= 1;
            length += 1;
        }
        // A complete code ends with all ones, which is EOS.
        assert!(position == 257 && this.codes[EOS as usize] == 0x3fff_ffff);
        this
    }

    const fn enter_short(&mut self, symbol: usize, length: usize, code: u32) {
        if length > SHORT as usize {
            return;
        }
        let free_bits = SHORT as usize - length;
        let mut octet = (code as usize) << free_bits;
        let end = octet + (1 << free_bits);
        while octet < end {
            self.short[octet] = (symbol as u8, length as u8);
            octet += 1;
        }
    }

    /// The symbol whose code the 64 bits begin with, and the bits of that code.
    #[inline]
    fn first_symbol(&self, bits: u64) -> (u16, u32) {
        match self.short[(bits >> 56) as usize] {
            (_, 0) => self.first_long_symbol((bits >> 32) as u32),
            (symbol, length) => (symbol.into(), length.into()),
        }
    }

    #[cold]
    fn first_long_symbol(&self, window: u32) -> (u16, u32) {
        let mut length = SHORT as usize + 1;
        while length < MAX_LENGTH && window > self.ranges[length].last_window {
            length += 1;
        }
        let range = &self.ranges[length];
        let nth = (window >> (32 - length)) - range.first_code;
        (self.symbols[usize::from(range.first_position) + nth as usize], length as u32)
    }
}

/// Appends the decoded octets to `output`: at most 8/5 of those in `input`.
pub(super) fn decode(mut input: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
    output.reserve(input.len() * 8 / MIN_LENGTH);
    // The next `count` bits of the string, from the highest bit on.
    let (mut bits, mut count) = (0_u64, 0_u32);
    while let Some((chunk, rest)) = input.split_first_chunk() {
        input = rest;
        bits |= u64::from(u32::from_be_bytes(*chunk)) << (32 - count);
        count += 32;
        // No code is longer than the bits at hand.
        while count >= 32 {
            let (symbol, length) = CODE.first_symbol(bits);
            output.push(octet(symbol)?);
            bits <<= length;
            count -= length;
        }
    }
    for &octet in input {
        bits |= u64::from(octet) << (56 - count);
        count += 8;
    }
    decode_end(bits, count, output)
}

/// Decodes the last symbols, followed by padding.
fn decode_end(mut bits: u64, mut count: u32, output: &mut Vec<u8>) -> Result<(), Error> {
    loop {
        // Behind the last bit, the padding goes on: what begins there is EOS, or longer than what is left.
        bits |= u64::MAX >> count;
        let (symbol, length) = CODE.first_symbol(bits);
        if length > count {
            break;
        }
        output.push(octet(symbol)?);
        bits <<= length;
        count -= length;
    }
    // RFC 7541 §5.2: "A padding strictly longer than 7 bits MUST be treated as a decoding error. A padding not
    // corresponding to the most significant bits of the code for the EOS symbol MUST be treated as a decoding error."
    match (bits, count) {
        (_, 8..) => Err(Error::HuffmanPaddingLength),
        (u64::MAX, _) => Ok(()),
        _ => Err(Error::HuffmanPaddingBits),
    }
}

fn octet(symbol: u16) -> Result<u8, Error> {
    // RFC 7541 §5.2: "A Huffman-encoded string literal containing the EOS symbol MUST be treated as a decoding error."
    u8::try_from(symbol).map_err(|_| Error::HuffmanEos)
}

/// The octets that [`encode`] appends.
pub(super) fn encoded_len(text: &[u8]) -> usize {
    let bits: usize = text.iter().map(|&octet| usize::from(LENGTHS[usize::from(octet)])).sum();
    bits.div_ceil(8)
}

/// Appends the code of `text`.
pub(super) fn encode(text: &[u8], output: &mut BytesMut) {
    // The last `count` bits, in the low bits; what stands above them has been written.
    let (mut bits, mut count) = (0_u64, 0_u32);
    for &octet in text {
        let length = u32::from(LENGTHS[usize::from(octet)]);
        bits = bits << length | u64::from(CODE.codes[usize::from(octet)]);
        count += length;
        if count >= 32 {
            count -= 32;
            output.put_u32((bits >> count) as u32);
        }
    }
    // RFC 7541 §5.2: the first bits of EOS fill the last octet.
    let padding = count.wrapping_neg() % 8;
    let end = bits << padding | ((1 << padding) - 1);
    output.put_uint(end, count.div_ceil(8) as usize);
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn decoded(input: &[u8]) -> Result<Vec<u8>, Error> {
        let mut output = Vec::new();
        decode(input, &mut output).map(|()| output)
    }

    /// The `length` lowest bits of each code, one after the other, then ones up to a whole octet.
    fn joined(codes: &[(u32, u32)]) -> Vec<u8> {
        let mut bits: Vec<bool> =
            codes.iter().flat_map(|&(code, length)| (0..length).rev().map(move |bit| code >> bit & 1 == 1)).collect();
        bits.resize(bits.len().next_multiple_of(8), true);
        bits.chunks(8).map(|octet| octet.iter().fold(0, |octet, &bit| octet << 1 | u8::from(bit))).collect()
    }

    const EOS_CODE: (u32, u32) = (0x3fff_ffff, 30);
    const A: (u32, u32) = (0x03, 5);

    /// Codes of each kind of length, as Appendix B prints them.
    #[test]
    fn codes_are_those_of_appendix_b() {
        for (symbol, code) in [
            (b'0', 0x0),
            (b'a', 0x3),
            (b' ', 0x14),
            (b':', 0x5c),
            (b'X', 0xfc),
            (b'!', 0x3f8),
            (b'\\', 0x7fff0),
            (0x00, 0x1ff8),
            (b'\n', 0x3fff_fffc),
            (0xff, 0x3ff_ffee),
        ] {
            assert_eq!(CODE.codes[usize::from(symbol)], code, "{symbol:#04x}");
        }
    }

    #[test]
    fn every_pair_of_symbols_round_trips_at_every_bit_offset() {
        for first in 0..=255 {
            for second in 0..=255 {
                // 'a' has 5 bits, so that up to 7 of them reach every offset.
                let text = [&b"aaaaaaa"[..usize::from(first ^ second) % 8], &[first, second]].concat();
                let mut coded = BytesMut::new();
                encode(&text, &mut coded);
                assert_eq!(coded.len(), encoded_len(&text));
                assert_eq!(decoded(&coded).as_deref(), Ok(&text[..]));
            }
        }
    }

    #[test]
    fn eos_is_an_error_wherever_it_stands() {
        assert_eq!(decoded(&joined(&[EOS_CODE])), Err(Error::HuffmanEos));
        for before in 0..14 {
            for after in 0..14 {
                let codes = [&vec![A; before][..], &[EOS_CODE], &vec![A; after]].concat();
                assert_eq!(decoded(&joined(&codes)), Err(Error::HuffmanEos), "{before} {after}");
            }
        }
    }

    #[test]
    fn padding_longer_than_seven_bits_is_an_error() {
        assert_eq!(decoded(&[0xff]), Err(Error::HuffmanPaddingLength));
        for symbols in 0..20 {
            let mut coded = joined(&vec![A; symbols]);
            assert_eq!(decoded(&coded), Ok(vec![b'a'; symbols]));
            coded.push(0xff);
            assert_eq!(decoded(&coded), Err(Error::HuffmanPaddingLength));
        }
        // A code that does not end.
        assert_eq!(decoded(&[0xff, 0xfe]), Err(Error::HuffmanPaddingLength));
    }

    #[test]
    fn padding_other_than_ones_is_an_error() {
        for symbols in 1..20_usize {
            let coded = joined(&vec![A; symbols]);
            let padding = coded.len() * 8 - symbols * 5;
            // No code has less than five bits; longer padding is a symbol if it begins with 0.
            for bit in 0..if padding < 5 { padding } else { 1 } {
                let mut coded = coded.clone();
                *coded.last_mut().unwrap() ^= 1 << bit;
                assert_eq!(decoded(&coded), Err(Error::HuffmanPaddingBits), "{symbols} {bit}");
            }
        }
    }

    /// The rules of §5.2, one bit at a time.
    fn decoded_by_bits(input: &[u8], symbols: &HashMap<(u32, u32), u8>) -> Result<Vec<u8>, Error> {
        let (mut output, mut code, mut length) = (Vec::new(), 0, 0);
        for bit in input.iter().flat_map(|octet| (0..8).rev().map(move |bit| u32::from(octet >> bit & 1))) {
            (code, length) = (code << 1 | bit, length + 1);
            if (code, length) == EOS_CODE {
                return Err(Error::HuffmanEos);
            }
            if let Some(&symbol) = symbols.get(&(code, length)) {
                output.push(symbol);
                (code, length) = (0, 0);
            }
        }
        match length {
            8.. => Err(Error::HuffmanPaddingLength),
            _ if code == (1 << length) - 1 => Ok(output),
            _ => Err(Error::HuffmanPaddingBits),
        }
    }

    #[test]
    fn decoding_agrees_with_decoding_by_bits() {
        let symbols = (0..=255)
            .map(|symbol: u8| ((CODE.codes[usize::from(symbol)], u32::from(LENGTHS[usize::from(symbol)])), symbol));
        let symbols = symbols.collect();
        for first in 0..=255 {
            for second in 0..=255_u8 {
                // Both near the end and far from it; ones in front reach the long codes.
                for input in [
                    &[first, second][..],
                    &[0xff, 0xff, first, second],
                    &[0xff, first, second, first, 0xff, second, first],
                ] {
                    let output = decoded(input);
                    assert_eq!(output, decoded_by_bits(input, &symbols), "{input:x?}");
                }
            }
        }
    }
}
