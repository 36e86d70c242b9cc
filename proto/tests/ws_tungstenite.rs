//! Conversions from and to the types of tungstenite.

#![cfg(feature = "tungstenite")]

use sockeye_proto::ws::{CloseCode, CloseFrame, Message, NotAMessage};
use tungstenite::protocol::frame::Frame;

#[test]
fn messages_go_there_and_back_without_a_copy() {
    for message in
        [Message::from("überall"), Message::from(""), Message::from(vec![0, 255]), Message::from(vec![7; 100_000])]
    {
        let theirs = tungstenite::Message::from(message.clone());
        assert_eq!((theirs.is_text(), theirs.is_binary()), (message.is_text(), message.is_binary()));
        let address = message.as_bytes().as_ptr();
        assert_eq!(theirs.clone().into_data().as_ptr(), address);
        let back = Message::try_from(theirs).unwrap();
        assert_eq!(back, message);
        assert_eq!(back.as_bytes().as_ptr(), address);
    }
}

/// RFC 6455 §5.5: control frames are no messages. They come back as they were.
#[test]
fn control_frames_are_no_messages() {
    for (theirs, name) in [
        (tungstenite::Message::Ping("a".into()), "a Ping"),
        (tungstenite::Message::Pong("a".into()), "a Pong"),
        (tungstenite::Message::Close(None), "a Close"),
        (tungstenite::Message::Frame(Frame::pong("a")), "a raw frame"),
    ] {
        let refused = Message::try_from(theirs.clone()).unwrap_err();
        assert!(refused.to_string().starts_with(name), "{refused}");
        assert_eq!(refused, NotAMessage(theirs));
    }
}

#[test]
fn close_frames_keep_every_code() {
    for code in 0..=u16::MAX {
        let frame = CloseFrame { code: CloseCode::from(code), reason: "why".into() };
        let theirs = tungstenite::protocol::CloseFrame::from(frame.clone());
        assert_eq!((u16::from(theirs.code), theirs.reason.as_str()), (code, "why"));
        assert_eq!(CloseFrame::from(theirs), frame);
    }
}
