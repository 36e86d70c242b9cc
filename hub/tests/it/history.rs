//! Followers: what they get first, what they missed, and what is said where that is not kept.

use std::collections::HashMap;
use std::time::Duration;

use sockeye::WebSocket;
use sockeye_hub::{History, Hub, HubBuilder, HubCounter};

use crate::broker::{Broker, Faults};
use crate::node::{Node, next, seconds, silence};

fn keeping(messages: usize) -> HubBuilder {
    Hub::builder().history(History::new(messages))
}

/// Who follows a topic, as a page does: it knows how much it has seen of each source.
struct Follower {
    socket: WebSocket,
    seen: HashMap<String, u64>,
    missed: String,
    heard: Vec<String>,
}

impl Follower {
    async fn start(node: &Node, topic: &str, query: &str) -> Self {
        let mut socket = node.open(&format!("{topic}?{query}")).await;
        let (mut first, mut told) = (Vec::new(), None);
        while told.is_none() {
            let text = next(&mut socket).await.as_text().unwrap().to_owned();
            match text.strip_prefix("followed ") {
                Some(rest) => told = rest.split_once(' ').map(|(missed, seen)| (missed.to_owned(), seen.to_owned())),
                None => first.push(text),
            }
        }
        let (missed, seen) = told.unwrap();
        let counts = seen.split(',').filter_map(|part| part.split_once(':'));
        let seen = counts.map(|(source, count)| (source.to_owned(), count.parse().unwrap())).collect();
        let heard = first.iter().map(|text| text.split_once('\n').unwrap().1.to_owned()).collect();
        Self { socket, seen, missed, heard }
    }

    /// The next messages, each the next of its source.
    async fn hear(&mut self, count: usize) {
        for _ in 0..count {
            let message = next(&mut self.socket).await;
            let (head, text) = message.as_text().unwrap().split_once('\n').unwrap();
            let (source, number) = head.strip_prefix('@').unwrap().split_once(':').unwrap();
            let number: u64 = number.parse().unwrap();
            let seen = self.seen.entry(source.to_owned()).or_default();
            assert_eq!(number, *seen, "{message:?} is not the next of its source");
            *seen = number + 1;
            self.heard.push(text.to_owned());
        }
    }

    /// What it says when it comes back.
    fn says(&self) -> String {
        let parts: Vec<_> = self.seen.iter().map(|(source, count)| format!("{source}:{count}")).collect();
        format!("seen={}", parts.join(","))
    }
}

async fn send(node: &Node, topic: &str, range: std::ops::Range<u32>) {
    for number in range {
        node.topic(topic).send(number.to_string()).await.unwrap();
    }
}

fn texts(range: std::ops::Range<u32>) -> Vec<String> {
    range.map(|number| number.to_string()).collect()
}

const MOMENT: Duration = Duration::from_millis(500);

/// What was sent while a socket was away comes first, and then what is new: once each, on one machine as on two, and where it comes
/// back to another.
#[tokio::test(start_paused = true)]
async fn who_comes_back_gets_what_it_missed() {
    let broker = Broker::new(1);
    let one = Node::with(&broker, keeping(100));
    let other = Node::with(&broker, keeping(100));
    let local = Node::new(keeping(100).local());
    for (near, far) in [(&local, &local), (&one, &one), (&one, &other)] {
        let mut stays = [Follower::start(near, "room", "now").await, Follower::start(far, "room", "now").await];
        let mut leaves = Follower::start(near, "room", "now").await;
        seconds(1).await;
        send(near, "room", 0..5).await;
        leaves.hear(5).await;
        let says = leaves.says();
        drop(leaves);
        send(near, "room", 5..8).await;
        send(far, "room", 8..10).await;
        seconds(1).await;
        let mut back = Follower::start(far, "room", &says).await;
        assert_eq!(back.missed, "0");
        let mut all = back.heard.clone();
        all.sort_unstable();
        assert_eq!(all, texts(5..10));
        send(near, "room", 10..12).await;
        back.hear(2).await;
        assert_eq!(back.heard[5..], texts(10..12));
        silence(&mut back.socket, MOMENT).await;
        for socket in &mut stays {
            socket.hear(12).await;
        }
        drop((stays, back));
        // For the next of the pairs nobody knows of the topic any more.
        seconds(700).await;
    }
}

