//! Integers with a prefix of 4 to 7 bits (RFC 7541 §5.1).

use bytes::{BufMut, BytesMut};

use super::Error;

/// Octets that may follow the prefix: enough for any length or index that fits in 32 bits.
const MAX_CONTINUATIONS: u32 = 5;

/// Takes one octet off the front of `input`.
pub(super) fn take_octet(input: &mut &[u8]) -> Result<u8, Error> {
    let (&octet, rest) = input.split_first().ok_or(Error::Truncated)?;
    *input = rest;
    Ok(octet)
}

/// Takes an integer off the front of `input`; the bits above its prefix are ignored.
pub(super) fn decode(input: &mut &[u8], prefix_bits: u32) -> Result<usize, Error> {
    let prefix_max = (1 << prefix_bits) - 1;
    let prefix = take_octet(input)? & prefix_max;
    if prefix < prefix_max {
        return Ok(usize::from(prefix));
    }
    let mut value = u64::from(prefix);
    for position in 0..MAX_CONTINUATIONS {
        let octet = take_octet(input)?;
        value += u64::from(octet & 0x7f) << (7 * position);
        if octet & 0x80 == 0 {
            // RFC 7541 §5.1: "Integer encodings that exceed implementation limits -- in value or octet length -- MUST
            // be treated as decoding errors."
            return u32::try_from(value).map(|value| value as usize).map_err(|_| Error::IntegerOverflow);
        }
    }
    Err(Error::IntegerOverflow)
}

/// Appends an integer whose prefix shares its octet with the bits of `pattern`.
pub(super) fn encode(value: usize, prefix_bits: u32, pattern: u8, output: &mut BytesMut) {
    let prefix_max = (1 << prefix_bits) - 1;
    if value < prefix_max {
        output.put_u8(pattern | value as u8);
        return;
    }
    output.put_u8(pattern | prefix_max as u8);
    let mut rest = value - prefix_max;
    while rest >= 0x80 {
        output.put_u8(rest as u8 | 0x80);
        rest >>= 7;
    }
    output.put_u8(rest as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: usize, prefix_bits: u32, pattern: u8) -> BytesMut {
        let mut output = BytesMut::new();
        encode(value, prefix_bits, pattern, &mut output);
        output
    }

    /// RFC 7541 Appendix C.1.
    #[test]
    fn appendix_c_1() {
        for (value, prefix_bits, octets) in
            [(10, 5, &[0x0a][..]), (1337, 5, &[0x1f, 0x9a, 0x0a]), (42, 7, &[0x2a]), (127, 7, &[0x7f, 0x00])]
        {
            assert_eq!(encoded(value, prefix_bits, 0), octets);
            assert_eq!(decode(&mut &octets[..], prefix_bits), Ok(value));
        }
    }

    #[test]
    fn every_prefix_round_trips_and_leaves_what_follows() {
        for prefix_bits in 4..=7 {
            let pattern = 0xff << prefix_bits;
            for value in (0..100_000).chain([u32::MAX as usize - 1, u32::MAX as usize]) {
                let mut octets = encoded(value, prefix_bits, pattern);
                octets.put_u8(0x5a);
                let mut input = &octets[..];
                assert_eq!(decode(&mut input, prefix_bits), Ok(value));
                assert_eq!(input, [0x5a]);
                assert_eq!(octets[0] & pattern, pattern);
            }
        }
    }

    #[test]
    fn integers_past_the_limits_are_errors() {
        let too_large = encoded(u32::MAX as usize + 1, 7, 0);
        assert_eq!(decode(&mut &too_large[..], 7), Err(Error::IntegerOverflow));
        // Zeros in front of the value change nothing but its length.
        assert_eq!(decode(&mut &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x00][..], 7), Ok(127));
        assert_eq!(decode(&mut &[0x7f, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00][..], 7), Err(Error::IntegerOverflow));
        assert_eq!(decode(&mut &[0x7f, 0x80][..], 7), Err(Error::Truncated));
        assert_eq!(decode(&mut &[][..], 7), Err(Error::Truncated));
    }
}
