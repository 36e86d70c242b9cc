//! `sockeye connect`: a conversation in a terminal, or between two pipes.

mod back_off;
mod command;
mod editor_end;
mod explain;
mod input;
mod opener;
mod output;
mod session;
mod stop;
mod verbose;

use std::io::{IsTerminal as _, stdin, stdout};
use std::panic::resume_unwind;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use http::Version;
use sockeye::error::Missing;
use sockeye::{Client, ClientBuilder, CloseCode, Error, SocketOptions, WebSocket};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use self::command::Command;
use self::explain::explain;
use self::input::{Commands, LineEditor};
use self::opener::Opener;
use self::output::{Console, Screen};
use self::session::{Manner, Session};
use self::stop::{INTERRUPTED, Stop, stop_on_signals};
use crate::handshake::{HandshakeOptions, parse_seconds};
use crate::reach::ReachOptions;
use crate::{hide, notes, style};
use sockeye_proto::uri::Target;

/// What may wait for one socket.
const QUEUE_SIZE: usize = 16;
/// Silence after the end of stdin, by default.
const WAIT: Duration = Duration::from_secs(1);
/// An HTTP/2 server that says nothing is asked after the first of these times whether it is there, and given up the second
/// one later.
const KEEP_ALIVE: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(20)];

const AFTER_HELP: &str = "\
In a terminal a line is a message, and these are commands:
  /ping [TEXT]            send a Ping and tell when it is answered
  /pong [TEXT]            send a Pong, which is not answered
  /close [CODE [REASON]]  close, with 1000 unless another code is given
  //TEXT                  send /TEXT
Ctrl-D closes with 1000, Ctrl-C with 1001. Control characters that are
received are shown escaped, binary messages in hexadecimal.

In a pipe stdin is data alone: each line a message, or with --binary each
piece read (of at most 64 KiB) a binary message. The payload of what is
received goes to stdout as it is, with a newline after each message
unless there is --binary; all else goes to stderr. After the end of stdin
messages are received until none has come for --wait seconds (where stdin
was empty from the start: until the server closes), and then the socket
is closed with 1000.

Several URLs of the same origin share a connection where there is HTTP/2.
What is sent goes to all of them, what is received has its URL before it.

Exit status, the highest where there are several sockets:
  0    the socket was closed cleanly: by this side, or by the server with
       1000, 1001 or no code
  1    no connection, stdin cannot be sent, or stdout takes no more
  2    the arguments are wrong
  3    the server refused the WebSocket, or does not speak the HTTP
       version asked for
  4    the server closed with another code
  5    the socket broke off without a Close, or a rule of the protocol
       was broken
  6    with -1: no message came
  130  Ctrl-C before a socket was open, or a second one, which does not
       wait for the server";

#[derive(clap::Args)]
#[command(after_long_help = AFTER_HELP)]
pub(crate) struct Arguments {
    /// The WebSockets: wss:// or https://; ws:// or http:// for cleartext.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<Target>,
    #[command(flatten)]
    handshake: HandshakeOptions,
    #[command(flatten)]
    reach: ReachOptions,
    /// HTTP/1.1 alone.
    #[arg(long = "http1.1", conflicts_with = "http2")]
    http1: bool,
    /// HTTP/2 or nothing; in cleartext by prior knowledge.
    #[arg(long, visible_alias = "http2-prior-knowledge")]
    http2: bool,
    /// Send binary messages.
    #[arg(short, long)]
    binary: bool,
    /// Send at most one message, and leave after the first one received.
    #[arg(short = '1', long = "one")]
    once: bool,
    /// Seconds without a message after the end of stdin until the socket is closed, or "forever".
    /// [default: 1; with -1 forever]
    #[arg(short, long, value_name = "SECONDS", value_parser = parse_wait)]
    wait: Option<Wait>,
    /// Open a socket again when it breaks off, or the server goes away (1001, 1011 to 1014): after a wait that doubles from half
    /// a second to half a minute. What was on its way is lost; what is typed meanwhile waits. A socket has to open once before.
    #[arg(long)]
    reconnect: bool,
    /// Offer no compression of messages (permessage-deflate).
    #[arg(long)]
    no_deflate: bool,
    /// Seconds for each step to an open socket.
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    timeout: Duration,
    /// Show the handshakes, and how sockets end.
    #[arg(short, long)]
    verbose: bool,
}

