use bytes::{BufMut, BytesMut};

/// Octets that are copied before they are masked: with more of them the copy would have left the nearest cache. A multiple of the
/// key's four, which goes on where it began.
const PIECE: usize = 4096;

/// Masks or unmasks `octets` in place (RFC 6455 §5.3) and returns the key that goes on where they end.
///
/// The key is as [`u32::from_le_bytes`] reads it. A key of zero changes nothing, and stands for a frame without a mask.
#[inline]
pub(super) fn apply(octets: &mut [u8], key: u32) -> u32 {
    if key == 0 {
        return 0;
    }
    // Chunks of a register's width: the compiler makes vector code of this loop.
    let wide = u128::from(key) * 0x0000_0001_0000_0001_0000_0001_0000_0001;
    let (chunks, rest) = octets.as_chunks_mut::<16>();
    for chunk in chunks {
        *chunk = (u128::from_le_bytes(*chunk) ^ wide).to_le_bytes();
    }
    let (words, last) = rest.as_chunks_mut::<4>();
    for word in words {
        *word = (u32::from_le_bytes(*word) ^ key).to_le_bytes();
    }
    for (octet, key) in last.iter_mut().zip(key.to_le_bytes()) {
        *octet ^= key;
    }
    key.rotate_right(8 * last.len() as u32)
}

/// The key that goes on behind so many octets.
pub(super) fn skip(octets: usize, key: u32) -> u32 {
    key.rotate_right(8 * (octets % 4) as u32)
}

/// Copies `octets`, masked or unmasked, and returns the key that goes on where they end: one pass over both, where a copy and
/// then [`apply`] would be two.
pub(super) fn copy(octets: &[u8], key: u32) -> (Vec<u8>, u32) {
    // Words, of which the compiler makes vector code here: of wider chunks, as in `apply`, it does not.
    let (words, rest) = octets.as_chunks::<4>();
    let mut copy = Vec::with_capacity(octets.len().div_ceil(4));
    copy.extend(words.iter().map(|word| (u32::from_le_bytes(*word) ^ key).to_le_bytes()));
    let mut copy = copy.into_flattened();
    let start = copy.len();
    copy.extend_from_slice(rest);
    let key = apply(&mut copy[start..], key);
    (copy, key)
}

/// Appends `octets`, masked, to `output`.
#[inline]
pub(super) fn append(output: &mut BytesMut, octets: &[u8], key: u32) {
    if octets.len() <= PIECE {
        append_piece(output, octets, key);
    } else {
        append_pieces(output, octets, key);
    }
}

#[inline(never)]
fn append_pieces(output: &mut BytesMut, octets: &[u8], key: u32) {
    octets.chunks(PIECE).for_each(|piece| append_piece(output, piece, key));
}

#[inline]
fn append_piece(output: &mut BytesMut, piece: &[u8], key: u32) {
    let start = output.len();
    output.put_slice(piece);
    apply(&mut output[start..], key);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §5.7: the masked "Hello".
    #[test]
    fn example_of_the_rfc() {
        let mut octets = *b"Hello";
        apply(&mut octets, u32::from_le_bytes([0x37, 0xFA, 0x21, 0x3D]));
        assert_eq!(octets, [0x7F, 0x9F, 0x4D, 0x51, 0x58]);
    }

    /// RFC 6455 §5.3: octet i is XORed with octet i modulo 4 of the key, wherever the payload was cut.
    #[test]
    fn any_cut_masks_as_the_whole() {
        let key = [0x01, 0x82, 0x43, 0xC4];
        let plain: Vec<u8> = (0..100).collect();
        let expected: Vec<u8> = plain.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key).collect();
        for length in 0..plain.len() {
            for cut in 0..=length {
                let mut octets = plain[..length].to_vec();
                let (front, back) = octets.split_at_mut(cut);
                let rotated = apply(front, u32::from_le_bytes(key));
                apply(back, rotated);
                assert_eq!(octets, expected[..length], "{length} octets cut at {cut}");
                let (front, rotated) = copy(&plain[..cut], u32::from_le_bytes(key));
                let (back, _) = copy(&plain[cut..length], rotated);
                assert_eq!([front, back].concat(), expected[..length], "{length} octets cut at {cut}, copied");
            }
        }
    }

    /// A payload of several pieces is masked as one.
    #[test]
    fn pieces_are_masked_as_the_whole() {
        let key = u32::from_le_bytes([0x01, 0x82, 0x43, 0xC4]);
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 2 * PIECE + 3] {
            let plain: Vec<u8> = (0..length).map(|octet| octet as u8).collect();
            let mut output = BytesMut::from("before");
            append(&mut output, &plain, key);
            assert_eq!(output, [b"before", &copy(&plain, key).0[..]].concat(), "{length} octets");
        }
    }

    #[test]
    #[ignore = "a measurement: cargo test --release mask -- --ignored --nocapture"]
    fn speed() {
        for size in [16, 32, 125, 1 << 10, 16 << 10, 1 << 20] {
            let mut octets = vec![0x5A; size];
            let rounds = (1 << 32) / (size + 64);
            let mut key = u32::from_le_bytes([1, 2, 3, 4]);
            let start = std::time::Instant::now();
            for _ in 0..rounds {
                key = apply(std::hint::black_box(&mut octets), key);
            }
            let seconds = start.elapsed().as_secs_f64();
            println!("{size:8} octets: {:6.1} GB/s", (size * rounds) as f64 / seconds / 1e9);
        }
    }
}