/// A topic without members is heard for some time.
#[tokio::test(start_paused = true)]
async fn a_topic_outlives_its_last_member() {
    let broker = Broker::new(2);
    let (one, other) = (Node::with(&broker, keeping(100)), Node::with(&broker, keeping(100)));
    let local = Node::new(keeping(100).local());
    for (near, far) in [(&local, &local), (&one, &other)] {
        let mut follower = Follower::start(near, "room", "now").await;
        send(near, "room", 0..1).await;
        follower.hear(1).await;
        let says = follower.says();
        drop(follower);
        seconds(1).await;
        send(far, "room", 1..4).await;
        seconds(200).await;
        let back = Follower::start(near, "room", &says).await;
        assert_eq!((back.missed.as_str(), &back.heard), ("0", &texts(1..4)));
    }
}

/// After the time of the history nothing is held any more: no topic, no subscription, no octets.
#[tokio::test(start_paused = true)]
async fn a_topic_is_forgotten_in_the_end() {
    let broker = Broker::new(3);
    let (node, local) = (Node::with(&broker, keeping(100)), Node::new(keeping(100).local()));
    for near in [&node, &local] {
        let follower = Follower::start(near, "room", "now").await;
        send(near, "room", 0..10).await;
        drop(follower);
        seconds(1).await;
        assert_eq!(near.hub.topics(), 1);
        seconds(310).await;
        assert_eq!(near.hub.topics(), 0);
    }
    assert!(broker.subscriptions(0).is_empty());
}

/// What is not kept any more is counted; where it cannot be, that is said.
#[tokio::test(start_paused = true)]
async fn what_is_no_longer_kept_is_told() {
    let broker = Broker::new(4);
    let (one, other) = (Node::with(&broker, keeping(3)), Node::with(&broker, keeping(3)));
    let local = Node::new(keeping(3).local());
    for (near, far) in [(&local, &local), (&one, &other)] {
        let _stays = Follower::start(far, "room", "now").await;
        let mut leaves = Follower::start(near, "room", "now").await;
        send(far, "room", 0..1).await;
        leaves.hear(1).await;
        let says = leaves.says();
        drop(leaves);
        send(far, "room", 1..10).await;
        seconds(1).await;
        let back = Follower::start(near, "room", &says).await;
        assert_eq!((back.missed.as_str(), &back.heard), ("6", &texts(7..10)));
        let stranger = Follower::start(near, "room", "seen=1234.0:7").await;
        assert_eq!(stranger.missed, "unknown");
    }
}

/// Without a history a socket that comes back hears at least how much it missed.
#[tokio::test(start_paused = true)]
async fn without_a_history_what_is_missed_is_counted() {
    let node = Node::new(Hub::local());
    let _stays = Follower::start(&node, "room", "now").await;
    let mut leaves = Follower::start(&node, "room", "now").await;
    send(&node, "room", 0..2).await;
    leaves.hear(2).await;
    let says = leaves.says();
    drop(leaves);
    send(&node, "room", 2..5).await;
    let back = Follower::start(&node, "room", &says).await;
    assert_eq!((back.missed.as_str(), back.heard.len()), ("3", 0));
}

/// Who is new may ask for some of the last messages.
#[tokio::test(start_paused = true)]
async fn the_last_messages_are_for_who_is_new() {
    let node = Node::new(keeping(100).local());
    send(&node, "room", 0..10).await;
    let new = Follower::start(&node, "room", "last=4").await;
    assert_eq!(new.heard, texts(6..10));
    assert_eq!(Follower::start(&node, "room", "last=400").await.heard, texts(0..10));
    assert!(Follower::start(&node, "room", "now").await.heard.is_empty());
}

/// A node that had not heard of a topic finds what was said in the store: also what one that is gone had said.
#[tokio::test(start_paused = true)]
async fn a_store_knows_what_a_node_has_not_heard() {
    let broker = Broker::with_store(5);
    let one = Node::with(&broker, keeping(100));
    let mut follower = Follower::start(&one, "room", "now").await;
    send(&one, "room", 0..2).await;
    follower.hear(2).await;
    let says = follower.says();
    drop(follower);
    send(&one, "room", 2..5).await;
    seconds(1).await;
    drop(one);
    let other = Node::with(&broker, keeping(100));
    let mut back = Follower::start(&other, "room", &says).await;
    assert_eq!((back.missed.as_str(), &back.heard), ("0", &texts(2..5)));
    send(&other, "room", 5..7).await;
    back.hear(2).await;
    assert_eq!(Follower::start(&other, "room", "last=9").await.heard, texts(0..7));
}

