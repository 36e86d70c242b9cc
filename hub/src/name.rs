//! Names of topics, and how a backplane writes them.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::error::Error;

/// Octets of UTF-8 that a topic's name may have. Escaped it is three times as long at most, well below the 4,096 octets that a NATS
/// server takes for a line.
pub const MAX_NAME: usize = 255;

/// What a topic's channel begins with, and what a node's does: no name makes the one from the other.
const TOPIC: char = 'T';
const NODE: char = 'N';

/// The channel of a topic: one token, of letters, digits and what neither NATS nor Redis gives a meaning. All else is `%XX`, so that
/// no dot, wildcard or space of a name that a client has sent reaches a backplane.
pub(crate) fn topic_channel(name: &str) -> Result<String, Error> {
    let why = match name {
        "" => Some("it is empty"),
        name if name.len() > MAX_NAME => Some("it is longer than 255 octets"),
        name if name.chars().any(char::is_control) => Some("it has control characters"),
        _ => None,
    };
    if let Some(why) = why {
        return Err(Error::InvalidTopic(why));
    }
    let mut channel = String::with_capacity(name.len() + 1);
    channel.push(TOPIC);
    for octet in name.bytes() {
        match octet {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'/' | b':' | b'@' | b'=' => {
                channel.push(octet.into())
            }
            _ => _ = write!(channel, "%{octet:02X}"),
        }
    }
    Ok(channel)
}

/// The name that a topic's channel stands for.
pub(crate) fn topic_name(channel: &str) -> Cow<'_, str> {
    let escaped = channel.strip_prefix(TOPIC).unwrap_or(channel);
    if !escaped.contains('%') {
        return Cow::Borrowed(escaped);
    }
    let (mut octets, mut rest) = (Vec::with_capacity(escaped.len()), escaped.as_bytes());
    while let Some((&octet, after)) = rest.split_first() {
        let hex = after.get(..2).and_then(|hex| str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()).filter(|_| octet == b'%') {
            Some(octet) => {
                octets.push(octet);
                rest = &after[2..];
            }
            None => {
                octets.push(octet);
                rest = after;
            }
        }
    }
    Cow::Owned(String::from_utf8_lossy(&octets).into_owned())
}

/// The channel on which a node is answered.
pub(crate) fn node_channel(node: u64) -> String {
    format!("{NODE}{node:016x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Any name comes back from its channel, and no channel has what a backplane gives a meaning.
    #[test]
    fn a_channel_is_one_token_and_stands_for_one_name() {
        for name in ["room", "a.b", "*", ">", "a b", "100 %", "%41", "日本", "TN", "$JS.API", "a/b:c@d=e", "\\", "?[x]"]
        {
            let channel = topic_channel(name).unwrap();
            assert!(!channel.contains(['.', '*', '>', ' ', '$', '?', '[', '\\']), "{channel}");
            assert!(channel.is_ascii());
            assert_eq!(topic_name(&channel), name);
        }
        assert_ne!(topic_channel("a.b").unwrap(), topic_channel("a%2Eb").unwrap());
        assert_ne!(topic_channel("0000000000000001").unwrap(), node_channel(1));
    }

    /// What no topic is called, with the reason.
    #[test]
    fn names_without_sense_are_refused() {
        for name in ["", "a\nb", "\0", "a\r\nPUB x 1", &"x".repeat(MAX_NAME + 1)] {
            assert!(matches!(topic_channel(name), Err(Error::InvalidTopic(_))), "{name:?}");
        }
        assert!(topic_channel(&"x".repeat(MAX_NAME)).is_ok());
    }
}
