//! What is said of an error.

use std::io;

use sockeye::Error;
use sockeye::error::Step;

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
    let mut text = match error {
        // What the way to the server has to say names its step itself.
        Error::Connect { step: Step::Connector, source } => words_of(&**source),
        Error::Connect { step, source } => format!("no connection: {step} failed: {}", words_of(&**source)),
        Error::Io(source) => words::tls_behind(source).map_or_else(|| error.to_string(), words::of_tls),
        error => error.to_string(),
    };
    if let Error::Refused(response) = error {
        let body = String::from_utf8_lossy(response.body());
        if let Some(line) = body.lines().map(str::trim).find(|line| !line.is_empty()) {
            text.extend([": ", &line.chars().take(MAX_LINE).collect::<String>()]);
        }
    }
    text
}

/// What an error says, and each that led to it.
fn words_of(error: &(dyn std::error::Error + 'static)) -> String {
    let mut said = Vec::new();
    let mut cause = Some(error);
    while let Some(error) = cause {
        let of_tls = match error.downcast_ref::<io::Error>() {
            Some(error) => words::tls_of(error),
            None => error.downcast_ref(),
        };
        said.push(of_tls.map_or_else(|| error.to_string(), words::of_tls));
        cause = error.source();
    }
    said.join(": ")
}

#[cfg(test)]
mod tests {
    use std::io;

    use sockeye::Error;

    use super::explain;

    #[test]
    fn nothing_is_said_twice() {
        let transport = Error::Io(io::Error::other("the cable was cut"));
        let neither = |http1| Error::Neither { http2: Box::new(Error::Disconnected), http1: Box::new(http1) };
        let rows = [
            (explain(&transport), "the transport failed: the cable was cut"),
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

    #[tokio::test]
    async fn what_led_to_no_connection_is_told() {
        let refused = sockeye::connect("ws://127.0.0.1:1/").await.unwrap_err();
        assert!(explain(&refused).contains("refused"), "{}", explain(&refused));
    }
}
