//! What goes wrong.

use std::time::Duration;
use std::{error, fmt};

/// What a topic cannot do. Its text says what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// No topic is called so: why.
    InvalidTopic(&'static str),
    /// The message has more octets than the backplane takes, and nobody has got it.
    TooLarge {
        /// Octets of the message.
        size: usize,
        /// Octets that it may have: what the backplane takes, less the envelope.
        max: usize,
    },
    /// Too much waits to be published. Members on this node have got the message, those on others will not.
    QueueFull,
    /// The backplane is not connected. Members on this node have got the message, those on others will not.
    Down,
    /// The backplane has not confirmed in this time that the topic is subscribed to, so that messages might be missed unseen.
    JoinTimeout(Duration),
    /// No hub has said this of what was seen of a topic.
    InvalidSeen,
    /// The socket cannot be a member, as [`Group::join`](sockeye::Group::join) says it.
    Socket(sockeye::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InvalidTopic(why) => write!(f, "no topic is called so: {why}; give it 1 to 255 octets of text"),
            Self::TooLarge { size, max } => {
                write!(
                    f,
                    "the message has {size} octets, and the backplane takes {max}: send less, or raise its limit (`max_payload`)"
                )
            }
            Self::QueueFull => f.write_str(
                "too much waits to be published, so only members on this machine got the message: send less, or give the hub a longer queue",
            ),
            Self::Down => {
                f.write_str("the backplane is not connected, so only members on this machine got the message: try again later")
            }
            Self::JoinTimeout(time) => {
                write!(f, "the backplane has not confirmed the subscription within {time:?}: see whether it is reached, and join again")
            }
            Self::InvalidSeen => {
                f.write_str("this is not what was seen of a topic: it is SOURCE:COUNT with commas between, as the hub has said it")
            }
            Self::Socket(error) => error.fmt(f),
        }
    }
}

impl error::Error for Error {}

impl From<sockeye::Error> for Error {
    fn from(error: sockeye::Error) -> Self {
        Self::Socket(error)
    }
}

/// So that a handler may say `?`.
impl From<Error> for sockeye::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Socket(error) => error,
            other => Self::Application(Box::new(other)),
        }
    }
}