#[derive(Clone, Copy, Debug)]
enum Wait {
    For(Duration),
    Forever,
}

fn parse_wait(text: &str) -> Result<Wait, String> {
    if text == "forever" {
        return Ok(Wait::Forever);
    }
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.map(Wait::For).ok_or_else(|| "a number of seconds, or forever".to_owned())
}

/// What becomes the exit status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
enum Status {
    Clean = 0,
    NoConnection = 1,
    WrongArguments = 2,
    Refused = 3,
    ClosedWithError = 4,
    Broken = 5,
    NoMessage = 6,
}

pub(crate) async fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let stop = Stop::new();
    stop_on_signals(stop.clone())?;
    let openers = Opener::for_all(&arguments, &arguments.builder()?)?;
    let (screen, console, source) = if stdin().is_terminal() && stdout().is_terminal() && !style::is_dumb() {
        let (editor, printer, end) = LineEditor::new(stop.clone())?;
        let (screen, console) = Screen::above(printer, end);
        (screen, console, Source::Editor(Box::new(editor)))
    } else {
        let (screen, console) = Screen::plain(arguments.binary, stop.clone());
        (screen, console, if stdin().is_terminal() { Source::Terminal } else { Source::Pipe })
    };
    let status = converse(&arguments, openers, source, &console, &stop).await;
    if let Err(error) = screen.finish(&console).await {
        notes::error(&format!("cannot write: {error}"));
        return Ok(ExitCode::from(status.max(Status::NoConnection as u8)));
    }
    Ok(ExitCode::from(status))
}

/// Where input comes from.
enum Source {
    Editor(Box<LineEditor>),
    /// One whose output goes elsewhere.
    Terminal,
    Pipe,
}

/// Opens the sockets, and lets them talk; gives the exit status.
async fn converse(arguments: &Arguments, openers: Vec<Opener>, source: Source, console: &Console, stop: &Stop) -> u8 {
    let is_conversation = matches!(source, Source::Editor(_));
    let mut status = Status::Clean;
    let mut opened = Vec::new();
    let opening = open_all(&openers);
    tokio::select! {
        results = opening => {
            for ((target, opener), result) in arguments.urls.iter().zip(&openers).zip(results) {
                match result {
                    Ok(socket) => opened.push((target, opener, socket)),
                    Err(error) => {
                        if arguments.verbose {
                            console.note(verbose::refused(&error)).await;
                        }
                        console.error(format!("{}: {}", hide::url(&target.to_string()), explain(&error))).await;
                        status = status.max(Status::of_opening(&error));
                    }
                }
            }
        }
        _ = async { stop.stopped().stopped().await } => return INTERRUPTED,
    }
    let mut sessions = JoinSet::new();
    let mut queues = Vec::new();
    for (target, opener, socket) in opened {
        if arguments.verbose {
            if let Some(via) = &opener.via {
                console.note(format!("by {via}")).await;
            }
            console.note(verbose::handshake(&socket)).await;
        }
        if let Some(why) = opener.fell_back().filter(|_| socket.version() != Version::HTTP_2) {
            let url = hide::url(&target.to_string());
            console.note(format!("{url}: HTTP/1.1 in place of HTTP/2, over which {}", explain(&why))).await;
        }
        if is_conversation || arguments.verbose {
            console.note(verbose::opened(target, &socket)).await;
        }
        let (queue, commands) = mpsc::channel(QUEUE_SIZE);
        queues.push(queue);
        let session = Session {
            label: (arguments.urls.len() > 1).then(|| hide::url(&target.to_string()).into()),
            commands,
            console: console.clone(),
            stopped: stop.stopped(),
            manner: arguments.manner(is_conversation),
            again: arguments.reconnect.then(|| opener.clone()),
            had_input: false,
        };
        sessions.spawn(session.run(socket));
    }
    if sessions.is_empty() {
        return status as u8;
    }
    let (input, commands) = mpsc::channel(QUEUE_SIZE);
    source.start(arguments, input, console, stop);
    let mut distributing = pin!(distribute(commands, queues));
    let mut is_distributing = true;
    loop {
        tokio::select! {
            ended = sessions.join_next() => match ended {
                Some(Ok(ended)) => status = status.max(ended),
                Some(Err(error)) => resume_unwind(error.into_panic()),
                None => return status as u8,
            },
            result = &mut distributing, if is_distributing => {
                is_distributing = false;
                if let Err(error) = result {
                    console.error(error).await;
                    status = status.max(Status::NoConnection);
                    stop.stop(CloseCode::NORMAL);
                }
            }
        }
    }
}

