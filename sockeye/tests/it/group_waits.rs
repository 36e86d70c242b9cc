//! Who sends to a group waits for members that read, and for others no longer than it has to.

use std::future::Future;
use std::time::Duration;

use sockeye::socket::{Member, SlowMember};
use sockeye::{CloseCode, Counter, Error, Group, Message, Server, WebSocket};
use sockeye_proto::ws::Event;
use tokio::time::{Instant, advance, sleep, timeout};

use crate::common::{
    Carrier, Client, Socket, hand_over, handshake, open, pair, poll_now, restarted, settle, start, within,
};

const WAIT: Duration = Duration::from_millis(200);
/// As much finds room for a connection, and some more in its buffers and windows.
const ROOM: usize = 2 << 20;

/// Hundreds of thousands of messages take some time in a build that is not optimised.
const LONG: Duration = Duration::from_secs(300);

/// Sockets of a server that are members, and their peers.
struct Crowd {
    group: Group,
    members: Vec<Member>,
    sockets: Vec<WebSocket>,
    peers: Vec<Socket>,
}

/// Members on one connection over TCP.
async fn crowd(group: Group, count: usize) -> Crowd {
    let (service, mut handed) = hand_over();
    let server = start(Server::new(), service).await;
    let client = Client::connect(server.addr).await;
    let mut crowd = Crowd { group, members: Vec::new(), sockets: Vec::new(), peers: Vec::new() };
    for _ in 0..count {
        crowd.peers.push(Socket::on(&client, &handshake("/")).await.unwrap());
        let socket = handed.recv().await.unwrap();
        crowd.members.push(crowd.group.join(&socket).unwrap());
        crowd.sockets.push(socket);
    }
    crowd
}

fn numbered(number: usize, size: usize) -> Message {
    let mut octets = vec![0; size];
    octets[..4].copy_from_slice(&(number as u32).to_be_bytes());
    octets.into()
}

fn number_of(message: &Message) -> usize {
    u32::from_be_bytes(*message.as_bytes().first_chunk().unwrap()) as usize
}

/// Reads until the last message has come, in tasks; what each has got.
fn read_all(peers: Vec<Socket>, messages: usize) -> impl Future<Output = Vec<Vec<usize>>> {
    let tasks: Vec<_> = peers.into_iter().map(|peer| tokio::spawn(read_to(peer, messages - 1))).collect();
    async {
        let mut all = Vec::new();
        for task in tasks {
            all.push(task.await.unwrap().1);
        }
        all
    }
}

async fn read_to(mut peer: Socket, last: usize) -> (Socket, Vec<usize>) {
    let mut numbers = Vec::new();
    while numbers.last() != Some(&last) {
        numbers.push(number_of(&peer.message().await));
    }
    (peer, numbers)
}

/// 20 kB to a hundred members of one connection, a hundred times a second.
#[tokio::test]
async fn a_hundred_members_that_read_miss_no_large_message() {
    const MESSAGES: usize = 40;
    let Crowd { group, members, sockets: _sockets, peers } = crowd(Group::new(), 100).await;
    let reading = read_all(peers, MESSAGES);
    for number in 0..MESSAGES {
        sleep(Duration::from_millis(10)).await;
        within(group.send(numbered(number, 20_000))).await;
    }
    for numbers in timeout(LONG, reading).await.unwrap() {
        assert!(numbers.into_iter().eq(0..MESSAGES));
    }
    assert!(members.iter().all(|member| member.missed() == 0));
}

/// Four thousand at once, whether or not their sender waits.
#[tokio::test]
async fn a_hundred_members_that_read_miss_nothing_of_a_burst() {
    const MESSAGES: usize = 4000;
    for waits in [false, true] {
        let Crowd { group, members, sockets: _sockets, peers } = crowd(Group::new(), 100).await;
        let reading = read_all(peers, MESSAGES);
        for number in 0..MESSAGES {
            let sent = group.send(numbered(number, 32));
            if waits {
                within(sent).await;
            }
        }
        for numbers in timeout(LONG, reading).await.unwrap() {
            assert!(numbers.into_iter().eq(0..MESSAGES));
        }
        assert!(members.iter().all(|member| member.missed() == 0));
    }
}

