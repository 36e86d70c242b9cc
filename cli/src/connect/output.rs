//! What is shown: payload on stdout, all the rest on stderr; in a conversation both above the line that is being edited.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write as _, stderr, stdout};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rustyline::ExternalPrinter;
use sockeye::{CloseCode, Message};
use tokio::sync::mpsc;

use super::editor_end::EditorEnd;
use super::stop::Stop;
use crate::escape::printable;
use crate::style::{self, Style};
use crate::{notes, out};

/// What waits to be shown, beyond which those wait who receive it.
const QUEUE_SIZE: usize = 64;
/// Octets of a binary message that a terminal shows.
const HEX_SIZE: usize = 256;

enum Item {
    Message(Option<Arc<str>>, Message),
    /// Something to know.
    Note(String),
    /// Something that went wrong.
    Error(String),
    /// There is no more.
    End,
}

/// The way to what is shown. Clones are the same.
#[derive(Clone)]
pub(super) struct Console(mpsc::Sender<Item>);

impl Console {
    pub(super) async fn message(&self, label: Option<Arc<str>>, message: Message) {
        self.0.send(Item::Message(label, message)).await.ok();
    }

    pub(super) async fn note(&self, text: impl Into<String>) {
        self.0.send(Item::Note(text.into())).await.ok();
    }

    /// From where nothing can wait; too many at once are lost.
    pub(super) fn note_now(&self, text: impl Into<String>) {
        self.0.try_send(Item::Note(text.into())).ok();
    }

    pub(super) async fn error(&self, text: impl Into<String>) {
        self.0.send(Item::Error(text.into())).await.ok();
    }

    /// From a thread of its own.
    pub(super) fn tell_blocking(&self, text: String) {
        self.0.blocking_send(Item::Note(text)).ok();
    }
}

/// What shows things, on a thread of its own, as nothing else can wait for a slow pipe.
pub(super) struct Screen(JoinHandle<io::Result<()>>);

impl Screen {
    /// Prints above the line that is being edited.
    pub(super) fn above(printer: impl ExternalPrinter + Send + 'static, editor: EditorEnd) -> (Self, Console) {
        let (console, mut items) = mpsc::channel(QUEUE_SIZE);
        let terminal = Terminal { printer, editor, colors: style::colors(true) };
        let thread = thread::spawn(move || {
            terminal.show(&mut items);
            Ok(())
        });
        (Self(thread), Console(console))
    }

    /// Prints to stdout and stderr. Where nobody reads stdout any more, it is time to stop.
    pub(super) fn plain(binary: bool, stop: Stop) -> (Self, Console) {
        let (console, mut items) = mpsc::channel(QUEUE_SIZE);
        let is_terminal = stdout().is_terminal();
        let colors = style::colors(stderr().is_terminal());
        let mut pipe = Pipe { stdout: BufWriter::new(stdout()), is_terminal, colors, binary };
        let thread = thread::spawn(move || {
            let shown = pipe.show(&mut items);
            if shown.is_err() {
                stop.stop(CloseCode::NORMAL);
                // What comes until then goes nowhere.
                while !matches!(items.blocking_recv(), None | Some(Item::End)) {}
            }
            out::unless_closed(shown)
        });
        (Self(thread), Console(console))
    }

    /// Waits until all is shown.
    ///
    /// # Errors
    ///
    /// Something could not be written, as to a disk that is full.
    pub(super) async fn finish(self, console: &Console) -> io::Result<()> {
        console.0.send(Item::End).await.ok();
        self.0.join().unwrap_or_else(|panic| resume_unwind(panic))
    }
}

/// The screen of a conversation.
struct Terminal<P> {
    printer: P,
    editor: EditorEnd,
    colors: bool,
}

impl<P: ExternalPrinter> Terminal<P> {
    fn show(mut self, items: &mut mpsc::Receiver<Item>) {
        while let Some(item) = items.blocking_recv() {
            let text = match item {
                Item::Message(label, message) => {
                    let arrow = Style::Good.paint("<", self.colors);
                    on_terminal(&format!("{arrow} {}", prefix(label.as_deref())), &message)
                }
                Item::Note(text) => self.lines(&text, Style::Dim),
                Item::Error(text) => self.lines(&text, Style::Bad),
                Item::End => break,
            };
            self.printer.print(text).ok();
        }
        self.flush();
        if self.editor.end() {
            // The line that was being edited is above the cursor.
            write!(stdout(), "\x1b[A\r\x1b[J").and_then(|()| stdout().flush()).ok();
        }
    }

