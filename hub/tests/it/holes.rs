//! What a backplane loses is told to members, exactly.

use std::collections::BTreeMap;
use std::time::Duration;

use sockeye::WebSocket;
use sockeye_hub::HubCounter;

use crate::broker::{Broker, Faults};
use crate::node::{Node, next, seconds, silence};

/// What a member has heard: of each sender the numbers, and how many it was told that it missed.
#[derive(Default)]
struct Heard {
    numbers: BTreeMap<String, Vec<u32>>,
    missed: u32,
}

async fn hear(socket: &mut WebSocket) -> Heard {
    let mut heard = Heard::default();
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(60), socket.recv()).await {
        let message = message.unwrap().expect("no end");
        let (name, number) = message.as_text().unwrap().split_once(' ').unwrap();
        let number = number.parse().unwrap();
        match name {
            "missed" => heard.missed += number,
            name => heard.numbers.entry(name.to_owned()).or_default().push(number),
        }
    }
    heard
}

/// Whatever is lost or doubled, every member gets each message in order, or is told of it: as many in all as were sent.
#[tokio::test(start_paused = true)]
async fn every_message_is_got_in_order_or_told_of() {
    for seed in 0..20 {
        let broker = Broker::new(seed);
        let nodes = [Node::on(&broker), Node::on(&broker), Node::on(&broker)];
        let mut sockets = Vec::new();
        for node in [0, 0, 1, 2] {
            sockets.push((node, nodes[node].join("room").await));
        }
        seconds(1).await;
        broker.faults(Faults { lost: 200, doubled: 50 });
        let own: Vec<_> = nodes.iter().map(|node| node.topic("room")).collect();
        for number in 0..100 {
            for (name, topic) in own.iter().enumerate() {
                topic.send(format!("{name} {number}")).await.unwrap();
            }
            tokio::time::sleep(Duration::from_millis(number % 7)).await;
            match number {
                30 => broker.set_up(1, false),
                60 => broker.set_up(1, true),
                _ => {}
            }
        }
        broker.faults(Faults::default());
        for (node, socket) in &mut sockets {
            let Heard { numbers, missed } = hear(socket).await;
            let mut got = 0;
            for (name, numbers) in numbers {
                assert!(numbers.is_sorted_by(|one, next| one < next), "seed {seed}: {numbers:?}");
                got += numbers.len() as u32;
                if name == node.to_string() {
                    assert_eq!(numbers.len(), 100, "own node: all, whatever the backplane does");
                }
            }
            assert_eq!(got + missed, 300, "seed {seed}, node {node}: {got} got, {missed} missed");
            assert!(missed > 0, "something was lost");
        }
        assert!(nodes[0].hub.counter(HubCounter::Missed) > 0);
    }
}

/// The loss of the last message, which nothing follows, is told within seconds.
#[tokio::test(start_paused = true)]
async fn the_last_message_is_missed_as_well() {
    let broker = Broker::new(7);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let mut socket = far.join("room").await;
    seconds(1).await;
    let topic = near.topic("room");
    topic.send("first").await.unwrap();
    assert_eq!(next(&mut socket).await, "first".into());
    broker.faults(Faults { lost: 1000, doubled: 0 });
    topic.send("lost").await.unwrap();
    topic.send("lost too").await.unwrap();
    // The first telling, after a second, is lost as well.
    seconds(2).await;
    broker.faults(Faults::default());
    drop(topic);
    assert_eq!(next(&mut socket).await, "missed 2".into());
    silence(&mut socket, Duration::from_secs(200)).await;
}

/// A node whose every message so far was lost began after the member had joined: it has missed them all.
#[tokio::test(start_paused = true)]
async fn the_first_messages_are_missed_as_well() {
    let broker = Broker::new(8);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let mut socket = far.join("room").await;
    seconds(1).await;
    broker.faults(Faults { lost: 1000, doubled: 0 });
    let topic = near.topic("room");
    topic.send("lost").await.unwrap();
    topic.send("lost too").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    broker.faults(Faults::default());
    topic.send("third").await.unwrap();
    let heard = [next(&mut socket).await, next(&mut socket).await];
    assert!(heard.contains(&"third".into()) && heard.contains(&"missed 2".into()), "{heard:?}");
}

/// What was sent before a member joined, on whichever node, it does not miss.
#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_join_is_not_missed() {
    let broker = Broker::new(9);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let topic = near.topic("room");
    for _ in 0..10 {
        topic.send("early").await.unwrap();
    }
    seconds(2).await;
    let mut socket = far.join("room").await;
    topic.send("late").await.unwrap();
    assert_eq!(next(&mut socket).await, "late".into());
    // It leaves, and comes back to another subscription.
    socket.close().await.unwrap();
    seconds(1).await;
    topic.send("between").await.unwrap();
    let mut socket = far.join("room").await;
    topic.send("late").await.unwrap();
    assert_eq!(next(&mut socket).await, "late".into());
    silence(&mut socket, Duration::from_secs(200)).await;
}

/// A node whose connection was gone asks what it has missed, and is told at once; so do those that were to hear of it.
#[tokio::test(start_paused = true)]
async fn who_is_connected_again_hears_of_what_it_missed() {
    let broker = Broker::new(10);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let mut sockets = [near.join("room").await, far.join("room").await];
    seconds(1).await;
    near.topic("room").send("before").await.unwrap();
    for socket in &mut sockets {
        assert_eq!(next(socket).await, "before".into());
    }
    broker.set_up(1, false);
    near.topic("room").send("lost").await.unwrap();
    // All tellings go nowhere.
    seconds(200).await;
    broker.set_up(1, true);
    let told = tokio::time::timeout(Duration::from_millis(50), next(&mut sockets[1])).await;
    assert_eq!(told.unwrap(), "missed 1".into());
}

/// A member that does not read misses what other nodes send, as what its own does, and is told; others wait for nothing.
#[tokio::test(start_paused = true)]
async fn a_slow_member_is_told_what_it_missed() {
    let broker = Broker::new(11);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let slow_node = Node::new(far.hub.clone());
    let (mut slow, mut quick) = (slow_node.join("room").await, far.join("room").await);
    let topic = near.topic("room");
    for number in 0..100_u32 {
        topic.send(format!("a {number} {}", "x".repeat(60_000))).await.unwrap();
        assert!(next(&mut quick).await.as_text().unwrap().starts_with(&format!("a {number} ")));
    }
    let (mut got, mut missed) = (0, 0_u32);
    while got + missed < 100 {
        let message = next(&mut slow).await;
        match message.as_text().unwrap().strip_prefix("missed ") {
            Some(number) => missed += number.parse::<u32>().unwrap(),
            None => got += 1,
        }
    }
    assert!(got + missed == 100 && missed > 10, "{got} got, {missed} missed");
}