/// One that does not read holds the others once, for the group's time, and has its messages counted.
#[tokio::test(start_paused = true)]
async fn who_does_not_read_holds_the_others_once() {
    const MESSAGES: usize = 200;
    let group = Group::builder().wait(WAIT).build();
    let (mut connection, client) = pair().await;
    let (slow, mut slow_peer) = open(&mut connection, &client).await;
    let (quick, quick_peer) = open(&mut connection, &client).await;
    let (slow, quick) = (group.join(&slow).unwrap(), group.join(&quick).unwrap());
    let reading = read_all(vec![quick_peer], MESSAGES);
    let start = Instant::now();
    for number in 0..MESSAGES {
        group.send(numbered(number, 50_000)).await;
    }
    let held = start.elapsed();
    assert!((WAIT..WAIT * 2).contains(&held), "{held:?}");
    assert!(within(reading).await[0].iter().copied().eq(0..MESSAGES));
    assert_eq!(quick.missed(), 0);
    let missed = slow.missed() as usize;
    assert!(missed * 50_000 + 2 * ROOM > MESSAGES * 50_000 && missed > 0, "{missed}");
    // It gets the first, which had room in its window, and the last, each whole and in its place.
    let mut numbers = Vec::new();
    while numbers.len() + missed < MESSAGES {
        numbers.push(number_of(&slow_peer.message().await));
    }
    assert!(numbers.is_sorted() && numbers[0] == 0 && numbers.last() == Some(&(MESSAGES - 1)), "{numbers:?}");
    // Then it is a member as any other.
    let start = Instant::now();
    group.send(numbered(MESSAGES, 50_000)).await;
    assert_eq!(number_of(&slow_peer.message().await), MESSAGES);
    assert_eq!((start.elapsed(), slow.missed() as usize), (Duration::ZERO, missed));
}

/// While its peer reads, however slowly, a member is waited for.
#[tokio::test(start_paused = true)]
async fn who_reads_slowly_is_waited_for() {
    const MESSAGES: usize = 80;
    // It gives credit for some messages at once, when it has read half of its window.
    let group = Group::builder().wait(WAIT * 5).build();
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    let member = group.join(&socket).unwrap();
    let reading = tokio::spawn(async move {
        for number in 0..MESSAGES {
            sleep(WAIT / 4).await;
            assert_eq!(number_of(&peer.message().await), number);
        }
    });
    for number in 0..MESSAGES {
        group.send(numbered(number, 100_000)).await;
    }
    reading.await.unwrap();
    assert_eq!(member.missed(), 0);
}

/// Fills what there is room for, for a member whose peer does not read; the next that is sent waits.
async fn fill(group: &Group) -> usize {
    for number in 0.. {
        let mut send = group.send(numbered(number, 100_000));
        settle().await;
        if poll_now(&mut send).await.is_pending() {
            return number + 1;
        }
    }
    unreachable!()
}

/// A wait ends with what it waits for: the member leaves, reads, or goes away with its connection.
#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_what_it_waits_for() {
    enum End {
        Leaves,
        Reads,
        Disconnects,
        Closes,
    }
    for end in [End::Leaves, End::Reads, End::Disconnects, End::Closes] {
        let group = Group::builder().wait(Duration::from_secs(3600)).build();
        let (mut connection, client) = pair().await;
        let (mut socket, mut peer) = open(&mut connection, &client).await;
        let member = group.join(&socket).unwrap();
        let mut sending = None;
        for number in 0.. {
            let mut send = group.send(numbered(number, 100_000));
            settle().await;
            if poll_now(&mut send).await.is_pending() {
                sending = Some(send);
                break;
            }
        }
        let start = Instant::now();
        match end {
            End::Leaves => drop(member),
            End::Reads => {
                for _ in 0..2 {
                    peer.message().await;
                }
            }
            End::Disconnects => peer.disconnect(),
            End::Closes => {
                let _ = poll_now(&mut Box::pin(socket.close())).await;
            }
        }
        within(sending.unwrap()).await;
        assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    }
}

