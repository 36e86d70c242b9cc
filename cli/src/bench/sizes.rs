//! How large messages are.

use std::fmt;
use std::str::FromStr;

/// Octets of the largest message.
const MAX_SIZE: usize = 1 << 30;

/// The octets of messages: always as many, or drawn from ranges by weight.
#[derive(Clone, Debug)]
pub(super) struct Sizes {
    ranges: Vec<Range>,
    text: String,
}

/// Each size from `least` to `most` is as likely as any other.
#[derive(Clone, Copy, Debug)]
struct Range {
    least: usize,
    most: usize,
    /// The weights of this range and all before it.
    weights: u64,
}

impl Sizes {
    /// The size that a random number draws.
    #[inline]
    pub(super) fn draw(&self, random: impl FnOnce() -> u64) -> usize {
        if let [Range { least, most, .. }] = self.ranges[..]
            && least == most
        {
            return least;
        }
        let random = random();
        // The upper half chooses the range, the lower one the size within it.
        let weight = scale(random >> 32, self.ranges.last().map_or(1, |range| range.weights));
        let chosen = self.ranges.iter().find(|range| weight < range.weights);
        chosen.map_or(0, |range| {
            range.least + scale(random & 0xFFFF_FFFF, (range.most - range.least + 1) as u64) as usize
        })
    }

    /// The largest size there is.
    pub(super) fn max(&self) -> usize {
        self.ranges.iter().map(|range| range.most).max().unwrap_or(0)
    }
}

/// A number below 2³², mapped evenly to those below `end`, which is at most 2³².
fn scale(random: u64, end: u64) -> u64 {
    (random * end) >> 32
}

impl FromStr for Sizes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut ranges = Vec::new();
        let mut weights: u64 = 0;
        for item in text.split(',') {
            let (sizes, weight) = item.split_once(':').unwrap_or((item, "1"));
            let weight: u32 =
                weight.parse().map_err(|_| format!("{weight:?} is no weight, which is a whole number"))?;
            let (least, most) = sizes.split_once("..").unwrap_or((sizes, sizes));
            let (least, most) = (parse_size(least)?, parse_size(most)?);
            if least > most {
                return Err(format!("{sizes}: the smaller size comes first"));
            }
            weights += u64::from(weight);
            ranges.push(Range { least, most, weights });
        }
        if weights == 0 || weights > u64::from(u32::MAX) {
            return Err("the weights together are to be above 0 and below 2³²".to_owned());
        }
        Ok(Self { ranges, text: text.to_owned() })
    }
}

/// Octets, as `32`, `16k` (16,000) or `16Ki` (16,384).
fn parse_size(text: &str) -> Result<usize, String> {
    let digits = text.trim_end_matches(|character: char| !character.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "" => 1,
        "k" => 1000,
        "Ki" => 1 << 10,
        "M" => 1_000_000,
        "Mi" => 1 << 20,
        _ => return Err(format!("{text:?} is no size; write 32, 16k (16,000 octets), 16Ki (16,384), 1M or 1Mi")),
    };
    let size = digits.parse::<usize>().ok().and_then(|number| number.checked_mul(unit));
    size.filter(|size| *size <= MAX_SIZE).ok_or_else(|| format!("{text:?} is no size of at most 1 GiB"))
}

/// As it was given.
impl fmt::Display for Sizes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::mix;
    use super::{Sizes, parse_size};

    #[test]
    fn a_size_is_a_number_with_or_without_a_unit() {
        let sizes = ["0", "32", "16k", "16Ki", "1M", "1Mi"].map(|text| parse_size(text).unwrap());
        assert_eq!(sizes, [0, 32, 16_000, 16_384, 1_000_000, 1_048_576]);
        for text in ["", "k", "-1", "1.5k", "16K", "16 k", "2000Mi", "99999999999999999999"] {
            assert!(parse_size(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_distribution_is_refused() {
        for text in ["", "1,,2", "9..3", "1..", "32:0", "32:x", "1:-1", "1:4294967295,2:1"] {
            assert!(text.parse::<Sizes>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_range_yields_all_of_its_sizes_alike() {
        let sizes: Sizes = "16..19".parse().unwrap();
        let mut counts = [0; 4];
        for number in 0..40_000 {
            counts[sizes.draw(|| mix(number)) - 16] += 1;
        }
        assert!(counts.iter().all(|count| (9_500..10_500).contains(count)), "{counts:?}");
        assert_eq!(sizes.draw(|| u64::MAX), 19);
        assert_eq!(sizes.draw(|| 0), 16);
    }

    #[test]
    fn a_list_yields_its_items_by_weight() {
        let sizes: Sizes = "32:90,1k..2k:9,16Ki".parse().unwrap();
        assert_eq!(sizes.max(), 16_384);
        let (mut small, mut medium, mut large) = (0, 0, 0);
        for number in 0..100_000 {
            match sizes.draw(|| mix(number)) {
                32 => small += 1,
                1000..=2000 => medium += 1,
                16_384 => large += 1,
                size => panic!("{size}"),
            }
        }
        assert!((89_000..91_000).contains(&small), "{small}");
        assert!((8_500..9_500).contains(&medium), "{medium}");
        assert!((800..1_200).contains(&large), "{large}");
    }
}
