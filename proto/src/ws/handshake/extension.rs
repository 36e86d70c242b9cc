//! `Sec-WebSocket-Extensions` (RFC 6455 §9.1).

use std::fmt;

use http::header::{HeaderMap, SEC_WEBSOCKET_EXTENSIONS};

use super::MAX_ELEMENTS;
use super::fields::{Malformed, is_token, is_token_octet};

/// One element of `Sec-WebSocket-Extensions`: an extension with its parameters, as offered or as accepted
/// (RFC 6455 §9.1).
///
/// It prints as it stands in the field:
///
/// ```
/// use sockeye_proto::ws::handshake::Extension;
///
/// let deflate = Extension::new("permessage-deflate").with("server_max_window_bits", Some("10"));
/// assert_eq!(deflate.to_string(), "permessage-deflate; server_max_window_bits=10");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Extension {
    /// The extension's token, such as `permessage-deflate`.
    pub name: String,
    /// Parameters in order: a name and, where there was one, its value, taken out of its quotes. Nothing is said about
    /// repeated names: that is for the extension to judge.
    pub parameters: Vec<(String, Option<String>)>,
}

impl Extension {
    /// An extension without parameters.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), parameters: Vec::new() }
    }

    /// Adds a parameter.
    #[must_use]
    pub fn with(mut self, name: impl Into<String>, value: Option<&str>) -> Self {
        self.parameters.push((name.into(), value.map(str::to_owned)));
        self
    }

    /// Reads all lines of the field, in order.
    pub(super) fn parse_all(headers: &HeaderMap) -> Result<Vec<Self>, Malformed> {
        let mut extensions = Vec::new();
        for line in headers.get_all(SEC_WEBSOCKET_EXTENSIONS) {
            let mut cursor = Cursor { rest: line.to_str().map_err(|_| Malformed::Syntax)? };
            while cursor.next_element() {
                if extensions.len() == MAX_ELEMENTS {
                    return Err(Malformed::TooMany);
                }
                extensions.push(cursor.extension()?);
            }
        }
        let is_empty = extensions.is_empty() && headers.contains_key(SEC_WEBSOCKET_EXTENSIONS);
        if is_empty { Err(Malformed::Syntax) } else { Ok(extensions) }
    }
}

impl fmt::Display for Extension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (name, value) in &self.parameters {
            write!(f, "; {name}")?;
            // Never in quotes: RFC 6455 §9.1 demands that a quoted value is a token when taken out of them.
            if let Some(value) = value {
                write!(f, "={value}")?;
            }
        }
        Ok(())
    }
}

/// Reads one line from left to right.
struct Cursor<'a> {
    rest: &'a str,
}

impl<'a> Cursor<'a> {
    /// Skips to the next element; `false` at the end of the line. Empty elements count for nothing (RFC 9110 §5.6.1.2).
    fn next_element(&mut self) -> bool {
        self.rest = self.rest.trim_start_matches([' ', '\t', ',']);
        !self.rest.is_empty()
    }

    /// extension = token *( ";" parameter ), up to the comma or the end of the line.
    fn extension(&mut self) -> Result<Extension, Malformed> {
        let mut extension = Extension::new(self.token()?);
        while self.eat(';') {
            if extension.parameters.len() == MAX_ELEMENTS {
                return Err(Malformed::TooMany);
            }
            let name = self.token()?.to_owned();
            let value = if self.eat('=') { Some(self.value()?) } else { None };
            extension.parameters.push((name, value));
        }
        let is_whole = self.rest.is_empty() || self.rest.starts_with(',');
        if is_whole { Ok(extension) } else { Err(Malformed::Syntax) }
    }

    /// Takes a token with the space on both its sides.
    fn token(&mut self) -> Result<&'a str, Malformed> {
        self.skip_space();
        let end = self.rest.bytes().position(|octet| !is_token_octet(octet)).unwrap_or(self.rest.len());
        let (token, rest) = self.rest.split_at(end);
        self.rest = rest;
        self.skip_space();
        if token.is_empty() { Err(Malformed::Syntax) } else { Ok(token) }
    }

    /// A token, bare or in quotes.
    fn value(&mut self) -> Result<String, Malformed> {
        self.skip_space();
        if !self.eat('"') {
            return self.token().map(str::to_owned);
        }
        let mut value = String::new();
        let mut characters = self.rest.chars();
        loop {
            match characters.next() {
                Some('"') => break,
                Some('\\') => value.extend(characters.next()),
                Some(character) => value.push(character),
                None => return Err(Malformed::Syntax),
            }
        }
        self.rest = characters.as_str();
        self.skip_space();
        // RFC 6455 §9.1: "the value after quoted-string unescaping MUST conform to the 'token' ABNF."
        if is_token(&value) { Ok(value) } else { Err(Malformed::Syntax) }
    }

    fn eat(&mut self, character: char) -> bool {
        match self.rest.strip_prefix(character) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }
}
