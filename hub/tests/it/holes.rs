//! What a backplane loses is told to members, exactly.

use std::collections::BTreeMap;
use std::time::Duration;

use sockeye::WebSocket;
use sockeye_hub::{Hub, HubCounter, Overflow};

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

/// What was sent before a join is not missed, however long the message that tells of it has waited for the backplane.
#[tokio::test(start_paused = true)]
async fn a_message_that_waited_tells_no_false_age() {
    let broker = Broker::new(1);
    let (near, far) = (Node::on(&broker), Node::on(&broker));
    let topic = near.topic("room");
    for number in 0..7 {
        topic.send(format!("before {number}")).await.unwrap();
    }
    seconds(1).await;
    broker.set_stuck(0, true);
    topic.send("near 7").await.unwrap();
    seconds(20).await;
    let mut socket = far.join("room").await;
    seconds(20).await;
    broker.set_stuck(0, false);
    let Heard { numbers, missed } = hear(&mut socket).await;
    assert_eq!((numbers["near"].as_slice(), missed), ([7].as_slice(), 0));
}

/// A topic that is sent to now and then is told of after the last time as after the first.
#[tokio::test(start_paused = true)]
async fn the_last_is_missed_where_others_were_before_it() {
    for pause in [1, 3, 10, 30, 90] {
        let broker = Broker::new(1);
        let (near, far) = (Node::on(&broker), Node::on(&broker));
        let mut socket = far.join("room").await;
        let topic = near.topic("room");
        for number in 0..4 {
            topic.send(format!("near {number}")).await.unwrap();
            seconds(pause).await;
        }
        broker.faults(Faults { lost: 1000, doubled: 0 });
        topic.send("near 4").await.unwrap();
        seconds(pause).await;
        broker.faults(Faults::default());
        let mut heard = hear(&mut socket).await;
        while heard.missed == 0 && tokio::time::timeout(Duration::from_secs(60), socket.recv()).await.is_ok() {
            heard.missed += 1;
        }
        assert_eq!((heard.numbers["near"].len(), heard.missed), (4, 1), "{pause} s");
    }
}

/// Where there is no room for what tells of a hole, it is told once there is.
#[tokio::test(start_paused = true)]
async fn a_hole_is_told_of_though_the_queue_was_full_for_long() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let broker = Broker::new(1);
        let near = Node::with(&broker, Hub::builder().queue(1 << 20, 4).overflow(overflow));
        let far = Node::on(&broker);
        let mut socket = far.join("room").await;
        let (topic, other) = (near.topic("room"), near.topic("other"));
        topic.send("near 0").await.unwrap();
        seconds(1).await;
        broker.set_stuck(0, true);
        for number in 0..10 {
            // Of each policy one message of the topic is among what is dropped.
            let dropped = if overflow == Overflow::DropOldest { 0 } else { 9 };
            let to = if number == dropped { &topic } else { &other };
            to.send(format!("near {number}")).await.unwrap();
        }
        seconds(300).await;
        broker.set_stuck(0, false);
        let mut missed = 0;
        while let Ok(message) = tokio::time::timeout(Duration::from_secs(130), socket.recv()).await {
            missed += u32::from(message.unwrap().unwrap() == "missed 1".into());
        }
        assert_eq!(missed, 1, "{overflow:?}");
        assert_eq!(near.hub.counter(HubCounter::QueueDropped), 6, "{overflow:?}");
    }
}

/// Topics whose position is still to be told have a bound: whoever sends to ever new ones holds no more than that.
#[tokio::test(start_paused = true)]
async fn topics_that_are_to_be_told_are_bounded() {
    const MAX_TOPICS: usize = 65_536;
    let broker = Broker::new(1);
    let node = Node::on(&broker);
    for number in 0..MAX_TOPICS + 1000 {
        node.topic(&number.to_string()).send("x").await.unwrap();
        if number % 100 == 0 {
            tokio::task::yield_now().await;
        }
    }
    assert_eq!(node.hub.topics(), MAX_TOPICS + 1000);
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert_eq!(node.hub.topics(), MAX_TOPICS);
    // All are due at once, and the backplane takes some at a time.
    seconds(1000).await;
    assert_eq!(node.hub.topics(), 0);
}