/// To drop the future is not to wait: whoever has room has the message, and who is behind makes room for it.
#[tokio::test(start_paused = true)]
async fn a_message_whose_future_is_dropped_is_sent() {
    let group = Group::builder().wait(Duration::from_secs(3600)).build();
    let (mut connection, client) = pair().await;
    let (slow, mut slow_peer) = open(&mut connection, &client).await;
    let (quick, mut quick_peer) = open(&mut connection, &client).await;
    let slow = group.join(&slow).unwrap();
    let sent = fill(&group).await;
    settle().await;
    assert_eq!(slow.missed(), 1);
    let quick = group.join(&quick).unwrap();
    for number in sent..sent + 10 {
        drop(group.send(numbered(number, 100_000)));
        assert_eq!(number_of(&quick_peer.message().await), number);
    }
    settle().await;
    assert_eq!((slow.missed(), quick.missed()), (11, 0));
    for _ in 0..sent + 10 - 11 {
        slow_peer.message().await;
    }
    group.send("all").await;
    assert_eq!(slow_peer.message().await, "all".into());
}

/// Where the group has it so, nobody waits.
#[tokio::test(start_paused = true)]
async fn a_group_without_patience_never_waits() {
    let group = Group::builder().wait(Duration::ZERO).build();
    let (mut connection, client) = pair().await;
    let (socket, _peer) = open(&mut connection, &client).await;
    let member = group.join(&socket).unwrap();
    for number in 0..100 {
        let mut send = group.send(numbered(number, 100_000));
        assert!(poll_now(&mut send).await.is_ready());
        settle().await;
    }
    assert!(member.missed() > 70, "{}", member.missed());
}

/// What is sent before the connection has had a turn is bounded, too, and what finds no room is counted.
#[tokio::test(start_paused = true)]
async fn a_flood_that_nobody_awaits_is_bounded() {
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    let group = Group::new();
    let member = group.join(&socket).unwrap();
    for number in 0..100 {
        group.send(numbered(number, 1 << 20));
    }
    assert!((94..=98).contains(&member.missed()), "{}", member.missed());
    let mut got = 0;
    while got + member.missed() < 100 {
        peer.message().await;
        got += 1;
        settle().await;
    }
    assert!(got >= 1);
    group.send("next").await;
    assert_eq!(peer.message().await, "next".into());
}

/// RFC 6455 §7.4.1 and the registry of its §11.7: 1013 tells a peer to come back when it has time to read.
#[tokio::test]
async fn a_slow_member_is_closed_where_the_group_has_it_so() {
    for carrier in Carrier::ALL {
        let (service, mut handed) = hand_over();
        let server = start(Server::new(), service).await;
        let group = Group::builder().wait(Duration::from_millis(50)).slow(SlowMember::Close).build();
        let (mut slow_peer, mut slow) = (Socket::open(carrier, server.addr).await, handed.recv().await.unwrap());
        let (mut quick_peer, quick) = (Socket::open(carrier, server.addr).await, handed.recv().await.unwrap());
        let (_slow, quick) = (group.join(&slow).unwrap(), group.join(&quick).unwrap());
        let handler = tokio::spawn(async move { slow.recv().await });
        let mut number = 0;
        while !handler.is_finished() {
            within(group.send(numbered(number, 500_000))).await;
            assert_eq!(number_of(&quick_peer.message().await), number, "{carrier:?}");
            number += 1;
        }
        assert_eq!(quick.missed(), 0);
        let ended = handler.await.unwrap();
        assert!(
            matches!(ended, Err(Error::Violation(ref violation)) if violation.close_code() == Some(1013.into())),
            "{ended:?}"
        );
        assert_eq!(server.handle.counter(Counter::SlowMembersClosed), 1);
        let code = loop {
            match slow_peer.event().await {
                Event::Message(_) => {}
                Event::Close(frame) => break frame.code,
                event => panic!("{carrier:?}: {event:?}"),
            }
        };
        assert_eq!(code, CloseCode::TRY_AGAIN_LATER, "{carrier:?}");
    }
}

