//! What a person may ask of a handshake, for every command that opens WebSockets.

use std::time::Duration;

use http::header::{HeaderMap, HeaderName, HeaderValue, ORIGIN};

use crate::hide;

/// Octets in a message received, where nobody says how many.
pub(crate) const MAX_MESSAGE_SIZE: usize = 16 << 20;

#[derive(clap::Args, Clone, Debug)]
pub(crate) struct HandshakeOptions {
    /// A header field to send with the handshake; may be repeated. Host stands in place of the URL's host, over HTTP/2 as
    /// :authority.
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// A subprotocol to offer, the preferred one first; may be repeated.
    #[arg(short = 's', long = "subprotocol", value_name = "NAME", value_delimiter = ',')]
    pub(crate) protocols: Vec<String>,
    /// The Origin to send, as a browser would for a page of it.
    #[arg(short = 'o', long, value_name = "ORIGIN")]
    origin: Option<HeaderValue>,
    /// Octets in a message received, beyond which a socket is closed with 1009. By default 16 MiB; in bench four times what
    /// a message has, or 1 MiB.
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_message_size: Option<usize>,
}

impl HandshakeOptions {
    /// All fields that were asked for.
    pub(crate) fn headers(&self) -> HeaderMap {
        let mut headers: HeaderMap = HeaderMap::new();
        for (name, value) in &self.headers {
            headers.append(name, value.clone());
        }
        if let Some(origin) = &self.origin {
            headers.insert(ORIGIN, origin.clone());
        }
        headers
    }
}

fn parse_header(field: &str) -> Result<(HeaderName, HeaderValue), String> {
    // With a semicolon curl's users write one that is empty.
    let empty = || field.strip_suffix(';').map(|name| (name, ""));
    let (name, value) =
        field.split_once(':').or_else(empty).ok_or("a header field is such as 'Authorization: Bearer abc'")?;
    let name: HeaderName = name.trim().parse().map_err(|_| format!("{name:?} is no name of a header field"))?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| format!("no value of the header field {name}"))?;
    value.set_sensitive(hide::is_secret(name.as_str()));
    Ok((name, value))
}

/// A time above 0.
pub(crate) fn parse_seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.filter(|seconds| !seconds.is_zero()).ok_or_else(|| "a number of seconds above 0".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{parse_header, parse_seconds};

    #[test]
    fn a_header_field_is_a_name_and_a_value() {
        let (name, value) = parse_header("X-Room:  a: b ").unwrap();
        assert_eq!((name.as_str(), value.to_str().unwrap()), ("x-room", "a: b"));
        for field in ["empty:", "empty;"] {
            assert_eq!(parse_header(field).unwrap().1, "");
        }
        for field in ["", "name", ": value", "na me: value", "name: a\nb"] {
            assert!(parse_header(field).is_err(), "{field:?}");
        }
    }

    #[test]
    fn seconds_are_above_zero() {
        assert_eq!(parse_seconds("0.5").unwrap().as_millis(), 500);
        for text in ["", "0", "-1", "nan", "inf", "1e30", "soon"] {
            assert!(parse_seconds(text).is_err(), "{text}");
        }
    }
}
