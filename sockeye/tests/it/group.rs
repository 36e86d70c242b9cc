//! One message to many sockets.

use std::sync::{Arc, Mutex};

use sockeye::socket::Member;
use sockeye::{CloseCode, Counter, Error, Group, Message, Result, Server, WebSocket, websocket};
use sockeye_proto::ws::Event;

use crate::common::{Carrier, Client, Socket, handshake, open, pair, settle, start, start_websocket, within};

/// A handler whose socket is a member while it is open, and says all it hears to all.
async fn chat(mut socket: WebSocket, group: Group) -> Result {
    let _member = group.join(&socket)?;
    while let Some(message) = socket.recv().await? {
        group.send(message);
    }
    Ok(())
}

async fn until_members(group: &Group, members: usize) {
    within(async {
        while group.len() != members {
            settle().await;
        }
    })
    .await;
}

/// All members get a message once, in order, whatever carries them and wherever their handlers run.
#[tokio::test]
async fn all_members_get_what_any_says() {
    let group = Group::new();
    let joined = group.clone();
    let server = start_websocket(move |socket| chat(socket, joined.clone())).await;
    let joined = group.clone();
    let spawned = start_websocket(move |socket| {
        let task = tokio::spawn(chat(socket, joined.clone()));
        async { task.await.expect("no panic") }
    })
    .await;

    let mut sockets = Vec::new();
    for addr in [server.addr, spawned.addr] {
        let client = Client::connect(addr).await;
        for _ in 0..3 {
            sockets.push(Socket::on(&client, &handshake("/")).await.unwrap());
        }
        for carrier in [Carrier::Http1, Carrier::Http2] {
            sockets.push(Socket::open(carrier, addr).await);
        }
    }
    until_members(&group, sockets.len()).await;
    // Longer than a DATA frame, too.
    let messages: Vec<Message> = vec!["one".into(), "two".into(), vec![3; 40_000].into(), "four".into()];
    for message in &messages {
        sockets[1].send(message.clone()).await;
    }
    for socket in &mut sockets {
        for message in &messages {
            assert_eq!(socket.message().await, *message);
        }
    }
    for socket in &mut sockets {
        socket.close(CloseCode::NORMAL, "").await;
        assert_eq!(socket.close_code().await, 1000);
    }
    until_members(&group, 0).await;
    assert!(group.is_empty());
    group.send("to nobody");
}

/// Who left gets nothing more, and is as able to send and receive as before.
#[tokio::test]
async fn who_left_gets_nothing() {
    let (mut connection, client) = pair().await;
    let (mut socket, mut peer) = open(&mut connection, &client).await;
    let group = Group::new();
    let member = group.join(&socket).unwrap();
    group.send("in");
    assert_eq!(peer.message().await, "in".into());
    drop(member);
    assert!(group.is_empty());
    group.send("out");
    socket.send("its own").await.unwrap();
    assert_eq!(peer.message().await, "its own".into());
}

/// RFC 6455 §5.5.1: no message follows a Close.
#[tokio::test]
async fn nothing_follows_the_close() {
    let group = Group::new();
    let joined = group.clone();
    let handler = move |mut socket: WebSocket| {
        let group = joined.clone();
        async move {
            let _member = group.join(&socket)?;
            socket.recv().await?;
            group.send("before");
            tokio::task::yield_now().await;
            let result = {
                let mut close = Box::pin(socket.close());
                // Once polled, the Close is on its way.
                let pending = futures_util::poll!(&mut close).is_pending();
                assert!(pending);
                group.send("after");
                close.await
            };
            group.send("long after");
            result
        }
    };
    let server = start_websocket(handler).await;
    for carrier in [Carrier::Http1, Carrier::Http2] {
        let mut socket = Socket::open(carrier, server.addr).await;
        socket.send("go").await;
        assert_eq!(socket.message().await, "before".into());
        assert!(matches!(socket.event().await, Event::Close(frame) if frame.code == CloseCode::NORMAL));
    }
}

/// A member whose peer does not read misses what finds no room, and is told how much; it stops no other, and what it does
/// get is whole and in order.
#[tokio::test]
async fn who_does_not_read_misses_messages() {
    const MESSAGES: usize = 200;
    let group = Group::new();
    let members: Arc<Mutex<Vec<Member>>> = Arc::default();
    let (joined, list) = (group.clone(), members.clone());
    let service = websocket(move |mut socket: WebSocket| {
        list.lock().unwrap().push(joined.join(&socket).unwrap());
        async move {
            while socket.recv().await?.is_some() {}
            Ok::<_, Error>(())
        }
    });
    let server = start(Server::new(), service).await;
    let slow_client = Client::connect(server.addr).await;
    let mut slow = Socket::on(&slow_client, &handshake("/")).await.unwrap();
    let mut quick = Socket::open(Carrier::Http2, server.addr).await;
    until_members(&group, 2).await;
    let message = |number: usize| Message::from(vec![number as u8; 40_000]);
    for number in 0..MESSAGES {
        group.send(message(number));
        assert_eq!(quick.message().await, message(number));
    }
    let missed: Vec<u64> = members.lock().unwrap().iter().map(Member::missed).collect();
    assert_eq!(missed.iter().min(), Some(&0), "{missed:?}");
    let missed = *missed.iter().max().unwrap() as usize;
    // A window of 64 KiB, a message on its way, and 2 MiB that wait.
    assert!((140..150).contains(&missed), "{missed}");
    assert_eq!(server.handle.counter(Counter::GroupMessagesMissed), missed as u64);
    let mut last = None;
    for _ in 0..MESSAGES - missed {
        let octets = slow.message().await.into_bytes();
        assert!(octets.len() == 40_000 && octets.iter().all(|octet| *octet == octets[0]) && Some(octets[0]) > last);
        last = Some(octets[0]);
    }
    assert_eq!(last, Some(MESSAGES as u8 - 1));
}

/// A client masks each message by itself (RFC 6455 §5.3).
#[tokio::test]
async fn clients_are_no_members() {
    let server = start_websocket(crate::common::echo).await;
    let socket = sockeye::connect(&format!("http://{}/", server.addr)).await.unwrap();
    assert!(matches!(Group::new().join(&socket), Err(Error::Invalid(_))));
}
