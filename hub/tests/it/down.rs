//! A backplane that takes nothing, or is gone: no sender waits, members here get all, and what is dropped is counted.

use std::time::Duration;

use sockeye_hub::{Error, Hub, HubCounter, Overflow, WhenDown};

use crate::broker::Broker;
use crate::node::{Node, next, seconds, texts};

/// Sends past the bound of the queue while the backplane takes nothing: how many the far member got and missed, and what was refused.
async fn overflow(policy: Overflow) -> (Vec<String>, u32, u64) {
    let broker = Broker::new(1);
    let near = Node::with(&broker, Hub::builder().queue(1 << 20, 50).overflow(policy));
    let far = Node::on(&broker);
    let (mut here, mut there) = (near.join("room").await, far.join("room").await);
    seconds(1).await;
    let topic = near.topic("room");
    topic.send("begin").await.unwrap();
    assert_eq!(next(&mut there).await, "begin".into());
    broker.set_stuck(0, true);
    let began = tokio::time::Instant::now();
    let mut refused = 0;
    for number in 0..200 {
        match topic.send(number.to_string()).await {
            Ok(()) => {}
            Err(Error::QueueFull) => refused += 1,
            Err(error) => panic!("{error}"),
        }
        tokio::task::yield_now().await;
    }
    assert!(began.elapsed() < Duration::from_millis(1), "nobody waits for the backplane");
    assert_eq!(texts(&mut here, 201).await.len(), 201, "members here get all");
    broker.set_stuck(0, false);
    let (mut got, mut missed) = (Vec::new(), 0);
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(30), there.recv()).await {
        let message = message.unwrap().unwrap();
        let text = message.as_text().unwrap();
        match text.strip_prefix("missed ") {
            Some(number) => missed += number.parse::<u32>().unwrap(),
            None => got.push(text.to_owned()),
        }
    }
    assert_eq!(got.len() as u64 + u64::from(missed) + refused, 200);
    assert!(near.hub.counter(HubCounter::QueueDropped) + refused > 80);
    (got, missed, refused)
}

#[tokio::test(start_paused = true)]
async fn the_oldest_makes_room() {
    let (got, missed, refused) = overflow(Overflow::DropOldest).await;
    assert_eq!((got.last().unwrap().as_str(), refused), ("199", 0));
    assert!(missed > 80);
}

#[tokio::test(start_paused = true)]
async fn the_newest_is_dropped() {
    let (got, missed, refused) = overflow(Overflow::DropNewest).await;
    assert_eq!((got.first().unwrap().as_str(), refused), ("0", 0));
    assert_ne!(got.last().unwrap(), "199");
    assert!(missed > 80);
}

#[tokio::test(start_paused = true)]
async fn the_sender_is_told() {
    let (_, missed, refused) = overflow(Overflow::Error).await;
    assert_eq!(missed, 0, "who was told sent nothing");
    assert!(refused > 80);
}

/// While the backplane is down a message waits, or is an error, as the hub's options have it; members here get it.
#[tokio::test(start_paused = true)]
async fn down_is_a_queue_or_an_error() {
    for when_down in [WhenDown::Queue, WhenDown::Error] {
        let broker = Broker::new(1);
        let near = Node::with(&broker, Hub::builder().when_down(when_down));
        let far = Node::on(&broker);
        let (mut here, mut there) = (near.join("room").await, far.join("room").await);
        broker.set_up(0, false);
        seconds(1).await;
        assert!(!near.hub.is_up());
        let sent = near.topic("room").send("hello").await;
        assert_eq!(next(&mut here).await, "hello".into());
        broker.set_up(0, true);
        seconds(1).await;
        near.topic("room").send("again").await.unwrap();
        match when_down {
            WhenDown::Error => assert!(matches!(sent, Err(Error::Down)), "{sent:?}"),
            _ => {
                sent.unwrap();
                assert_eq!(next(&mut there).await, "hello".into());
            }
        }
        assert_eq!(next(&mut there).await, "again".into());
        assert_eq!(near.hub.counter(HubCounter::Disconnects), 1);
        assert!(near.hub.prometheus().contains("\nsockeye_hub_disconnects_total 1\n"));
        assert!(near.hub.prometheus().contains("\nsockeye_hub_up 1\n"));
    }
}
