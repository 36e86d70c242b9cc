//! Reading header fields: lists of tokens, and fields that may stand only once.

use http::header::{HeaderMap, HeaderName, HeaderValue};

use super::{MAX_ELEMENTS, Refusal};

/// A field did not follow its grammar, or went past a limit.
#[derive(Debug)]
pub(super) enum Malformed {
    /// Not the grammar of this field.
    Syntax,
    /// More than [`MAX_ELEMENTS`].
    TooMany,
}

impl Malformed {
    /// What it means for a handshake; `syntax` is the field's own refusal.
    pub(super) fn refusal(self, syntax: Refusal) -> Refusal {
        match self {
            Self::Syntax => syntax,
            Self::TooMany => Refusal::TooMany,
        }
    }
}

/// Whether `text` is a token (RFC 9110 §5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(is_token_octet)
}

pub(super) fn is_token_octet(octet: u8) -> bool {
    matches!(octet, b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z')
        || matches!(octet, b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.')
        || matches!(octet, b'^' | b'_' | b'`' | b'|' | b'~')
}

/// Whether some line of a list field holds `token`, in any letter case.
pub(super) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    elements(headers, name).any(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// Whether a list field holds `token`, in any letter case, and nothing else.
pub(super) fn has_token_alone(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    has_token(headers, name, token)
        && elements(headers, name).all(|element| element.eq_ignore_ascii_case(token.as_bytes()))
}

/// The elements of a list field, of all its lines; RFC 9110 §5.6.1.2: empty ones are ignored.
fn elements<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a [u8]> {
    let elements = headers.get_all(name).iter().flat_map(|line| line.as_bytes().split(|octet| *octet == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty())
}

/// The tokens of a list field, of all its lines in order, each of them once (RFC 6455 §4.1: "MUST all be unique
/// strings"). A field that is there holds at least one.
pub(super) fn unique_tokens(headers: &HeaderMap, name: &HeaderName) -> Result<Vec<String>, Malformed> {
    let mut tokens: Vec<String> = Vec::new();
    for line in headers.get_all(name) {
        let line = line.to_str().map_err(|_| Malformed::Syntax)?;
        // RFC 9110 §5.6.1.2: a recipient ignores empty elements.
        for token in line.split(',').map(|element| element.trim_matches([' ', '\t'])).filter(|token| !token.is_empty())
        {
            if !is_token(token) || tokens.iter().any(|earlier| earlier == token) {
                return Err(Malformed::Syntax);
            }
            if tokens.len() == MAX_ELEMENTS {
                return Err(Malformed::TooMany);
            }
            tokens.push(token.into());
        }
    }
    if tokens.is_empty() && headers.contains_key(name) { Err(Malformed::Syntax) } else { Ok(tokens) }
}

/// The value of a field that may stand only once; `Err` where it stands more often.
pub(super) fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a HeaderValue>, Malformed> {
    let mut lines = headers.get_all(name).iter();
    match (lines.next(), lines.next()) {
        (value, None) => Ok(value),
        (_, Some(_)) => Err(Malformed::Syntax),
    }
}

/// Joins the elements of a list into one header line.
pub(super) fn join<T: ToString>(elements: &[T]) -> String {
    elements.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
