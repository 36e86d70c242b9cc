//! `sockeye connect` in pipes and in a terminal, against `sockeye serve` and against a server of other people's parts.

#[path = "../common/mod.rs"]
mod common;
mod peer;
mod pipes;
mod statuses;
#[cfg(unix)]
mod terminal;
mod words;

use common::Serving;

/// The exit status, stdout and stderr of a conversation in pipes.
fn connect(input: impl AsRef<[u8]>, arguments: &[&str]) -> (i32, Vec<u8>, String) {
    let output = common::run(common::program(&[&["connect"], arguments].concat()), input);
    let errors = common::stderr(&output).to_owned();
    assert!(!errors.contains("panicked"), "{errors}");
    (output.status.code().unwrap(), output.stdout, errors)
}

/// A server over TLS, and the URL of its echo.
fn secure() -> (Serving, String) {
    let server = Serving::start(&["--listen", "127.0.0.1:0"]);
    let url = server.url().replace("ws://", "wss://");
    (server, url)
}
