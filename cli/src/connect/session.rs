//! The conversation on one socket.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye::{CloseCode, CloseFrame, Error, Receiver, Sender, WebSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::Status;
use super::command::Command;
use super::explain::explain;
use super::output::Console;
use super::stop::Stopped;

/// How a conversation goes, whatever its socket.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    /// Send at most one message, and end with the first one received.
    pub(super) once: bool,
    /// Silence after the end of input that ends the conversation; `None` without end.
    pub(super) wait: Option<Duration>,
    /// The same where there was no input at all.
    pub(super) wait_without_input: Option<Duration>,
    /// Whether to tell how it ended also where it ended well.
    pub(super) talkative: bool,
}

pub(super) struct Session {
    /// Before each message, where there are several sockets.
    pub(super) label: Option<Arc<str>>,
    pub(super) commands: mpsc::Receiver<Command>,
    pub(super) console: Console,
    pub(super) stopped: Stopped,
    pub(super) manner: Manner,
}

/// Why nothing more is to be said.
enum End {
    /// We are to close, and have received a message or not.
    Close(CloseCode, String),
    /// The server has closed, or the socket broke.
    Theirs(Result<(), Error>),
}

/// Why nothing more is sent.
enum Sent {
    NoInput,
    EndOfInput,
    Close(CloseCode, String),
    /// The receiving half tells why.
    Failed,
}

impl Session {
    /// Talks until one side closes; says how that went.
    pub(super) async fn run(mut self, socket: WebSocket) -> Status {
        let (mut sender, mut receiver) = socket.split();
        let mut received = false;
        let end = self.talk(&mut sender, &mut receiver, &mut received).await;
        // They are halves of one socket.
        let Ok(mut socket) = sender.reunite(receiver) else { return Status::Broken };
        let (by_server, result) = match end {
            End::Theirs(result) => (true, result),
            End::Close(code, reason) => (false, socket.close_with(code, &reason).await),
        };
        let frame = socket.close_frame().cloned();
        let status = self.conclude(by_server, result, frame).await;
        if status == Status::Clean && self.manner.once && !received { Status::NoMessage } else { status }
    }

    /// Sends what is asked for and shows what is received, both at once.
    async fn talk(&mut self, sender: &mut Sender, receiver: &mut Receiver, received: &mut bool) -> End {
        let Self { label, commands, console, stopped, manner } = self;
        let pinged = Mutex::new(None);
        let before = label.as_deref().map_or_else(String::new, |label| format!("{label}: "));
        let on_pong = |payload: bytes::Bytes| {
            let asked: Option<Instant> = pinged.lock().unwrap_or_else(PoisonError::into_inner).take();
            let time = asked.map(|asked| format!(" after {:.2} ms", asked.elapsed().as_secs_f64() * 1000.0));
            let text = String::from_utf8_lossy(&payload);
            let text = if text.is_empty() { String::new() } else { format!(" {text:?}") };
            console.note_now(format!("{before}pong{text}{}", time.unwrap_or_default()));
        };
        let mut sending = pin!(send(sender, commands, &pinged, manner.once));
        let mut is_sending = true;
        let mut deadline = None;
        loop {
            tokio::select! {
                message = receiver.recv_with(&on_pong) => match message {
                    Ok(Some(message)) => {
                        console.message(label.clone(), message).await;
                        *received = true;
                        if manner.once {
                            return End::Close(CloseCode::NORMAL, String::new());
                        }
                        deadline = deadline.and(silent_until(manner.wait));
                    }
                    Ok(None) => return End::Theirs(Ok(())),
                    Err(error) => return End::Theirs(Err(error)),
                },
                sent = &mut sending, if is_sending => {
                    is_sending = false;
                    match sent {
                        Sent::Close(code, reason) => return End::Close(code, reason),
                        Sent::EndOfInput => deadline = silent_until(manner.wait),
                        Sent::NoInput => deadline = silent_until(manner.wait_without_input),
                        Sent::Failed => {}
                    }
                }
                code = stopped.stopped() => return End::Close(code, String::new()),
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {
                    return End::Close(CloseCode::NORMAL, String::new());
                }
            }
        }
    }

    /// Tells how it ended, and puts that in a number.
    async fn conclude(&self, by_server: bool, result: Result<(), Error>, frame: Option<CloseFrame>) -> Status {
        let label = self.label.as_deref().map_or_else(String::new, |label| format!("{label}: "));
        if let Err(error) = result {
            self.console.error(format!("{label}{}", explain(&error))).await;
            return Status::Broken;
        }
        let Some(CloseFrame { code, reason }) = frame else { return Status::Clean };
        let reason = if reason.is_empty() { String::new() } else { format!(" {:?}", &*reason) };
        let is_clean = matches!(code, CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS);
        let code = if code == CloseCode::NO_STATUS { "without a code".to_owned() } else { format!("with {code}") };
        match (by_server, is_clean) {
            (true, false) => {
                self.console.error(format!("{label}the server closed {code}{reason}")).await;
                return Status::ClosedWithError;
            }
            (true, true) if self.manner.talkative => {
                self.console.note(format!("{label}the server closed {code}{reason}")).await;
            }
            (false, _) if self.manner.talkative => self.console.note(format!("{label}closed {code}{reason}")).await,
            _ => {}
        }
        Status::Clean
    }
}

fn silent_until(wait: Option<Duration>) -> Option<Instant> {
    Instant::now().checked_add(wait?)
}

/// Does what is asked for, until there is no more of it.
async fn send(
    sender: &mut Sender,
    commands: &mut mpsc::Receiver<Command>,
    pinged: &Mutex<Option<Instant>>,
    once: bool,
) -> Sent {
    let mut any = false;
    while let Some(command) = commands.recv().await {
        any = true;
        let result = match command {
            Command::Send(message) => {
                let result = sender.send(message).await;
                if once && result.is_ok() {
                    break;
                }
                result
            }
            Command::Ping(payload) => {
                *pinged.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
                sender.send_ping(&payload).await
            }
            Command::Pong(payload) => sender.pong(&payload).await,
            Command::Close(code, reason) => return Sent::Close(code, reason),
        };
        if result.is_err() {
            return Sent::Failed;
        }
    }
    // Silence is waited for from when all is on its way.
    match sender.flush().await {
        Ok(()) if any => Sent::EndOfInput,
        Ok(()) => Sent::NoInput,
        Err(_) => Sent::Failed,
    }
}