/// Opens a socket for each URL, all at once.
async fn open_all(openers: &[Opener]) -> Vec<Result<WebSocket, Error>> {
    let opening: Vec<_> =
        openers.iter().cloned().map(|opener| tokio::spawn(async move { opener.open().await })).collect();
    let mut opened = Vec::new();
    for opening in opening {
        opened.push(opening.await.unwrap_or_else(|error| resume_unwind(error.into_panic())));
    }
    opened
}

impl Source {
    /// Starts a thread that reads.
    fn start(self, arguments: &Arguments, input: Commands, console: &Console, stop: &Stop) {
        let binary = arguments.binary;
        match self {
            Self::Editor(editor) => editor.start(input, console.clone(), stop.clone(), binary),
            Self::Terminal => input::read_lines(input, Some(console.clone()), binary),
            Self::Pipe if binary => input::read_chunks(input),
            Self::Pipe => input::read_lines(input, None, binary),
        }
    }
}

/// Gives every socket what is asked for, until the input ends.
async fn distribute(
    mut commands: mpsc::Receiver<Result<Command, String>>,
    queues: Vec<mpsc::Sender<Command>>,
) -> Result<(), String> {
    while let Some(command) = commands.recv().await {
        let command = command?;
        for queue in &queues {
            // A socket may have ended before the others.
            queue.send(command.clone()).await.ok();
        }
    }
    Ok(())
}

impl Arguments {
    fn builder(&self) -> anyhow::Result<ClientBuilder> {
        let mut builder = Client::builder()
            .connect_timeout(self.timeout)
            .options(SocketOptions::new().answer_timeout(self.timeout))
            .keep_alive(KEEP_ALIVE[0], KEEP_ALIVE[1]);
        if self.http1 {
            builder = builder.http1_only();
        }
        if self.http2 {
            builder = builder.http2_only();
        }
        if self.urls.iter().any(|target| target.is_secure) {
            builder = builder.tls(self.reach.tls.client_config()?);
        }
        for (name, value) in &self.handshake.headers() {
            builder = builder.header(name.as_str(), std::str::from_utf8(value.as_bytes())?);
        }
        Ok(builder)
    }

    fn manner(&self, is_conversation: bool) -> Manner {
        let (wait, wait_without_input) = match self.wait {
            Some(Wait::For(time)) => (Some(time), Some(time)),
            Some(Wait::Forever) => (None, None),
            None if self.once => (None, None),
            None => (Some(WAIT), None),
        };
        Manner { once: self.once, wait, wait_without_input, talkative: is_conversation || self.verbose }
    }
}

impl Status {
    /// Of a socket that did not open.
    fn of_opening(error: &Error) -> Self {
        match error {
            Error::NotOffered(Missing::Tls | Missing::Cleartext) => Self::NoConnection,
            Error::Refused(_) | Error::Handshake(_) | Error::NotOffered(_) => Self::Refused,
            Error::Reset { .. } | Error::GoAway { .. } | Error::Violation(_) => Self::Refused,
            Error::Neither { http2, http1 } => Self::of_opening(http2).max(Self::of_opening(http1)),
            Error::Invalid(_) => Self::WrongArguments,
            _ => Self::NoConnection,
        }
    }
}
