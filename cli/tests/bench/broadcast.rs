//! Several sockets that have to do with one another: with --broadcast, and what goes on beside the load.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use sockeye::{Message, Result, WebSocket};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::{FAILURES, OK, WRONG, bench, echo, serve};

/// The socket at which a server goes wrong, by the order in which they were opened, and the message.
const VICTIM: usize = 3;
const TURN: usize = 5;

/// What a server does with a message for one of its sockets.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Course {
    Right,
    /// One message never arrives at one socket.
    Loses,
    /// None arrives there any more.
    Stops,
    Repeats,
    Changes,
    /// Two are exchanged.
    Swaps,
    /// Two become one.
    Merges,
    /// One socket is closed, which is not the sender's.
    Closes,
    /// The sender's socket is closed.
    ClosesSender,
}

/// All sockets that are open on a path, by the order in which they were opened; `None` closes one.
#[derive(Clone)]
struct Room {
    course: Course,
    members: Arc<Mutex<Vec<UnboundedSender<Option<Message>>>>>,
    /// Messages that came.
    count: Arc<Mutex<usize>>,
    held: Arc<Mutex<Option<Message>>>,
}

impl Room {
    fn new(course: Course) -> Self {
        Self { course, members: Arc::default(), count: Arc::default(), held: Arc::default() }
    }

