//! What is to be done on a socket, and how a line typed in a terminal says it.

use bytes::Bytes;
use sockeye::{CloseCode, Message};

/// What a person, or a pipe, asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Send(Message),
    Ping(Bytes),
    Pong(Bytes),
    Close(CloseCode, String),
}

/// What `/help` says.
pub(super) const HELP: &str = "\
/ping [TEXT]            sends a Ping and tells when it is answered
/pong [TEXT]            sends a Pong, which is not answered
/close [CODE [REASON]]  closes, with 1000 unless another code is given
//TEXT                  sends /TEXT as a message; so does every line without a slash before it
Ctrl-D closes with 1000, Ctrl-C with 1001";

/// The most octets that a Ping or a Pong carries (RFC 6455 §5.5), and a Close beside its code.
const MAX_PAYLOAD: usize = 125;
const MAX_REASON: usize = 123;

/// Reads a line; or what to tell the person instead.
pub(super) fn parse(line: &str, binary: bool) -> Result<Command, String> {
    let Some(command) = line.strip_prefix('/') else { return Ok(message(line, binary)) };
    if command.starts_with('/') {
        return Ok(message(command, binary));
    }
    let (name, rest) = command.split_once(' ').unwrap_or((command, ""));
    match name {
        "ping" => payload(rest).map(Command::Ping),
        "pong" => payload(rest).map(Command::Pong),
        "close" => close(rest),
        "help" => Err(HELP.to_owned()),
        _ => Err(format!("there is no command /{name}; /help lists them, and //{command} sends /{command}")),
    }
}

/// A message of the type that is sent here.
pub(super) fn message(text: &str, binary: bool) -> Command {
    Command::Send(if binary { Message::from(text.as_bytes()) } else { Message::from(text) })
}

fn payload(text: &str) -> Result<Bytes, String> {
    if text.len() > MAX_PAYLOAD {
        return Err(format!("a Ping or a Pong carries at most {MAX_PAYLOAD} octets"));
    }
    Ok(Bytes::copy_from_slice(text.as_bytes()))
}

fn close(rest: &str) -> Result<Command, String> {
    let rest = rest.trim();
    if rest.is_empty() {
        return Ok(Command::Close(CloseCode::NORMAL, String::new()));
    }
    let (code, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let code = code.parse().map(|code: u16| CloseCode::from(code)).ok().filter(|code| code.is_sendable());
    let code = code.ok_or("a Close has a code from 1000 to 1014 (but 1004 to 1006) or from 3000 to 4999")?;
    let reason = reason.trim();
    if reason.len() > MAX_REASON {
        return Err(format!("the reason of a Close has at most {MAX_REASON} octets"));
    }
    Ok(Command::Close(code, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::{Command, HELP, parse};
    use sockeye::CloseCode;

    fn text(text: &str) -> Command {
        Command::Send(text.into())
    }

    #[test]
    fn a_line_is_a_message() {
        for line in ["", "hello", " /ping", "a // b"] {
            assert_eq!(parse(line, false), Ok(text(line)));
        }
        assert_eq!(parse("hello", true), Ok(Command::Send(b"hello".into())));
    }

    #[test]
    fn two_slashes_are_one() {
        assert_eq!(parse("//ping", false), Ok(text("/ping")));
        assert_eq!(parse("//", false), Ok(text("/")));
        assert_eq!(parse("///", false), Ok(text("//")));
    }

    #[test]
    fn commands() {
        assert_eq!(parse("/ping", false), Ok(Command::Ping("".into())));
        assert_eq!(parse("/ping are you there", false), Ok(Command::Ping("are you there".into())));
        assert_eq!(parse("/pong x", false), Ok(Command::Pong("x".into())));
        let closes = |line, code, reason: &str| {
            assert_eq!(parse(line, false), Ok(Command::Close(CloseCode::from(code), reason.to_owned())), "{line}");
        };
        closes("/close", 1000, "");
        closes("/close 1001", 1001, "");
        closes("/close 4000 so long", 4000, "so long");
        assert_eq!(parse("/help", false), Err(HELP.to_owned()));
    }

    #[test]
    fn what_cannot_be_sent_is_explained() {
        for line in ["/clos", "/", "/close x", "/close 1005", "/close 1006", "/close 70000", "/close 999"] {
            assert!(parse(line, false).is_err(), "{line}");
        }
        assert!(parse(&format!("/ping {}", "x".repeat(126)), false).is_err());
        assert!(parse(&format!("/close 1000 {}", "x".repeat(124)), false).is_err());
    }
}
