//! Masking (RFC 6455 §5.3), in blocks that become vector code.

const BLOCK: usize = 32;
const WORD: usize = 8;

/// The key, repeated.
#[inline]
fn wide(key: [u8; 4]) -> [u8; BLOCK] {
    let mut wide = [0; BLOCK];
    wide.as_chunks_mut().0.fill(key);
    wide
}

/// The key as it applies after so many octets.
pub fn rotate(mut key: [u8; 4], octets: usize) -> [u8; 4] {
    key.rotate_left(octets % 4);
    key
}

/// Takes the mask off, where it is.
pub fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let wide = wide(key);
    let (blocks, rest) = payload.as_chunks_mut::<BLOCK>();
    for block in blocks {
        for (octet, key) in block.iter_mut().zip(wide) {
            *octet ^= key;
        }
    }
    for (octet, key) in rest.iter_mut().zip(wide) {
        *octet ^= key;
    }
}

/// Moves `size` octets from one place to an earlier one, and takes the mask off on the way.
#[inline]
pub fn unmask_back(buffer: &mut [u8], from: usize, to: usize, size: usize, key: [u8; 4]) {
    let mut done = 0;
    let wide = wide(key);
    // Each block is read before it is written, and nothing is written that is still to be read.
    while size - done >= BLOCK {
        let mut block: [u8; BLOCK] = *buffer[from + done..].first_chunk().expect("a block is left");
        for (octet, key) in block.iter_mut().zip(wide) {
            *octet ^= key;
        }
        buffer[to + done..to + done + BLOCK].copy_from_slice(&block);
        done += BLOCK;
    }
    while size - done >= WORD {
        let mut word: [u8; WORD] = *buffer[from + done..].first_chunk().expect("a word is left");
        for (octet, key) in word.iter_mut().zip(wide) {
            *octet ^= key;
        }
        buffer[to + done..to + done + WORD].copy_from_slice(&word);
        done += WORD;
    }
    for index in done..size {
        buffer[to + index] = buffer[from + index] ^ key[index % 4];
    }
}
