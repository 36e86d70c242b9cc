//! Where a property takes what it may choose: from a seed, or from the octets of a fuzzer.

pub use super::h2_common::Random;

impl Random {
    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn octet(&mut self) -> u8 {
        self.next() as u8
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// Changes a few octets of an input: their bits, their number or their order. `odd` are those that mean something.
    pub fn mutate(&mut self, octets: &mut Vec<u8>, odd: &[u8]) {
        for _ in 0..self.below(4) {
            let at = self.below(octets.len() + 1);
            match self.below(8) {
                0 => octets.truncate(at),
                1 => octets.insert(at, self.octet()),
                2 => octets.insert(at, self.pick(odd)),
                3 => {
                    let end = (at + self.below(60)).min(octets.len());
                    octets.extend_from_within(at..end);
                }
                _ if at == octets.len() => {}
                4 => octets[at] ^= 1 << self.below(8),
                5 => octets[at] = self.pick(odd),
                6 => octets[at] = self.octet(),
                _ => drop(octets.drain(at..octets.len().min(at + 1 + self.below(4)))),
            }
        }
    }
}

/// What a property is driven by. The same choices always make the same run.
#[derive(Debug)]
pub enum Choices<'a> {
    /// All that a seed says, and the octets that would have said the same: an input for a fuzzer to begin with.
    Seeded { random: Random, octets: Vec<u8> },
    /// What a fuzzer, or a file of its corpus, says: each choice takes one octet, or two where that is too few. Behind the last
    /// one, chance decides, so that what was begun comes to its end.
    Octets { rest: &'a [u8], then: Random },
}

impl<'a> Choices<'a> {
    pub fn seeded(seed: u64) -> Self {
        Self::Seeded { random: Random(seed), octets: Vec::new() }
    }

    pub fn octets(octets: &'a [u8]) -> Self {
        Self::Octets { rest: octets, then: Random(0) }
    }

    /// A number below `end`, which is at most 2³².
    pub fn below(&mut self, end: usize) -> usize {
        let width = match end {
            0..=1 => return 0,
            2..=0x100 => 1,
            0x101..=0x1_0000 => 2,
            _ => 4,
        };
        match self {
            Self::Seeded { random, octets } => {
                let number = random.below(end);
                octets.extend_from_slice(&(number as u32).to_be_bytes()[4 - width..]);
                number
            }
            Self::Octets { rest: [], then } => then.below(end),
            Self::Octets { rest, .. } => {
                let (taken, after) = rest.split_at(width.min(rest.len()));
                *rest = after;
                taken.iter().fold(0, |number, &octet| number << 8 | usize::from(octet)) % end
            }
        }
    }

    pub fn one_in(&mut self, chances: usize) -> bool {
        self.below(chances) == 0
    }

    pub fn octet(&mut self) -> u8 {
        self.below(256) as u8
    }

    pub fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// A generator for what is not worth an octet for each choice, such as where an input is cut.
    pub fn random(&mut self) -> Random {
        Random(self.below(1 << 16) as u64)
    }

    /// The octets under test: all that the fuzzer has left, or what `generate` makes of a seed.
    pub fn rest(&mut self, generate: impl FnOnce(&mut Random) -> Vec<u8>) -> Vec<u8> {
        match self {
            Self::Seeded { random, octets } => {
                let rest = generate(random);
                octets.extend_from_slice(&rest);
                rest
            }
            Self::Octets { rest, .. } => std::mem::take(rest).to_vec(),
        }
    }

    /// Whether a run that goes on for as long as there are choices is to come to its end: a seed has so many `rounds`.
    pub fn is_over(&self, rounds: usize) -> bool {
        match self {
            Self::Seeded { .. } => rounds == 0,
            Self::Octets { rest, .. } => rest.is_empty(),
        }
    }
}
