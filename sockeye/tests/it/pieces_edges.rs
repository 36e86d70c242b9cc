//! Messages in pieces where something else comes between: violations, kept messages.

use std::time::Duration;

use sockeye::Message;

use crate::common::{Carrier, Socket, hand_over, start, within};

/// A violation that shows only where the payload is decompressed is told at once, though nothing more comes.
#[cfg(feature = "deflate")]
#[tokio::test]
async fn a_violation_in_compressed_pieces_is_told_at_once() {
    use sockeye::Deflate;
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service.deflate(Deflate::default())).await;
    let mut asking = crate::common::handshake("/");
    asking.extensions.deflate = Some(Deflate::default());
    for carrier in Carrier::ALL {
        let mut peer = Socket::open_with(carrier, server.addr, &asking).await;
        let mut socket = sockets.recv().await.unwrap();
        // Compressed, and no DEFLATE data (RFC 7692 §7.2.2).
        peer.send_octets(b"\xC1\x82\0\0\0\0\xFF\xFF").await;
        let mut message = within(socket.recv_stream()).await.unwrap().unwrap();
        let error = within(message.next()).await.unwrap_err();
        let sockeye::Error::Violation(violation) = error else { panic!("{error}") };
        assert_eq!(violation.close_code(), Some(1007.into()));
        assert_eq!(within(message.next()).await.unwrap(), None);
        assert_eq!(within(socket.recv()).await.unwrap(), None);
        assert_eq!(peer.close_code().await, 1007);
    }
}

/// What a round trip has kept comes first, and the message that has begun behind it is not taken for one whose reader left.
#[tokio::test]
async fn a_kept_message_comes_before_one_that_has_begun() {
    let (service, mut sockets) = hand_over();
    let server = start(Default::default(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        let peering = async {
            peer.send("kept").await;
            peer.send_octets(b"\x01\x82\0\0\0\0ab").await;
            // To be asked for events is to answer Pings.
            assert!(tokio::time::timeout(Duration::from_millis(200), peer.event()).await.is_err());
        };
        let (time, ()) = within(async { tokio::join!(socket.ping(), peering) }).await;
        time.unwrap();
        let mut kept = within(socket.recv_stream()).await.unwrap().unwrap();
        assert_eq!(within(kept.next()).await.unwrap(), Some("kept".into()));
        assert_eq!(within(kept.next()).await.unwrap(), None);
        peer.send_octets(b"\x80\x81\0\0\0\0c").await;
        assert_eq!(within(socket.recv()).await.unwrap(), Some(Message::from("abc")));
    }
}