    async fn join(self, mut socket: WebSocket) -> Result {
        let (sender, mut inbox) = unbounded_channel();
        self.members.lock().unwrap().push(sender);
        loop {
            tokio::select! {
                message = socket.recv() => match message? {
                    Some(message) => self.spread(&message),
                    None => return Ok(()),
                },
                Some(message) = inbox.recv() => match message {
                    Some(message) => socket.send(message).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    fn spread(&self, message: &Message) {
        let number = {
            let mut count = self.count.lock().unwrap();
            *count += 1;
            *count - 1
        };
        for (index, member) in self.members.lock().unwrap().iter().enumerate() {
            for message in self.messages_for(index, number, message) {
                // One that is gone gets nothing.
                member.send(message).ok();
            }
        }
    }

    fn messages_for(&self, index: usize, number: usize, message: &Message) -> Vec<Option<Message>> {
        let message = message.clone();
        let right = vec![Some(message.clone())];
        if self.course == Course::ClosesSender && number == TURN {
            return vec![if index == 0 { None } else { Some(message) }];
        }
        if index != VICTIM {
            return right;
        }
        match (self.course, number) {
            (Course::Loses, TURN) => vec![],
            (Course::Stops, TURN..) => vec![],
            (Course::Repeats, TURN) => vec![Some(message.clone()), Some(message)],
            (Course::Changes, TURN) => {
                let mut octets = message.into_bytes().to_vec();
                octets[7] ^= 1;
                vec![Some(octets.into())]
            }
            (Course::Swaps | Course::Merges, TURN) => {
                *self.held.lock().unwrap() = Some(message);
                vec![]
            }
            (Course::Swaps | Course::Merges, _) => match (self.held.lock().unwrap().take(), self.course) {
                (Some(held), Course::Swaps) => vec![Some(message), Some(held)],
                (Some(held), _) => vec![Some([held.into_bytes(), message.into_bytes()].concat().into())],
                (None, _) => right,
            },
            (Course::Closes, TURN) => vec![None],
            _ => right,
        }
    }
}

async fn broadcast(course: Course, arguments: &str) -> (i32, Value, usize) {
    let room = Room::new(course);
    let joined = room.clone();
    let url = serve(move |socket| joined.clone().join(socket)).await;
    let (status, report) = bench(&url, &format!("--broadcast {arguments}")).await;
    let count = *room.count.lock().unwrap();
    (status, report, count)
}

#[tokio::test]
async fn every_message_arrives_at_every_socket() {
    for arguments in [
        "-m 5",
        "-c 3 -m 4",
        "-c 2 -m 3 --depth 7",
        "-m 4 --text --size 0..300",
        "-m 3 --size 200k --depth 2",
        "-c 2 -m 3 --rate 500",
        "-m 3 --rate 2k --depth 1",
        "-c 4 --http1.1",
    ] {
        let (status, report, count) = broadcast(Course::Right, arguments).await;
        assert_eq!((status, &report["verdict"], &report["broadcast"]), (OK, &"ok".into(), &true.into()), "{report}");
        let (messages, sockets) = (report["load"]["messages"].as_u64().unwrap(), report["sockets"].as_u64().unwrap());
        assert!(messages > 0, "{arguments}: {report}");
        // Each arrival counts, and only what was sent can arrive.
        assert!(messages <= sockets * count as u64, "{arguments}: {messages} arrivals of {count} at {sockets}");
        assert_eq!(report["load"]["lateness_us"].is_null(), !arguments.contains("--rate"), "{arguments}: {report}");
    }
}

#[tokio::test]
async fn each_arrival_is_counted() {
    let (_, report, count) = broadcast(Course::Right, "-c 2 -m 4").await;
    let messages = report["load"]["messages"].as_u64().unwrap();
    // Some of the eight times as many came before or after what was measured.
    assert!(messages > 2 * count as u64, "{messages} arrivals of {count} messages at 8 sockets");
}

#[tokio::test]
async fn what_is_wrong_at_one_socket_is_found_there() {
    for (course, what) in [
        (Course::Loses, "messages lost or out of order"),
        (Course::Repeats, "messages repeated"),
        (Course::Changes, "octets changed"),
        (Course::Swaps, "messages lost or out of order"),
        (Course::Merges, "messages merged"),
    ] {
        let (status, report, _) = broadcast(course, "-m 5 --depth 4").await;
        assert_eq!((status, &report["verdict"]), (WRONG, &"wrong".into()), "{what}: {report}");
        let [failure] = &report["failures"].as_array().unwrap()[..] else { panic!("{report}") };
        assert_eq!((&failure["what"], &failure["sockets"]), (&what.into(), &1.into()), "{report}");
        let place = format!("socket {VICTIM}, message {}", if course == Course::Repeats { TURN + 1 } else { TURN });
        assert!(failure["first"].as_str().unwrap().starts_with(&place), "{report}");
    }
}

/// In a closed loop the others wait for it as well, and that is not their fault.
#[tokio::test]
async fn a_message_that_does_not_arrive_is_waited_for() {
    let (status, report, _) = broadcast(Course::Stops, "-m 5 --timeout 500ms").await;
    assert_eq!(status, FAILURES, "{report}");
    let [failure] = &report["failures"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!((&failure["kind"], &failure["sockets"]), (&"timeout".into(), &1.into()), "{report}");
}

#[tokio::test]
async fn the_others_go_on_without_a_socket_that_is_closed() {
    let (status, report, count) = broadcast(Course::Closes, "-m 5").await;
    assert_eq!((status, &report["failures"][0]["kind"]), (FAILURES, &"closed".into()), "{report}");
    assert_eq!(report["failures"][0]["sockets"], 1, "{report}");
    assert!(count > 2 * TURN, "{count} messages were sent");
}

#[tokio::test]
async fn without_the_sender_nothing_is_waited_for() {
    let (status, report, count) = broadcast(Course::ClosesSender, "-m 5 --depth 2").await;
    assert_eq!((status, &report["failures"][0]["sockets"]), (FAILURES, &1.into()), "{report}");
    assert_eq!(report["failures"].as_array().unwrap().len(), 1, "{report}");
    assert!(count <= TURN + 3, "{count} messages were sent");
}

#[tokio::test]
async fn what_goes_on_beside_is_in_no_figure() {
    let url = serve(echo).await;
    let (status, report) = bench(&url, "-c 2 -m 5 --beside 300k").await;
    assert_eq!((status, &report["sockets"]), (OK, &10.into()), "{report}");
    assert_eq!(report["opening"]["sockets"], 12, "{report}");
    let load = &report["load"];
    let mean = load["octets_per_second"].as_f64().unwrap() / load["messages_per_second"].as_f64().unwrap();
    assert!((mean - 32.0).abs() < 0.001, "{report}");
    assert_eq!(report["beside"]["size"], "300k");
    assert!(report["beside"]["messages"].as_u64().unwrap() > 0, "{report}");
}

#[tokio::test]
async fn what_is_wrong_beside_is_found() {
    let url = serve(|mut socket: WebSocket| async move {
        while let Some(message) = socket.recv().await? {
            let mut octets = message.into_bytes().to_vec();
            if octets.len() == 70_000 {
                octets[69_999] ^= 1;
            }
            socket.send(octets).await?;
        }
        Ok(())
    })
    .await;
    let (status, report) = bench(&url, "-m 5 --beside 70k").await;
    let [failure] = &report["failures"].as_array().unwrap()[..] else { panic!("{report}") };
    assert_eq!(
        (status, &failure["what"], &failure["sockets"]),
        (WRONG, &"octets changed".into(), &1.into()),
        "{report}"
    );
    assert!(failure["first"].as_str().unwrap().starts_with("socket 5, message 0: octet 69999 is"), "{report}");
}

/// Silent sockets are open until the others close, and the server hears nothing of them in between.
#[tokio::test]
async fn sockets_that_say_nothing_are_closed_with_the_others() {
    let ends = Arc::new(Mutex::new(Vec::new()));
    let seen = ends.clone();
    let url = serve(move |mut socket: WebSocket| {
        let ends = seen.clone();
        async move {
            let mut messages = 0;
            while let Some(message) = socket.recv().await? {
                messages += 1;
                socket.send(message).await?;
            }
            ends.lock().unwrap().push(messages);
            Ok(())
        }
    })
    .await;
    let (status, report) = bench(&url, "-c 2 -m 3 --silent 4 --beside 5k").await;
    assert_eq!((status, &report["silent"], &report["sockets"]), (OK, &4.into(), &6.into()), "{report}");
    assert_eq!(report["opening"]["sockets"], 16, "{report}");
    for _ in 0..500 {
        if ends.lock().unwrap().len() == 16 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    // `recv` ended with a Close for each of them.
    let ends = ends.lock().unwrap();
    assert_eq!((ends.len(), ends.iter().filter(|messages| **messages == 0).count()), (16, 8), "{ends:?}");
}

/// What sixty sockets leave unread does not fill the connection's window: those beside them go on.
#[tokio::test]
async fn sockets_that_stall_stop_no_other() {
    let url = serve(echo).await;
    let (status, report) = bench(&url, "-m 3 --stall 60 --size 1k").await;
    assert_eq!((status, &report["sockets"]), (OK, &3.into()), "{report}");
    // More than one each: none would come once the window is full, however fast the machine is.
    assert!(report["load"]["messages"].as_u64().unwrap() > 3, "{report}");
}

/// Sockets that are not read send until the server's own windows are full, which then cannot send to them.
#[tokio::test]
async fn sockets_that_stall_take_no_more_than_the_first_window() {
    type Ends = Arc<Mutex<Vec<(usize, usize, bool)>>>;
    async fn echo(mut socket: WebSocket, received: &mut usize, sent: &mut usize) -> Result {
        while let Some(message) = socket.recv().await? {
            *received += message.len();
            let length = message.len();
            socket.send(message).await?;
            *sent += length;
        }
        Ok(())
    }
    let ends = Ends::default();
    let seen = ends.clone();
    let url = serve(move |socket| {
        let ends = seen.clone();
        async move {
            let (mut received, mut sent) = (0, 0);
            let result = echo(socket, &mut received, &mut sent).await;
            ends.lock().unwrap().push((received, sent, result.is_ok()));
            result
        }
    })
    .await;
    let (status, report) = bench(&url, "-m 3 --stall 2 --size 1k").await;
    assert_eq!((status, &report["stall"], &report["sockets"]), (OK, &2.into(), &3.into()), "{report}");
    assert!(report["load"]["messages"].as_u64().unwrap() > 0, "{report}");
    // The last of them may still be on their way to the handlers.
    for _ in 0..500 {
        if ends.lock().unwrap().len() == 5 {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    let ends = ends.lock().unwrap();
    let stalled: Vec<_> = ends.iter().filter(|(.., is_right)| !is_right).collect();
    assert_eq!((ends.len(), stalled.len()), (5, 2), "{ends:?}");
    for (received, sent, _) in stalled {
        // The window, and what stands in the server's own buffers for that socket.
        assert!(*received > 65_535 && *sent < 65_535 + (256 << 10) && sent < received, "{ends:?}");
    }
}
