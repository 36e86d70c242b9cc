//! What a follower of a topic has seen, as it says so when it comes back.

use std::fmt;
use std::str::FromStr;

use crate::envelope::Source;
use crate::error::Error;

/// How far somebody has seen a topic: of each source of messages, how many. It is text, to be kept by who follows the topic and given
/// back when it comes again: `SOURCE:COUNT` with commas between, such as `9f86d081884c7d65.0:17`. A message that
/// [follows](crate::Topic::follow) has its source and number before it; once number 16 is seen, the count is 17.
///
/// ```
/// let seen: sockeye_hub::Seen = "9f86d081884c7d65.0:17".parse()?;
/// assert_eq!(seen.to_string(), "9f86d081884c7d65.0:17");
/// # Ok::<(), sockeye_hub::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen(Vec<(Source, u64)>);

/// Sources in it, which fit into a URL; a topic has one for each node that sends to it.
const MAX_SOURCES: usize = 128;

impl Seen {
    /// Sorted by source, each once; of more than there may be those of the highest counts.
    pub(crate) fn new(mut all: Vec<(Source, u64)>) -> Self {
        if all.len() > MAX_SOURCES {
            all.sort_unstable_by_key(|&(_, count)| std::cmp::Reverse(count));
            all.truncate(MAX_SOURCES);
        }
        all.sort_unstable();
        all.dedup_by_key(|&mut (source, _)| source);
        Self(all)
    }

    /// How many messages of a source were seen.
    pub(crate) fn of(&self, source: Source) -> Option<u64> {
        let at = self.0.binary_search_by_key(&source, |&(source, _)| source).ok()?;
        Some(self.0[at].1)
    }

    pub(crate) fn sources(&self) -> impl Iterator<Item = Source> {
        self.0.iter().map(|&(source, _)| source)
    }

    /// Whether nothing is said of any source.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}.{:x}", self.node, self.life)
    }
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (source, count)) in self.0.iter().enumerate() {
            let comma = if at > 0 { "," } else { "" };
            write!(f, "{comma}{source}:{count}")?;
        }
        Ok(())
    }
}

/// Nothing at all is [`Seen::default`].
///
/// # Errors
///
/// [`Error::InvalidSeen`] for what no hub has said: more than 128 sources, one that stands twice, or no numbers.
impl FromStr for Seen {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let part = |part: &str| {
            let (source, count) = part.split_once(':')?;
            let (node, life) = source.split_once('.')?;
            let is_hex = |text: &str| text.bytes().all(|octet| octet.is_ascii_hexdigit());
            let is_number = is_hex(node) && is_hex(life) && count.bytes().all(|octet| octet.is_ascii_digit());
            let source =
                Source { node: u64::from_str_radix(node, 16).ok()?, life: u32::from_str_radix(life, 16).ok()? };
            is_number.then_some((source, count.parse().ok()?))
        };
        let all: Option<Vec<_>> = text.split(',').take(MAX_SOURCES + 1).map(part).collect();
        let count = all.as_ref().map_or(0, Vec::len);
        let seen = all.filter(|all| all.len() <= MAX_SOURCES).map(Self::new);
        seen.filter(|seen| seen.0.len() == count).ok_or(Error::InvalidSeen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_is_text() {
        let sources = [Source { node: u64::MAX, life: 3 }, Source { node: 0, life: u32::MAX }];
        let seen = Seen::new(sources.iter().map(|&source| (source, u64::MAX)).collect());
        let text = seen.to_string();
        assert_eq!(text, "0.ffffffff:18446744073709551615,ffffffffffffffff.3:18446744073709551615");
        assert_eq!(text.parse::<Seen>().unwrap(), seen);
        assert_eq!(seen.of(sources[0]), Some(u64::MAX));
        assert_eq!(seen.of(Source { node: 1, life: 3 }), None);
        assert!("".parse::<Seen>().unwrap().is_empty());
    }

    #[test]
    fn what_no_hub_says_is_refused() {
        let many: Vec<_> = (0..=MAX_SOURCES).map(|node| format!("{node:x}.0:1")).collect();
        for text in [
            ",",
            "1.0",
            "1:2",
            "1.0:",
            "1.0:x",
            "g.0:1",
            "+1.0:1",
            "1.0:+1",
            "1.0:1,1.0:2",
            "1.100000000:1",
            &many.join(","),
        ] {
            assert!(matches!(text.parse::<Seen>(), Err(Error::InvalidSeen)), "{text}");
        }
        assert!(many[1..].join(",").parse::<Seen>().is_ok());
    }
}
