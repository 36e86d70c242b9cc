//! The conversation on one socket.

use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sockeye::error::Violation;
use sockeye::socket::{Receiver, Sender};
use sockeye::{CloseCode, CloseFrame, Error, WebSocket};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until};

use super::Status;
use super::back_off::BackOff;
use super::command::Command;
use super::explain::explain;
use super::opener::Opener;
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
    /// What opens the socket again, with --reconnect.
    pub(super) again: Option<Opener>,
    /// Whether anything was asked for on a socket before this one.
    pub(super) had_input: bool,
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
    /// Talks until one side closes, and is not to come back; says how that went.
    pub(super) async fn run(mut self, mut socket: WebSocket) -> Status {
        let mut received = false;
        let mut back_off = BackOff::new(Instant::now().into_std());
        loop {
            let (mut sender, mut receiver) = socket.split();
            let end = self.talk(&mut sender, &mut receiver, &mut received).await;
            // They are halves of one socket.
            let Ok(mut ended) = sender.reunite(receiver) else { return Status::Broken };
            let (by_server, result) = match end {
                End::Theirs(result) => (true, result),
                End::Close(code, reason) => (false, ended.close_with(code, &reason).await),
            };
            let frame = ended.close_frame().cloned();
            let again = self.again.clone().filter(|_| by_server && may_come_back(&result, frame.as_ref()));
            let Some(opener) = again else {
                let status = self.conclude(by_server, result, frame).await;
                return if status == Status::Clean && self.manner.once && !received {
                    Status::NoMessage
                } else {
                    status
                };
            };
            self.console.note(format!("{}{}", self.before(), describe_end(&result, frame.as_ref()))).await;
            socket = match self.reopen(&opener, &mut back_off).await {
                Ok(socket) => socket,
                Err(status) => return status,
            };
        }
    }

    /// Opens the socket again, as often as it takes; or says why not.
    async fn reopen(&mut self, opener: &Opener, back_off: &mut BackOff) -> Result<WebSocket, Status> {
        back_off.end(Instant::now().into_std());
        loop {
            let wait = back_off.next();
            self.console.note(format!("{}connecting again in {:.1} s", self.before(), wait.as_secs_f64())).await;
            let opening = async {
                sleep(wait).await;
                opener.open().await
            };
            let opened = tokio::select! {
                opened = opening => opened,
                // It is over, as was wanted.
                _ = self.stopped.stopped() => return Err(Status::Clean),
            };
            match opened {
                Ok(socket) => {
                    back_off.succeed(Instant::now().into_std());
                    self.console.note(format!("{}connected again", self.before())).await;
                    return Ok(socket);
                }
                Err(error) if error.is_retryable() => {
                    self.console.note(format!("{}{}", self.before(), explain(&error))).await;
                }
                Err(error) => {
                    self.console.error(format!("{}{}", self.before(), explain(&error))).await;
                    return Err(Status::of_opening(&error));
                }
            }
        }
    }

    /// What stands before what is told, where there are several sockets.
    fn before(&self) -> String {
        self.label.as_deref().map_or_else(String::new, |label| format!("{label}: "))
    }

    /// Sends what is asked for and shows what is received, both at once.
    async fn talk(&mut self, sender: &mut Sender, receiver: &mut Receiver, received: &mut bool) -> End {
        let Self { label, commands, console, stopped, manner, had_input, .. } = self;
        let pinged = Mutex::new(None);
        let before = label.as_deref().map_or_else(String::new, |label| format!("{label}: "));
        let on_pong = |payload: bytes::Bytes| {
            let asked: Option<Instant> = pinged.lock().unwrap_or_else(PoisonError::into_inner).take();
            let time = asked.map(|asked| format!(" after {:.2} ms", asked.elapsed().as_secs_f64() * 1000.0));
            let text = String::from_utf8_lossy(&payload);
            let text = if text.is_empty() { String::new() } else { format!(" {text:?}") };
            console.note_now(format!("{before}pong{text}{}", time.unwrap_or_default()));
        };
        let mut sending = pin!(send(sender, commands, &pinged, manner.once, had_input));
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

/// Whether a socket that ended so is worth opening again: it broke off, or the server said that it is going away, or that
/// something went wrong there that may pass.
fn may_come_back(result: &Result<(), Error>, frame: Option<&CloseFrame>) -> bool {
    match (result, frame.map(|frame| u16::from(frame.code))) {
        (Err(Error::GoAway { .. } | Error::Violation(Violation::Http2(_))), _) => true,
        (Err(error), _) => error.is_retryable(),
        // RFC 6455 §7.4.1, and the registry of codes that it began.
        (Ok(()), Some(code)) => matches!(code, 1001 | 1011..=1014),
        (Ok(()), None) => true,
    }
}

fn describe_end(result: &Result<(), Error>, frame: Option<&CloseFrame>) -> String {
    match (result, frame) {
        (Err(error), _) => explain(error),
        (Ok(()), Some(frame)) => format!("the server closed with {}", frame.code),
        (Ok(()), None) => "the connection ended".to_owned(),
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
    had_input: &mut bool,
) -> Sent {
    while let Some(command) = commands.recv().await {
        *had_input = true;
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
        Ok(()) if *had_input => Sent::EndOfInput,
        Ok(()) => Sent::NoInput,
        Err(_) => Sent::Failed,
    }
}
