//! How sockets end: END_STREAM and FIN, RST and abort.

use http::Version;
use sockeye::Reason;
use sockeye::socket::TunnelPeer;
use sockeye_gateway::Protocol;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::common::{client, gateway, gateway_with_handle, open_tunnel, raw_upstream, soon, take_socket};

/// PEERS: a FIN without a Close ends the stream at once, and cleanly.
#[tokio::test]
async fn a_fin_of_the_upstream_is_end_stream() {
    let (url, listener) = raw_upstream().await;
    let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    upstream.write_all(b"last words").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut words = Vec::new();
    soon(tunnel.read_to_end(&mut words)).await.unwrap();
    assert_eq!((words.as_slice(), tunnel.peer()), (&b"last words"[..], TunnelPeer::Finished));
    // The other direction goes on.
    tunnel.write_all(b"and mine").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut answer = Vec::new();
    soon(upstream.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"and mine");
}

/// The client's half alone ends, and the upstream goes on.
#[tokio::test]
async fn end_stream_is_a_fin() {
    let (url, listener) = raw_upstream().await;
    let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    tunnel.write_all(b"question").await.unwrap();
    tunnel.shutdown().await.unwrap();
    let mut question = Vec::new();
    soon(upstream.read_to_end(&mut question)).await.unwrap();
    assert_eq!(question, b"question");
    upstream.write_all(b"answer").await.unwrap();
    upstream.shutdown().await.unwrap();
    let mut answer = Vec::new();
    soon(tunnel.read_to_end(&mut answer)).await.unwrap();
    assert_eq!(answer, b"answer");
}

/// RFC 9113 §7: CANCEL is what a closed tab sends; the upstream learns of it as a reset, whoever waits for whom.
#[tokio::test]
async fn a_reset_of_the_client_aborts_the_upstream() {
    for is_stuck in [false, true] {
        let (url, listener) = raw_upstream().await;
        let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
        let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
        if is_stuck {
            // As much as finds room on the way, with nobody to read it.
            let octets = vec![0; 32 << 20];
            let flood = tunnel.write_all(&octets);
            tokio::time::timeout(std::time::Duration::from_millis(500), flood).await.unwrap_err();
        }
        tunnel.reset(Reason::CANCEL);
        let mut octets = Vec::new();
        let error = soon(upstream.read_to_end(&mut octets)).await.expect_err("no clean end");
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "stuck: {is_stuck}");
    }
}

/// A connection that breaks off is no clean end.
#[tokio::test]
async fn a_reset_of_the_upstream_resets_the_stream() {
    let (url, listener) = raw_upstream().await;
    let client = client(gateway(&url, Protocol::Http1).await, Version::HTTP_2);
    let (mut tunnel, (_, upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    socket2::SockRef::from(&upstream).set_linger(Some(std::time::Duration::ZERO)).unwrap();
    drop(upstream);
    soon(tunnel.read_to_end(&mut Vec::new())).await.expect_err("no clean end");
    assert_eq!(tunnel.peer(), TunnelPeer::Reset(Reason::CANCEL));
}

/// A connection of the client's that is lost takes its sockets along, upstream too.
#[tokio::test]
async fn a_lost_connection_aborts_the_upstream() {
    let (url, listener) = raw_upstream().await;
    let gateway = gateway(&url, Protocol::Http1).await;
    let client = client(gateway, Version::HTTP_2);
    let (tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
    drop((tunnel, client));
    soon(upstream.read_to_end(&mut Vec::new())).await.expect_err("no clean end");
}

/// RFC 6455 §7.4.1: a gateway that goes away says 1001 between two frames, whatever the upstream is in the middle of; nothing of the
/// upstream's follows, and the client's own Close goes on to it.
#[tokio::test]
async fn a_drain_closes_with_1001_between_frames() {
    for is_within in [false, true] {
        let (url, listener) = raw_upstream().await;
        let (address, handle) = gateway_with_handle(&url, Protocol::Http1).await;
        let client = client(address, Version::HTTP_2);
        let (mut tunnel, (_, mut upstream)) = tokio::join!(open_tunnel(&client), take_socket(&listener));
        let frame = b"\x82\x05hello";
        upstream.write_all(if is_within { &frame[..4] } else { frame }).await.unwrap();
        let mut seen = [0; 4];
        soon(tunnel.read_exact(&mut seen)).await.unwrap();
        handle.shutdown();
        let mut rest = vec![0; 3 + 4];
        if is_within {
            // Not before the frame is whole.
            let early = tokio::time::timeout(std::time::Duration::from_millis(200), tunnel.read(&mut rest)).await;
            assert!(early.is_err(), "{early:?}");
            upstream.write_all(&[&frame[4..], b"\x82\x05later"].concat()).await.unwrap();
        }
        soon(tunnel.read_exact(&mut rest)).await.unwrap();
        assert_eq!(rest, b"llo\x88\x02\x03\xe9", "within a frame: {is_within}");
        upstream.write_all(b"\x82\x05later").await.unwrap();
        tunnel.write_all(b"the client's Close").await.unwrap();
        let mut close = [0; 18];
        soon(upstream.read_exact(&mut close)).await.unwrap();
        assert_eq!(&close, b"the client's Close");
        upstream.shutdown().await.unwrap();
        let mut after = Vec::new();
        soon(tunnel.read_to_end(&mut after)).await.unwrap();
        assert_eq!((after.len(), tunnel.peer()), (0, TunnelPeer::Finished));
    }
}
