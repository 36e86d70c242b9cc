//! Who gets what, and in which order.

use std::time::Duration;

use sockeye::Message;
use sockeye_hub::{Error, Hub, HubCounter};

use crate::broker::{Broker, Faults, MAX_PAYLOAD};
use crate::node::{Node, next, seconds, silence, texts};

fn numbered(name: &str, range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| format!("{name} {number}")).collect()
}

/// All members of a local hub get what is sent to their topic, and of no other.
#[tokio::test(start_paused = true)]
async fn a_local_hub_needs_no_backplane() {
    let node = Node::new(Hub::local());
    let (mut one, mut other) = (node.join("room").await, node.join("room").await);
    let mut elsewhere = node.join("hall").await;
    node.topic("room").send("hello").await.unwrap();
    node.topic("room").send(vec![1, 2, 3]).await.unwrap();
    for socket in [&mut one, &mut other] {
        assert_eq!(next(socket).await, "hello".into());
        assert_eq!(next(socket).await, Message::from(vec![1, 2, 3]));
    }
    silence(&mut elsewhere, Duration::from_secs(1)).await;
    assert_eq!(node.topic("room").members(), 2);
    assert_eq!(node.topic("room").all_members().await.total(), 2);
    one.send("from one").await.unwrap();
    assert_eq!(next(&mut other).await, "from one".into());
    silence(&mut one, Duration::from_secs(1)).await;
    assert!(node.hub.is_up());
}

/// What each node sends arrives in its order at each member on each, once, also at those of the sender's own node.
#[tokio::test(start_paused = true)]
async fn one_senders_order_is_every_members() {
    let broker = Broker::new(1);
    let nodes = [Node::on(&broker), Node::on(&broker), Node::on(&broker)];
    let mut sockets = Vec::new();
    for node in [0, 0, 1, 2] {
        sockets.push(nodes[node].join("a.b").await);
    }
    for number in 0..200 {
        for (name, node) in nodes.iter().enumerate() {
            node.topic("a.b").send(format!("{name} {number}")).await.unwrap();
        }
    }
    for socket in &mut sockets {
        let heard = texts(socket, 600).await;
        for name in 0..3 {
            let own: Vec<_> = heard.iter().filter(|text| text.starts_with(&format!("{name} "))).cloned().collect();
            assert_eq!(own, numbered(&name.to_string(), 0..200));
        }
        silence(socket, Duration::from_millis(100)).await;
    }
}

/// Kinds and sizes come as they went: text, octets, nothing at all, and as much as the backplane takes.
#[tokio::test(start_paused = true)]
async fn messages_of_every_kind_span_nodes() {
    let broker = Broker::new(2);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let mut socket = far.join("room").await;
    let largest = MAX_PAYLOAD - 30;
    let messages: Vec<Message> =
        vec!["text".into(), "".into(), vec![0xFF; 10].into(), Vec::<u8>::new().into(), vec![7; largest].into()];
    for message in &messages {
        near.topic("room").send(message.clone()).await.unwrap();
    }
    for message in messages {
        assert_eq!(next(&mut socket).await, message);
    }
    let sent = near.topic("room").send(vec![7; largest + 1]).await;
    assert!(matches!(sent, Err(Error::TooLarge { size, max }) if size == largest + 1 && max == largest), "{sent:?}");
    assert_eq!(near.hub.counter(HubCounter::TooLarge), 1);
    silence(&mut socket, Duration::from_secs(10)).await;
}

/// What a backplane delivers twice members get once, and miss nothing.
#[tokio::test(start_paused = true)]
async fn doubles_go_no_further() {
    let broker = Broker::new(3);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let mut socket = far.join("room").await;
    broker.faults(Faults { lost: 0, doubled: 500 });
    for number in 0..100 {
        near.topic("room").send(format!("a {number}")).await.unwrap();
    }
    assert_eq!(texts(&mut socket, 100).await, numbered("a", 0..100));
    silence(&mut socket, Duration::from_secs(200)).await;
    assert!(far.hub.counter(HubCounter::Doubles) > 20);
}

/// What others put on the same channels is not taken for a message.
#[tokio::test(start_paused = true)]
async fn what_is_no_message_is_counted_and_left_out() {
    let broker = Broker::new(4);
    let node = Node::on(&broker);
    let mut socket = node.join("room").await;
    for payload in [&b""[..], b"hello", &[9; 40], &[1; 29]] {
        broker.inject("Troom", payload);
    }
    silence(&mut socket, Duration::from_secs(1)).await;
    assert_eq!(node.hub.counter(HubCounter::Malformed), 4);
}

/// Every node with members is counted; who joins and leaves is.
#[tokio::test(start_paused = true)]
async fn members_are_counted_on_all_nodes() {
    let broker = Broker::new(5);
    let nodes = [Node::on(&broker), Node::on(&broker), Node::on(&broker)];
    let mut sockets = Vec::new();
    for node in [0, 1, 1] {
        sockets.push(nodes[node].join("room").await);
    }
    let presence = nodes[2].topic("room").all_members().await;
    assert_eq!((presence.here, presence.elsewhere.len(), presence.total()), (0, 2, 3));
    let presence = nodes[1].topic("room").all_members().await;
    assert_eq!((presence.here, presence.total()), (2, 3));
    sockets.pop().unwrap().close().await.unwrap();
    seconds(1).await;
    assert_eq!(nodes[0].topic("room").all_members().await.total(), 2);
}
