use std::fmt;

use http::HeaderMap;
use http::header::CONTENT_LENGTH;

/// What the `content-length` of a message says, in octets: `None` where there is none (RFC 9110 §8.6).
///
/// # Errors
///
/// [`InvalidContentLength`] where the value is not a number of decimal digits below 2⁶⁴−1, or where the field stands there
/// more than once with different values.
///
/// ```
/// use http::header::{CONTENT_LENGTH, HeaderMap, HeaderValue};
/// use sockeye_proto::content_length;
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(content_length(&headers), Ok(None));
/// headers.insert(CONTENT_LENGTH, HeaderValue::from_static("42"));
/// assert_eq!(content_length(&headers), Ok(Some(42)));
/// headers.insert(CONTENT_LENGTH, HeaderValue::from_static("+42"));
/// assert!(content_length(&headers).is_err());
/// ```
pub fn content_length(headers: &HeaderMap) -> Result<Option<u64>, InvalidContentLength> {
    let mut values = headers.get_all(CONTENT_LENGTH).iter();
    let Some(first) = values.next() else {
        return Ok(None);
    };
    let digits = first.to_str().map_err(|_| InvalidContentLength)?;
    // `parse` would take a sign.
    let is_number = digits.bytes().all(|octet| octet.is_ascii_digit());
    // RFC 9110 §8.6: the same number may stand there more than once.
    if !is_number || values.any(|value| value != first) {
        return Err(InvalidContentLength);
    }
    // 2⁶⁴−1 is as much as no limit at all.
    let octets = digits.parse().ok().filter(|&octets| octets < u64::MAX);
    octets.map(Some).ok_or(InvalidContentLength)
}

/// A `content-length` that is not one number (RFC 9110 §8.6).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InvalidContentLength;

impl fmt::Display for InvalidContentLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("content-length is not one number")
    }
}

impl std::error::Error for InvalidContentLength {}

#[cfg(test)]
mod tests {
    use super::*;

    fn length(values: &[&'static str]) -> Result<Option<u64>, InvalidContentLength> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(CONTENT_LENGTH, http::HeaderValue::from_static(value));
        }
        content_length(&headers)
    }

    /// RFC 9110 §8.6: `Content-Length = 1*DIGIT`, once or the same each time.
    #[test]
    fn a_length_is_one_number() {
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&["0"]), Ok(Some(0)));
        assert_eq!(length(&["7", "7"]), Ok(Some(7)));
        assert_eq!(length(&["18446744073709551614"]), Ok(Some(u64::MAX - 1)));
        for bad in [&["7", "8"][..], &["7", "07"], &[""], &["-1"], &["+1"], &["1, 1"], &["0x1"], &[" 1"]] {
            assert_eq!(length(bad), Err(InvalidContentLength), "{bad:?}");
        }
        assert_eq!(length(&["18446744073709551615"]), Err(InvalidContentLength));
        assert_eq!(length(&["99999999999999999999"]), Err(InvalidContentLength));
    }
}
