//! Random header lists, the same ones for the same seed.

use super::OwnedField;

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub(crate) fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Mostly short strings of mostly plain letters.
    pub(crate) fn string(&mut self) -> Vec<u8> {
        let max_length = *self.pick(&[1, 4, 16, 16, 64, 64, 300, 3000]);
        let length = self.below(max_length);
        let any = self.one_in(8);
        (0..length).map(|_| if any { self.next() as u8 } else { *self.pick(b"aeionrst0123-/=;, ABCXYZ&*#~") }).collect()
    }

    /// Names and values that repeat often enough to be worth a table, beside some that never do.
    pub(crate) fn field(&mut self) -> OwnedField {
        const COMMON: &[(&str, &str)] = &[
            (":status", "200"),
            (":status", "403"),
            (":method", "CONNECT"),
            (":protocol", "websocket"),
            (":path", "/chat"),
            (":path", "/search?q=sockeye"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits"),
            ("content-length", "17"),
            ("cookie", "short"),
            ("cookie", "session=31cf64b90210475fb3a3cf9d5b9abdca"),
            ("authorization", "Basic YWxhZGRpbjpvcGVuc2VzYW1l"),
            ("user-agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko)"),
            ("x-request-id", ""),
            ("", "no name"),
            ("", ""),
        ];
        let (name, value) = *self.pick(COMMON);
        let mut field = OwnedField::new(name, value);
        if self.one_in(3) {
            field.value = self.string();
        }
        if self.one_in(6) {
            field.name = self.string();
        }
        field.sensitive = self.one_in(12);
        field
    }

    pub(crate) fn list(&mut self) -> Vec<OwnedField> {
        (0..self.below(12)).map(|_| self.field()).collect()
    }

    /// Changes a few octets of a block: their bits, their number or their order.
    pub(crate) fn mutate(&mut self, block: &mut Vec<u8>) {
        for _ in 0..=self.below(4) {
            let position = self.below(block.len() + 1);
            match self.below(6) {
                0 => block.truncate(position),
                1 => block.insert(position, self.next() as u8),
                2 => block.insert(position, *self.pick(&[0x00, 0x0f, 0x1f, 0x20, 0x3f, 0x40, 0x7f, 0x80, 0xbe, 0xff])),
                3 => block.rotate_left(position),
                _ if position == block.len() => {}
                4 => block[position] ^= 1 << self.below(8),
                _ => drop(block.remove(position)),
            }
        }
    }
}
