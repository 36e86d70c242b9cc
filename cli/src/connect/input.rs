//! What is typed, or comes in by a pipe. A thread reads it, since nothing else can end a read of stdin.

use std::convert::Infallible;
use std::io::{self, BufRead as _, Read as _};
use std::thread;

use bytes::Bytes;
use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{Editor, ExternalPrinter};
use sockeye::{CloseCode, Message};
use tokio::sync::mpsc;

use super::command::{self, Command};
use super::editor_end::EditorEnd;
use super::output::Console;
use super::stop::{INTERRUPTED, Stop};

/// The most octets of stdin in one binary message.
const CHUNK_SIZE: usize = 64 << 10;

/// Where commands go. An error says why no more of stdin can be sent; the end of stdin is the end of the channel.
pub(super) type Commands = mpsc::Sender<Result<Command, String>>;

/// What Ctrl-D says.
const LEAVE: Command = Command::Close(CloseCode::NORMAL, String::new());

/// The line editor of a conversation, with a history for as long as that lasts.
pub(super) struct LineEditor {
    editor: Editor<(), DefaultHistory>,
    /// Dropped when it has ended.
    running: std::sync::mpsc::Sender<Infallible>,
}

impl LineEditor {
    /// The editor, what prints above its line, and what ends it.
    pub(super) fn new(stop: Stop) -> rustyline::Result<(Self, impl ExternalPrinter + Send + 'static, EditorEnd)> {
        let config = rustyline::Config::builder()
            .auto_add_history(true)
            // A line is a message, also where several are pasted.
            .bracketed_paste(false)
            .build();
        let mut editor = Editor::with_config(config)?;
        let printer = editor.create_external_printer()?;
        let (running, ended) = std::sync::mpsc::channel();
        Ok((Self { editor, running }, printer, EditorEnd::new(ended, stop)))
    }

    /// Reads lines until the conversation is over, as it is the editor that prints what is received.
    pub(super) fn start(self, commands: Commands, console: Console, stop: Stop, binary: bool) {
        let Self { mut editor, running } = self;
        thread::spawn(move || {
            let _running = running;
            let mut prompt = "> ";
            while !stop.is_over() {
                let command = match editor.readline(prompt) {
                    Ok(line) => command::parse(&line, binary),
                    Err(ReadlineError::Eof) => Ok(LEAVE),
                    Err(ReadlineError::Interrupted) => {
                        prompt = "";
                        if !stop.stop(CloseCode::GOING_AWAY) && !stop.is_over() {
                            std::process::exit(INTERRUPTED.into());
                        }
                        continue;
                    }
                    Err(error) => {
                        commands.blocking_send(Err(error.to_string())).ok();
                        return;
                    }
                };
                if matches!(command, Ok(Command::Close(..))) {
                    prompt = "";
                }
                match command {
                    // Once the sockets have ended nobody takes it any more.
                    Ok(command) => drop(commands.blocking_send(Ok(command))),
                    Err(explanation) => console.tell_blocking(explanation),
                }
            }
        });
    }
}

/// Reads lines of a pipe, each a message; or of a terminal, where they may be commands.
pub(super) fn read_lines(commands: Commands, console: Option<Console>, binary: bool) {
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        for number in 1_u64.. {
            let mut line = Vec::new();
            let read = stdin.read_until(b'\n', &mut line).map_err(|error| format!("cannot read stdin: {error}"));
            let command = match read {
                Ok(0) if console.is_some() => Ok(Some(LEAVE)),
                Ok(0) => return,
                Ok(_) => understand(line, number, console.as_ref(), binary),
                Err(error) => Err(error),
            };
            let is_last = command.is_err();
            let sent = command.transpose().is_none_or(|command| commands.blocking_send(command).is_ok());
            if is_last || !sent {
                return;
            }
        }
    });
}

/// What a line asks for; `None` where the person was told something instead.
fn understand(
    mut line: Vec<u8>,
    number: u64,
    console: Option<&Console>,
    binary: bool,
) -> Result<Option<Command>, String> {
    if line.last() == Some(&b'\n') {
        line.pop();
        line.pop_if(|octet| *octet == b'\r');
    }
    if console.is_none() && binary {
        return Ok(Some(Command::Send(Message::from(line))));
    }
    let text = String::from_utf8(line).map_err(|_| format!("line {number} of stdin is not UTF-8; see --binary"))?;
    let Some(console) = console else { return Ok(Some(Command::Send(text.into()))) };
    command::parse(&text, binary).map(Some).or_else(|explanation| {
        console.tell_blocking(explanation);
        Ok(None)
    })
}

/// Reads a pipe in pieces, as they come.
pub(super) fn read_chunks(commands: Commands) {
    thread::spawn(move || {
        let mut stdin = io::stdin().lock();
        let mut chunk = vec![0; CHUNK_SIZE];
        loop {
            let command = match stdin.read(&mut chunk) {
                Ok(0) => return,
                Ok(read) => Ok(Command::Send(Bytes::copy_from_slice(&chunk[..read]).into())),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(format!("cannot read stdin: {error}")),
            };
            let is_last = command.is_err();
            if commands.blocking_send(command).is_err() || is_last {
                return;
            }
        }
    });
}
