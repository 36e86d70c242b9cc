//! Secrets, kept out of what is printed: people show such output to others.

use std::borrow::Cow;

use http::HeaderName;
use http::header::{LOCATION, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY, SEC_WEBSOCKET_PROTOCOL};

/// In place of a secret.
const HIDDEN: &str = "(hidden)";
/// Parts of names that secrets have, and names that are too short to be looked for within others.
const PARTS: [&str; 11] = [
    "token",
    "secret",
    "passw",
    "passphrase",
    "apikey",
    "signature",
    "credential",
    "session",
    "cookie",
    "authorization",
    "jwt",
];
const WORDS: [&str; 10] = ["key", "auth", "sig", "sid", "code", "ticket", "pwd", "pass", "bearer", "otp"];
/// Octets of the longest subprotocol that is taken for a name: what is longer carries a token.
const MAX_PROTOCOL: usize = 32;

/// A header field's value, without what must not be seen.
pub(crate) fn field<'a>(name: &HeaderName, value: &'a str) -> Cow<'a, str> {
    match name {
        &SEC_WEBSOCKET_KEY | &SEC_WEBSOCKET_ACCEPT => value.into(),
        &SEC_WEBSOCKET_PROTOCOL => protocols(value).into(),
        &LOCATION => url(value).into(),
        name if name.as_str().ends_with("cookie") => cookies(value).into(),
        name if is_secret(name.as_str()) => credentials(value).into(),
        _ => value.into(),
    }
}

/// A subprotocol, unless it is a token.
pub(crate) fn protocol(name: &str) -> &str {
    if name.len() > MAX_PROTOCOL { HIDDEN } else { name }
}

/// A URL, or a path with a query, without the values of secrets in its query and without user information.
pub(crate) fn url(url: &str) -> String {
    let (before, query) = url.split_once('?').map_or((url, None), |(before, query)| (before, Some(query)));
    let mut shown = without_user(before);
    if let Some(query) = query {
        let (query, fragment) = query.split_once('#').map_or((query, None), |(query, rest)| (query, Some(rest)));
        shown.push('?');
        shown.push_str(&query.split('&').map(parameter).collect::<Vec<_>>().join("&"));
        if fragment.is_some() {
            shown.push('#');
            shown.push_str(HIDDEN);
        }
    }
    shown
}

/// RFC 3986 §3.2.1
fn without_user(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split('/').next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((user, _)) => format!("{scheme}://{HIDDEN}{}", &rest[user.len()..]),
        None => url.to_owned(),
    }
}

fn parameter(parameter: &str) -> String {
    match parameter.split_once('=') {
        Some((name, value)) if is_secret(name) && !value.is_empty() => format!("{name}={HIDDEN}"),
        _ => parameter.to_owned(),
    }
}

/// `name=value` of each cookie, and the attributes of one that is set (RFC 6265 §4).
fn cookies(value: &str) -> String {
    let shown = value.split(';').map(|pair| match pair.split_once('=') {
        Some((name, value)) if !is_attribute(name.trim()) && !value.is_empty() => format!("{name}={HIDDEN}"),
        Some(_) => pair.to_owned(),
        None if is_attribute(pair.trim()) => pair.to_owned(),
        None => HIDDEN.to_owned(),
    });
    shown.collect::<Vec<_>>().join(";")
}

fn is_attribute(name: &str) -> bool {
    let known = ["path", "domain", "expires", "max-age", "samesite", "secure", "httponly", "partitioned", "priority"];
    known.iter().any(|attribute| name.eq_ignore_ascii_case(attribute))
}

/// A scheme may be seen, and what follows not (RFC 9110 §11.4).
fn credentials(value: &str) -> String {
    match value.split_once(' ') {
        Some((scheme, _)) if scheme.bytes().all(|octet| octet.is_ascii_alphabetic() || octet == b'-') => {
            format!("{scheme} {HIDDEN}")
        }
        _ => HIDDEN.to_owned(),
    }
}

/// Pages that can set no header put their tokens here.
fn protocols(value: &str) -> String {
    value.split(',').map(|name| protocol(name.trim())).collect::<Vec<_>>().join(", ")
}

/// Whether what has this name, be it a field or a parameter, carries what proves who one is.
pub(crate) fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let joined: String = name.chars().filter(|character| character.is_ascii_alphanumeric()).collect();
    let mut words = name.split(|character: char| !character.is_ascii_alphanumeric());
    PARTS.iter().any(|part| joined.contains(part)) || words.any(|word| WORDS.contains(&word))
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::{field, url};

    #[test]
    fn fields_of_secrets_are_hidden() {
        let rows = [
            ("authorization", "Bearer abc.def", "Bearer (hidden)"),
            ("proxy-authorization", "abc", "(hidden)"),
            ("cookie", "id=1; theme=dark", "id=(hidden); theme=(hidden)"),
            ("cookie", "bare", "(hidden)"),
            ("set-cookie", "id=1; Path=/; HttpOnly; Secure", "id=(hidden); Path=/; HttpOnly; Secure"),
            ("x-api-key", "abc", "(hidden)"),
            ("x-csrf-token", "abc", "(hidden)"),
            ("location", "/login?access_token=abc&room=1", "/login?access_token=(hidden)&room=1"),
            ("sec-websocket-protocol", "chat, 0123456789abcdef0123456789abcdef0", "chat, (hidden)"),
        ];
        for (name, value, shown) in rows {
            assert_eq!(field(&HeaderName::from_static(name), value), shown, "{name}");
        }
    }

    #[test]
    fn other_fields_are_shown() {
        let rows = [
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
            ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
            ("sec-websocket-protocol", "graphql-transport-ws"),
            ("www-authenticate", "Basic realm=\"a\""),
            ("origin", "https://example.com"),
        ];
        for (name, value) in rows {
            assert_eq!(field(&HeaderName::from_static(name), value), value, "{name}");
        }
    }

    #[test]
    fn secrets_in_urls_are_hidden() {
        let rows = [
            ("wss://example.com/chat?room=1", "wss://example.com/chat?room=1"),
            ("wss://example.com/?token=abc", "wss://example.com/?token=(hidden)"),
            ("/?room=1&accessToken=abc&sig=x#y", "/?room=1&accessToken=(hidden)&sig=(hidden)#(hidden)"),
            (
                "https://u:p@example.com/a@b?x-amz-signature=1",
                "https://(hidden)@example.com/a@b?x-amz-signature=(hidden)",
            ),
            ("https://example.com/?token", "https://example.com/?token"),
        ];
        for (written, shown) in rows {
            assert_eq!(url(written), shown);
        }
    }
}
