//! In which order members get what is for all, for one, or for all but one, and what a socket sends besides.

use std::time::Duration;

use sockeye::{CloseCode, Error, Group, Message, MessageKind, Server, WebSocket};

use tokio::sync::watch;

use crate::common::{Carrier, Socket, hand_over, open, pair, settle, start, start_websocket, within};

/// What is for one member stands in its place among what is for all.
#[tokio::test]
async fn what_is_for_one_stands_in_the_groups_order() {
    let (mut connection, client) = pair().await;
    let (one, mut one_peer) = open(&mut connection, &client).await;
    let (other, mut other_peer) = open(&mut connection, &client).await;
    let group = Group::new();
    let (one, _other) = (group.join(&one).unwrap(), group.join(&other).unwrap());
    group.send("first").await;
    one.send("for one").await;
    group.send("second").await;
    for text in ["first", "for one", "second"] {
        assert_eq!(one_peer.message().await, text.into());
    }
    for text in ["first", "second"] {
        assert_eq!(other_peer.message().await, text.into());
    }
}

/// What was sent to all before a handler is told to close its socket goes before its Close.
#[tokio::test]
async fn last_words_to_all_go_before_the_closes_that_follow() {
    const SOCKETS: usize = 10;
    let (group, (close, closing)) = (Group::new(), watch::channel(false));
    let server = {
        let group = group.clone();
        start_websocket(move |mut socket: WebSocket| {
            let (group, mut closing) = (group.clone(), closing.clone());
            async move {
                let _member = group.join(&socket)?;
                tokio::select! {
                    _ = async { closing.wait_for(|closing| *closing).await.map(drop) } => socket.close().await,
                    message = socket.recv() => message.map(drop),
                }
            }
        })
    };
    let server = server.await;
    for carrier in Carrier::ALL {
        close.send(false).unwrap();
        let mut peers = Vec::new();
        for _ in 0..SOCKETS {
            peers.push(Socket::open(carrier, server.addr).await);
        }
        while group.len() < SOCKETS {
            tokio::task::yield_now().await;
        }
        group.send("the last").await;
        close.send(true).unwrap();
        for peer in &mut peers {
            assert_eq!(peer.message().await, "the last".into(), "{carrier:?}");
            assert_eq!(peer.close_code().await, 1000);
        }
        while !group.is_empty() {
            tokio::task::yield_now().await;
        }
    }
}

/// Who says something need not hear it.
#[tokio::test]
async fn all_but_one_get_what_one_says() {
    let (mut connection, client) = pair().await;
    let (one, mut one_peer) = open(&mut connection, &client).await;
    let (other, mut other_peer) = open(&mut connection, &client).await;
    let (mut elsewhere, client) = pair().await;
    let (third, mut third_peer) = open(&mut elsewhere, &client).await;
    let group = Group::new();
    let one = group.join(&one).unwrap();
    let _others = (group.join(&other).unwrap(), group.join(&third).unwrap());
    group.send_except(&one, "for the others").await;
    group.send("for all").await;
    assert_eq!(one_peer.message().await, "for all".into());
    for peer in [&mut other_peer, &mut third_peer] {
        assert_eq!(peer.message().await, "for the others".into());
        assert_eq!(peer.message().await, "for all".into());
    }
    // A member of another group is none of this one.
    let stranger = Group::new().join(&other).unwrap();
    group.send_except(&stranger, "for all again").await;
    assert_eq!(other_peer.message().await, "for all again".into());
    assert_eq!(one.missed(), 0);
}