/// A peer that takes not even its Close is given up in the close timeout, whatever its handler does.
#[tokio::test(start_paused = true)]
async fn a_slow_member_that_takes_no_close_is_reset() {
    let group = Group::builder().wait(WAIT).slow(SlowMember::Close).build();
    let (mut connection, client) = pair().await;
    let (socket, peer) = open(&mut connection, &client).await;
    let _member = group.join(&socket).unwrap();
    fill(&group).await;
    group.send("too much").await;
    advance(Duration::from_secs(6)).await;
    let reason = within(client.until(|state| state.heard(peer.id()).reset)).await;
    assert_eq!(reason.code(), 8, "CANCEL");
    drop(socket);
}

/// Whoever brings messages from elsewhere says what is lost on the way: each member there is hears of it, beside what it missed itself,
/// and one that comes later does not.
#[tokio::test(start_paused = true)]
async fn a_hole_is_told_to_all_members() {
    let group = Group::new();
    let (mut connection, client) = pair().await;
    let (first_socket, _first_peer) = open(&mut connection, &client).await;
    let (second_socket, _second_peer) = open(&mut connection, &client).await;
    let (first, second) = (group.join(&first_socket).unwrap(), group.join(&second_socket).unwrap());
    group.miss(0);
    assert!(timeout(WAIT, first.lagged()).await.is_err(), "nothing was missed");
    let (told, ()) = within(async { tokio::join!(first.lagged(), async { group.miss(3) }) }).await;
    assert_eq!(told, 3, "who waits is woken");
    group.miss(4);
    assert_eq!(within(first.lagged()).await, 4);
    assert_eq!(within(second.lagged()).await, 7);
    let (late_socket, _late_peer) = open(&mut connection, &client).await;
    let late = group.join(&late_socket).unwrap();
    assert!(timeout(WAIT, late.lagged()).await.is_err(), "it was not there");
    assert_eq!((first.missed(), second.missed(), late.missed()), (7, 7, 0));
}

/// The handler is told of what was missed, once each time, and how much it was.
#[tokio::test(start_paused = true)]
async fn the_handler_is_told_of_what_was_missed() {
    let group = Group::builder().wait(Duration::ZERO).build();
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    let member = group.join(&socket).unwrap();
    assert!(timeout(WAIT, member.lagged()).await.is_err(), "nothing was missed");
    let telling = async { restarted(async || member.lagged().await).await };
    let filling = async {
        settle().await;
        fill_by(&group, &member).await
    };
    let ((told, dropped), ()) = within(async { tokio::join!(telling, filling) }).await;
    assert!(dropped > 0);
    assert_eq!(told, member.missed());
    assert!(timeout(WAIT, member.lagged()).await.is_err(), "all that was missed was told");
    for number in 0..5 {
        group.send(numbered(number, 100_000)).await;
        settle().await;
    }
    assert_eq!(member.lagged().await, 5);
    assert_eq!(member.missed(), told + 5);
    // Who catches up hears of what is sent in place of what it missed.
    member.send("five were left out").await;
    loop {
        let message = peer.message().await;
        if message.len() < 100 {
            return assert_eq!(message, "five were left out".into());
        }
    }
}

/// Sends until the member has missed something.
async fn fill_by(group: &Group, member: &Member) {
    for number in 0.. {
        if member.missed() > 0 {
            return;
        }
        group.send(numbered(number, 100_000)).await;
        settle().await;
    }
}

/// Several senders wait, and go on in their order.
#[tokio::test(start_paused = true)]
async fn senders_wait_in_their_order() {
    let group = Group::builder().wait(Duration::from_secs(3600)).build();
    let (mut connection, client) = pair().await;
    let (socket, mut peer) = open(&mut connection, &client).await;
    let member = group.join(&socket).unwrap();
    let tasks: Vec<_> = (0..60)
        .map(|number| {
            let send = group.send(numbered(number, 100_000));
            tokio::spawn(send)
        })
        .collect();
    settle().await;
    let waiting = tasks.iter().filter(|task| !task.is_finished()).count();
    assert!((30..45).contains(&waiting), "{waiting}");
    assert!(tasks[0].is_finished() && !tasks[59].is_finished());
    for number in 0..60 {
        assert_eq!(number_of(&peer.message().await), number);
    }
    for task in tasks {
        within(task).await.unwrap();
    }
    assert_eq!(member.missed(), 0);
}
