//! What is said of an error.

use std::error::Error as _;
use std::io;

use sockeye::Error;

use crate::words;

/// Characters of a refusal's content that are told.
const MAX_LINE: usize = 200;

/// An error with all that led to it, in a line, nothing said twice.
pub(super) fn explain(error: &Error) -> String {
    if let Error::Neither { http2, http1 } = error {
        let [http2, http1] = [explain(http2), explain(http1)];
        if http2 == http1 {
            return format!("over HTTP/2 and HTTP/1.1: {http2}");
        }
        return format!("over HTTP/2: {http2}; over HTTP/1.1: {http1}");
    }
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let cause = words_of(error);
        if !text.contains(&cause) {
            text.extend([": ", &cause]);
        }
        source = error.source();
    }
    if let Error::Refused(response) = error {
        let body = String::from_utf8_lossy(response.body());
        if let Some(line) = body.lines().map(str::trim).find(|line| !line.is_empty()) {
            text.extend([": ", &line.chars().take(MAX_LINE).collect::<String>()]);
        }
    }
    if text.contains("invalid peer certificate") {
        text.push_str(" (-k takes any certificate)");
    }
    text
}

fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    let of_tls = match error.downcast_ref::<io::Error>() {
        Some(error) => words::tls_of(error),
        None => error.downcast_ref(),
    };
    of_tls.map_or_else(|| error.to_string(), words::of_tls)
}

#[cfg(test)]
mod tests {
    use std::io;

    use sockeye::Error;

    use super::explain;

    #[test]
    fn nothing_is_said_twice() {
        let rule = || io::Error::other("reserved bit set");
        let violation = Error::Violation { code: 1002, rule: rule().into() };
        let neither = |http1| Error::Neither { http2: Box::new(Error::Disconnected), http1: Box::new(http1) };
        let rows = [
            (explain(&violation), "the peer broke a rule or a limit and was told 1002: reserved bit set"),
            (explain(&neither(Error::Disconnected)), "over HTTP/2 and HTTP/1.1: the connection went away"),
            (
                explain(&neither(Error::Closed)),
                "over HTTP/2: the connection went away; over HTTP/1.1: this side has closed already",
            ),
        ];
        for (said, expected) in rows {
            assert_eq!(said, expected);
        }
    }
}
