//! Who gets what is sent to a group: from the moment of `join` to that of the member's end.

use sockeye::{Group, Server};

use crate::common::{Carrier, Socket, hand_over, open, pair, settle, start, within};

/// What was sent just before waits for the connection's task still, which is no reason to give it to who has joined since.
#[tokio::test]
async fn who_joins_gets_nothing_sent_before() {
    let (mut connection, client) = pair().await;
    let (first, mut first_peer) = open(&mut connection, &client).await;
    let (second, mut second_peer) = open(&mut connection, &client).await;
    let group = Group::new();
    let _first = group.join(&first).unwrap();
    group.send("before");
    let joined = group.join(&second).unwrap();
    group.send("after");
    assert_eq!(first_peer.message().await, "before".into());
    assert_eq!(first_peer.message().await, "after".into());
    assert_eq!(second_peer.message().await, "after".into());
    assert_eq!(joined.missed(), 0);
    // Nor does who leaves and joins again; who stays gets all.
    group.send("away");
    drop(joined);
    group.send("gone");
    let _again = group.join(&second).unwrap();
    group.send("back");
    assert_eq!(second_peer.message().await, "back".into());
    for text in ["away", "gone", "back"] {
        assert_eq!(first_peer.message().await, text.into());
    }
}

/// The first member of a connection, over both versions: the same.
#[tokio::test]
async fn the_first_to_join_gets_nothing_sent_before() {
    for carrier in Carrier::ALL {
        let (service, mut sockets) = hand_over();
        let running = start(Server::new(), service).await;
        let mut peer = Socket::open(carrier, running.addr).await;
        let socket = within(sockets.recv()).await.unwrap();
        let group = Group::new();
        group.send("before");
        let member = group.join(&socket).unwrap();
        group.send("during");
        settle().await;
        assert_eq!(peer.message().await, "during".into(), "{carrier:?}");
        drop(member);
        group.send("after");
        drop(socket);
        assert_eq!(peer.close_code().await, 1000);
    }
}

/// Past the limit of what waits for a connection all members miss a message, but for those that join later.
#[tokio::test]
async fn who_joins_has_missed_nothing() {
    let (mut connection, client) = pair().await;
    let (first, _first_peer) = open(&mut connection, &client).await;
    let (second, _second_peer) = open(&mut connection, &client).await;
    let group = Group::new();
    let early = group.join(&first).unwrap();
    for _ in 0..6 {
        group.send(vec![0; 1 << 20]);
    }
    let late = group.join(&second).unwrap();
    assert!(early.missed() > 0);
    assert_eq!(late.missed(), 0);
    settle().await;
    assert_eq!(late.missed(), 0);
}