    fn lines(&self, text: &str, style: Style) -> String {
        text.lines().map(|line| style.paint(&printable(line), self.colors) + "\n").collect()
    }

    /// The printer hands over one text at a time, so that the first of two that change nothing is taken after all others
    /// were printed.
    fn flush(&mut self) {
        for _ in 0..2 {
            self.printer.print("\x1b[A\n".to_owned()).ok();
        }
    }
}

/// Stdout and stderr, as they are.
struct Pipe {
    stdout: BufWriter<Stdout>,
    is_terminal: bool,
    /// Of stderr.
    colors: bool,
    binary: bool,
}

impl Pipe {
    fn show(&mut self, items: &mut mpsc::Receiver<Item>) -> io::Result<()> {
        while let Some(item) = items.blocking_recv() {
            match item {
                Item::Message(label, message) => self.write(label.as_deref(), &message)?,
                Item::Note(text) => self.tell("INFO", "", &text)?,
                Item::Error(text) => self.tell("ERROR", "error: ", &text)?,
                Item::End => {
                    // Where what is left cannot be written, nobody is to wait for another end.
                    items.close();
                    break;
                }
            }
            if items.is_empty() {
                self.stdout.flush()?;
            }
        }
        self.stdout.flush()
    }

    fn write(&mut self, label: Option<&str>, message: &Message) -> io::Result<()> {
        if self.is_terminal {
            return self.stdout.write_all(on_terminal(&prefix(label), message).as_bytes());
        }
        if self.binary {
            return self.stdout.write_all(message.as_bytes());
        }
        self.stdout.write_all(prefix(label).as_bytes())?;
        self.stdout.write_all(message.as_bytes())?;
        self.stdout.write_all(b"\n")
    }

    /// A stderr that nobody reads any more is no reason to stop.
    fn tell(&mut self, level: &str, before: &str, text: &str) -> io::Result<()> {
        if let Some(line) = notes::in_json(level, text).filter(|_| !text.is_empty()) {
            return out::unless_closed(writeln!(stderr(), "{line}"));
        }
        let style = if before.is_empty() { Style::Dim } else { Style::Bad };
        for line in text.lines() {
            let line = style.paint(&format!("{before}{}", printable(line)), self.colors);
            out::unless_closed(writeln!(stderr(), "{line}"))?;
        }
        Ok(())
    }
}

/// What stands before a message where there are several sockets.
fn prefix(label: Option<&str>) -> String {
    label.map_or_else(String::new, |label| format!("[{label}] "))
}

/// A message as a terminal may show it: each line of a text after `prefix` or as much space, so that none can pass for
/// another message.
fn on_terminal(prefix: &str, message: &Message) -> String {
    let mut shown = String::new();
    match message {
        Message::Text(text) => {
            for (index, line) in text.split('\n').enumerate() {
                let before = if index == 0 { prefix } else { "  " };
                shown.extend([before, &printable(line.strip_suffix('\r').unwrap_or(line)), "\n"]);
            }
        }
        Message::Binary(octets) => {
            let hex: Vec<_> = octets.iter().take(HEX_SIZE).map(|octet| format!("{octet:02x}")).collect();
            let rest = if octets.len() > HEX_SIZE { " ..." } else { "" };
            shown = format!("{prefix}binary, {} octets: {}{rest}\n", octets.len(), hex.join(" "));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::on_terminal;

    #[test]
    fn a_message_cannot_pass_for_another_or_command_the_terminal() {
        let shown = |text: &str| on_terminal("< ", &text.into());
        assert_eq!(shown("hello"), "< hello\n");
        assert_eq!(shown(""), "< \n");
        assert_eq!(shown("{\n  \"a\": 1\r\n}"), "< {\n    \"a\": 1\n  }\n");
        assert_eq!(shown("a\n< b"), "< a\n  < b\n");
        assert_eq!(shown("\x1b[2J\r> "), "< \\x1b[2J\\r> \n");
    }

    #[test]
    fn binary_is_shown_in_hexadecimal() {
        assert_eq!(on_terminal("", &b"\x00\xffA".into()), "binary, 3 octets: 00 ff 41\n");
        assert!(on_terminal("", &vec![0; 1000].into()).ends_with(" 00 ...\n"));
    }
}