/// A history goes before all that the group sends from the join on, whatever its size and whoever sends meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn the_history_comes_first_then_what_is_new() {
    let (service, mut handed) = hand_over();
    let server = start(Server::new(), service).await;
    let group = Group::builder().wait(Duration::from_secs(60)).build();
    let live = tokio::spawn({
        let group = group.clone();
        async move {
            for number in 0_u32.. {
                group.send(format!("live {number}")).await;
                if number % 8 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    for carrier in Carrier::ALL {
        for size in [10, 30_000] {
            let mut peer = Socket::open(carrier, server.addr).await;
            let mut socket = handed.recv().await.unwrap();
            socket.send("its own").await.unwrap();
            let history = (0..20_u8).map(|number| Message::from(vec![number; size]));
            let member = group.join_with(&socket, history.clone()).unwrap();
            assert_eq!(peer.message().await, "its own".into());
            for message in history {
                assert_eq!(peer.message().await, message, "{carrier:?}");
            }
            let mut numbers = Vec::new();
            for _ in 0..20 {
                let message = peer.message().await;
                let text = message.as_text().unwrap().strip_prefix("live ").unwrap();
                numbers.push(text.parse::<u32>().unwrap());
            }
            assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "{numbers:?}");
            assert_eq!(member.missed(), 0);
        }
    }
    live.abort();
}

/// The halves of a socket stand for all of it.
#[tokio::test]
async fn a_half_joins_as_the_socket_does() {
    let (service, mut handed) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let (mut sender, mut receiver) = handed.recv().await.unwrap().split();
        let group = Group::new();
        let by_sender = group.join(&sender).unwrap();
        group.send("by one half").await;
        assert_eq!(peer.message().await, "by one half".into());
        drop(by_sender);
        let _by_receiver = group.join(&receiver).unwrap();
        sender.send("its own").await.unwrap();
        group.send("by the other").await;
        assert_eq!(peer.message().await, "its own".into());
        assert_eq!(peer.message().await, "by the other".into());
        assert_eq!((sender.close_frame(), receiver.close_frame()), (None, None));
        peer.close(CloseCode::from(4000), "enough").await;
        assert_eq!(within(receiver.recv()).await.unwrap(), None);
        for frame in [sender.close_frame(), receiver.close_frame()] {
            let frame = frame.unwrap();
            assert_eq!((frame.code, &*frame.reason), (CloseCode::from(4000), "enough"));
        }
    }
}

/// A group's message does not go between the pieces of another (RFC 6455 §5.4): it waits for the last.
#[tokio::test]
async fn a_groups_message_waits_for_the_last_piece_of_another() {
    let group = Group::new();
    let (service, mut sockets) = hand_over();
    let server = start(Server::new(), service).await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        let mut socket = sockets.recv().await.unwrap();
        let member = group.join(&socket).unwrap();
        let mut writer = socket.send_stream(MessageKind::Text);
        writer.write("a").await.unwrap();
        group.send("behind it").await;
        settle().await;
        writer.write("b").await.unwrap();
        settle().await;
        writer.finish().await.unwrap();
        assert_eq!(peer.message().await, "ab".into());
        assert_eq!(peer.message().await, "behind it".into());
        assert_eq!(member.missed(), 0);
    }
}

/// The same where the handler runs in its connection's task, and sends in place.
#[tokio::test]
async fn a_groups_message_waits_for_the_last_piece_of_a_handler_in_place() {
    let group = Group::new();
    let joined = group.clone();
    let server = crate::common::start_websocket(move |mut socket: sockeye::WebSocket| {
        let group = joined.clone();
        async move {
            let _member = group.join(&socket)?;
            socket.recv().await?;
            let mut writer = socket.send_stream(MessageKind::Text);
            writer.write("a").await?;
            group.send("behind it").await;
            settle().await;
            writer.write("b").await?;
            writer.finish().await?;
            while socket.recv().await?.is_some() {}
            Ok::<_, Error>(())
        }
    })
    .await;
    for carrier in Carrier::ALL {
        let mut peer = Socket::open(carrier, server.addr).await;
        peer.send("go").await;
        assert_eq!(peer.message().await, "ab".into(), "{carrier:?}");
        assert_eq!(peer.message().await, "behind it".into(), "{carrier:?}");
        peer.close(CloseCode::NORMAL, "").await;
        assert_eq!(peer.close_code().await, 1000);
    }
}
