//! What is not to be read over somebody's shoulder, or in a log.

use std::borrow::Cow;

use http::header::{AUTHORIZATION, COOKIE, HeaderName, HeaderValue, PROXY_AUTHORIZATION, SET_COOKIE};

/// Words in the names of fields that carry what proves who one is.
const WORDS: [&str; 5] = ["token", "secret", "password", "api-key", "apikey"];

/// Whether fields of this name carry what proves who one is.
pub(crate) fn is_secret(name: &HeaderName) -> bool {
    [AUTHORIZATION, COOKIE, PROXY_AUTHORIZATION, SET_COOKIE].contains(name)
        || WORDS.iter().any(|word| name.as_str().contains(word))
}

/// The value of a field as it may be shown: of a secret, only how it begins where that is the name of a scheme
/// (RFC 9110 §11.4).
pub(crate) fn shown<'a>(name: &HeaderName, value: &'a HeaderValue) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(value.as_bytes());
    if !(value.is_sensitive() || is_secret(name)) {
        return text;
    }
    match text.split_once(' ') {
        Some((scheme, _)) if [AUTHORIZATION, PROXY_AUTHORIZATION].contains(name) => format!("{scheme} (hidden)").into(),
        _ => "(hidden)".into(),
    }
}

#[cfg(test)]
mod tests {
    use http::header::{HeaderName, HeaderValue};

    use super::shown;

    #[test]
    fn what_proves_who_one_is_is_hidden() {
        let rows = [
            ("authorization", "Bearer abc", "Bearer (hidden)"),
            ("authorization", "abc", "(hidden)"),
            ("proxy-authorization", "Basic YTpi", "Basic (hidden)"),
            ("cookie", "session=abc; a=b", "(hidden)"),
            ("set-cookie", "session=abc", "(hidden)"),
            ("x-auth-token", "abc", "(hidden)"),
            ("x-api-key", "abc", "(hidden)"),
            ("x-room", "abc", "abc"),
        ];
        for (name, value, expected) in rows {
            let name: HeaderName = name.parse().unwrap();
            assert_eq!(shown(&name, &HeaderValue::from_static(value)), expected, "{name}");
        }
    }
}
