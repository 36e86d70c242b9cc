//! A chat room: who comes in reads what was said before, then all that is said from then on, and nothing twice.
//!
//! ```sh
//! cargo run --example chat
//! ```
//!
//! A peer that does not read holds nobody for longer than five seconds, and is told what it missed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use sockeye::socket::{GroupSend, Member};
use sockeye::{Group, Message, Result, WebSocket, serve, websocket};
use tokio::net::TcpListener;

/// Messages that a newcomer reads.
const REMEMBERED: usize = 100;

#[derive(Clone, Default)]
struct Room {
    group: Group,
    history: Arc<Mutex<VecDeque<Message>>>,
}

impl Room {
    /// Comes in with all that was said before. Under the lock nobody says anything.
    fn enter(&self, socket: &WebSocket) -> Result<Member> {
        let history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        self.group.join_with(socket, history.iter().cloned())
    }

    /// Says something to all but the member that says it, who has read it already. It is sent as this returns, and waited for
    /// without the lock.
    fn say(&self, member: &Member, message: Message) -> GroupSend {
        let mut history = self.history.lock().unwrap_or_else(PoisonError::into_inner);
        if history.len() == REMEMBERED {
            history.pop_front();
        }
        history.push_back(message.clone());
        self.group.send_except(member, message)
    }
}

async fn chat(mut socket: WebSocket, room: Room) -> Result {
    let member = room.enter(&socket)?;
    loop {
        tokio::select! {
            message = socket.recv() => match message? {
                Some(message) => room.say(&member, message).await,
                None => return Ok(()),
            },
            missed = member.lagged() => member.send(format!("({missed} messages were too many for you)")).await,
        }
    }
}

#[tokio::main]
async fn main() -> Result {
    let room = Room::default();
    let address = std::env::args().nth(1).unwrap_or("127.0.0.1:8080".to_owned());
    let listener = TcpListener::bind(address).await?;
    println!("ws://{}/", listener.local_addr()?);
    serve(listener, websocket(move |socket| chat(socket, room.clone()))).await
}