/// What was asked of the store for a subscription that is over says nothing for the next one.
#[tokio::test(start_paused = true)]
async fn what_is_stored_is_read_for_each_subscription() {
    let broker = Broker::with_store(6);
    let (one, other) = (Node::with(&broker, keeping(100)), Node::with(&broker, keeping(100)));
    send(&other, "room", 0..5).await;
    seconds(1).await;
    let _leaves = one.open("room?gives_up").await;
    tokio::time::sleep(Duration::from_millis(12)).await;
    assert!(broker.subscriptions(0).is_empty());
    send(&other, "room", 5..8).await;
    tokio::time::sleep(Duration::from_millis(2)).await;
    assert_eq!(Follower::start(&one, "room", "last=100").await.heard, texts(0..8));
}

/// A store that does not answer holds nobody for long.
#[tokio::test(start_paused = true)]
async fn without_an_answer_of_the_store_members_join() {
    let broker = Broker::with_store(7);
    let node = Node::with(&broker, keeping(100));
    broker.set_store_stuck();
    let mut follower = Follower::start(&node, "room", "last=100").await;
    send(&node, "room", 0..1).await;
    follower.hear(1).await;
    assert_eq!(node.hub.counter(HubCounter::BackplaneErrors), 1);
}

/// While messages are lost and doubled, sockets come and go between two nodes: each has in the end seen all in order, once, or was told how
/// many it missed.
#[tokio::test(start_paused = true)]
async fn whoever_comes_and_goes_gets_all_or_is_told() {
    for seed in 0..20 {
        let broker = Broker::with_store(100 + seed);
        let nodes = [Node::with(&broker, keeping(50)), Node::with(&broker, keeping(50))];
        let _stays = [Follower::start(&nodes[0], "room", "now").await, Follower::start(&nodes[1], "room", "now").await];
        seconds(1).await;
        let mut follower = Follower::start(&nodes[0], "room", "now").await;
        let (mut sent, mut total) = (0, 0);
        for round in 0..10 {
            broker.faults(Faults { lost: 0, doubled: 200 });
            let at = usize::from((seed + round) % 3 == 0);
            send(&nodes[at], "room", sent..sent + 7).await;
            follower.hear(7).await;
            broker.faults(Faults { lost: 100, doubled: 100 });
            send(&nodes[1 - at], "room", sent + 7..sent + 12).await;
            sent += 12;
            broker.faults(Faults::default());
            // Positions are told, by which a hole at the end is seen.
            let says = follower.says();
            total += follower.heard.len();
            drop(follower);
            seconds(3).await;
            follower = Follower::start(&nodes[usize::from(round % 2 == 0)], "room", &says).await;
            total += follower.missed.parse::<usize>().unwrap();
            let mut numbers: Vec<u32> = follower.heard.iter().map(|text| text.parse().unwrap()).collect();
            numbers.dedup();
            assert_eq!(numbers.len(), follower.heard.len());
        }
        assert_eq!(total + follower.heard.len(), sent as usize, "seed {seed}");
    }
}

/// Topics that nobody is at any more have a bound, past which the first of them go: whoever names ever new ones holds no more than that.
/// What goes on to be heard is the rest, each for its time.
#[tokio::test(start_paused = true)]
async fn topics_that_linger_are_bounded() {
    const MAX_TOPICS: usize = 65_536;
    let hub = keeping(1).local();
    for number in 0..MAX_TOPICS + 1000 {
        hub.topic(&number.to_string()).unwrap().send("x").await.unwrap();
    }
    seconds(2).await;
    assert_eq!(hub.topics(), MAX_TOPICS);
    assert_eq!(hub.counter(HubCounter::TopicsDisplaced), 1000);
    seconds(290).await;
    assert_eq!(hub.topics(), MAX_TOPICS);
    seconds(20).await;
    assert_eq!(hub.topics(), 0);
}
