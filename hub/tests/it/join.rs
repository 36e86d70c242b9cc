//! Interest: a node asks for a topic while it has members, and a join counts once the backplane has that.

use std::time::Duration;

use sockeye_hub::{Hub, HubCounter};

use crate::broker::{Broker, Faults};
use crate::node::{Node, next, seconds};

/// One subscription for a topic and node, from the first member to the last.
#[tokio::test(start_paused = true)]
async fn a_node_subscribes_while_it_has_members() {
    let broker = Broker::new(1);
    let node = Node::on(&broker);
    assert!(broker.subscriptions(0).is_empty());
    let sockets = [node.join("room").await, node.join("room").await, node.join("room").await];
    assert_eq!(broker.subscriptions(0), [("Troom".to_owned(), 1)]);
    let topic = node.topic("hall");
    topic.send("to nobody here").await.unwrap();
    seconds(1).await;
    assert_eq!(broker.subscriptions(0).len(), 1, "who only sends does not subscribe");
    let [first, rest @ ..] = sockets;
    for mut socket in rest {
        socket.close().await.unwrap();
    }
    seconds(1).await;
    assert_eq!(broker.subscriptions(0).len(), 1);
    drop(first);
    seconds(60).await;
    assert!(broker.subscriptions(0).is_empty());
    drop(topic);
    seconds(200).await;
    assert_eq!(node.hub.topics(), 0, "nothing is kept of a topic that nobody has");
}

/// A join is done when the node's own marker has come back, though some are lost; what is sent then arrives.
#[tokio::test(start_paused = true)]
async fn a_join_waits_for_the_marker() {
    for seed in 0..20 {
        let broker = Broker::new(seed);
        broker.faults(Faults { lost: 600, doubled: 100 });
        let (near, far) =
            (Node::on(&broker), Node::with(&broker, Hub::builder().join_timeout(Duration::from_secs(60))));
        let mut socket = far.join("room").await;
        broker.faults(Faults::default());
        near.topic("room").send("hello").await.unwrap();
        assert_eq!(next(&mut socket).await, "hello".into(), "seed {seed}");
    }
}

/// Without a marker it fails after its time, and leaves nothing behind.
#[tokio::test(start_paused = true)]
async fn a_join_without_a_backplane_fails_in_time() {
    let broker = Broker::new(1);
    let node = Node::on(&broker);
    broker.set_up(0, false);
    let mut socket = node.open("room").await;
    let began = tokio::time::Instant::now();
    assert!(socket.recv().await.unwrap().is_none(), "the handler failed");
    assert_eq!(began.elapsed().as_secs(), 5);
    assert_eq!(node.hub.counter(HubCounter::JoinTimeouts), 1);
    seconds(1).await;
    assert!(broker.subscriptions(0).is_empty());
    assert_eq!(node.hub.topics(), 0);
    broker.set_up(0, true);
    node.join("room").await;
}

/// However many wait for a topic, the marker goes out once and then four times a second.
#[tokio::test(start_paused = true)]
async fn joins_that_wait_have_one_marker() {
    let broker = Broker::new(1);
    let node = Node::on(&broker);
    broker.faults(Faults { lost: 1000, doubled: 0 });
    let mut sockets = Vec::new();
    for _ in 0..50 {
        sockets.push(node.open("room").await);
    }
    seconds(2).await;
    let published = node.hub.counter(HubCounter::Published);
    assert!((8..=10).contains(&published), "{published}");
    broker.faults(Faults::default());
    for mut socket in sockets {
        assert_eq!(next(&mut socket).await, "joined".into());
    }
}

/// Nor does it wait for a backplane that is down.
#[tokio::test(start_paused = true)]
async fn a_hub_ends_though_its_backplane_is_down() {
    let broker = Broker::new(1);
    let hub = Hub::with(broker.connect());
    broker.set_stuck(0, true);
    hub.topic("room").unwrap().send("last").await.unwrap();
    drop(hub);
    seconds(200).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 0);
}

/// The hub's tasks end with it.
#[tokio::test(start_paused = true)]
async fn a_hub_ends_with_its_last_handle() {
    let broker = Broker::new(1);
    let hub = Hub::with(broker.connect());
    let topic = hub.topic("room").unwrap();
    drop(hub);
    topic.send("last").await.unwrap();
    drop(topic);
    seconds(200).await;
    let tasks = tokio::runtime::Handle::current().metrics().num_alive_tasks();
    assert_eq!(tasks, 0);
}
