//! The thread that writes, and what becomes of lines that it cannot write.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Receiver;

use super::Waiting;

/// Octets of lines that are written at once.
const BATCH: usize = 64 << 10;

/// Where lines are written.
pub(super) struct Lines<W> {
    writer: W,
    /// Whether the last that was written is a part of a line.
    is_torn: bool,
    /// Whether the last write failed.
    has_failed: bool,
    lost: Arc<AtomicU64>,
}

impl<W: Write> Lines<W> {
    pub(super) fn new(writer: W, lost: Arc<AtomicU64>) -> Self {
        Self { writer, is_torn: false, has_failed: false, lost }
    }

    /// Writes until the log is gone. What is there already goes out together.
    pub(super) fn write_all_of(&mut self, waiting: &Receiver<Waiting>) {
        let mut lines = String::new();
        while let Ok(first) = waiting.recv() {
            let (mut next, mut flushed) = (Some(first), Vec::new());
            while let Some(what) = next {
                match what {
                    Waiting::Line(line) => lines.push_str(&line),
                    Waiting::Flush(done) => flushed.push(done),
                }
                next = if lines.len() < BATCH { waiting.try_recv().ok() } else { None };
            }
            if !lines.is_empty() {
                self.write(lines.as_bytes());
                lines.clear();
            }
            for done in flushed {
                done.try_send(()).ok();
            }
        }
    }

    /// What cannot be written is lost: a disk that is full now may have room again later.
    fn write(&mut self, lines: &[u8]) {
        // A line that was torn ends there, so that the next is whole.
        let mut result = if self.is_torn { write_some(&mut self.writer, b"\n").1 } else { Ok(()) };
        let mut written = 0;
        if result.is_ok() {
            (written, result) = write_some(&mut self.writer, lines);
            self.is_torn = lines[..written].last().is_some_and(|last| *last != b'\n');
        }
        let lost = lines[written..].iter().filter(|octet| **octet == b'\n').count();
        self.lost.fetch_add(lost as u64, Ordering::Relaxed);
        match &result {
            Err(error) if !self.has_failed => {
                tracing::warn!(%error, "the access log cannot be written: its lines are lost until it can");
            }
            Ok(()) if self.has_failed => tracing::warn!("the access log can be written again"),
            _ => {}
        }
        self.has_failed = result.is_err();
    }
}

/// Writes as much as goes: how many octets, and why no more.
fn write_some(writer: &mut impl Write, octets: &[u8]) -> (usize, io::Result<()>) {
    let mut written = 0;
    while written < octets.len() {
        match writer.write(&octets[written..]) {
            Ok(0) => return (written, Err(io::ErrorKind::WriteZero.into())),
            Ok(more) => written += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (written, Err(error)),
        }
    }
    (written, writer.flush())
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A disk that is full for a while.
    #[test]
    fn what_cannot_be_written_is_counted_and_what_comes_later_is_written() {
        struct Disk(Arc<Mutex<Vec<u8>>>, Arc<Mutex<usize>>);
        impl Write for Disk {
            fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
                let mut room = self.1.lock().unwrap();
                if *room == 0 {
                    return Err(io::ErrorKind::StorageFull.into());
                }
                let fits = octets.len().min(*room);
                *room -= fits;
                self.0.lock().unwrap().write(&octets[..fits])
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let (shared, room) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(3)));
        let lost = Arc::new(AtomicU64::new(0));
        let mut lines = Lines::new(Disk(shared.clone(), room.clone()), lost.clone());
        lines.write(b"first\nsecond\n");
        lines.write(b"third\n");
        assert_eq!(lost.load(Ordering::Relaxed), 3);
        *room.lock().unwrap() = 100;
        lines.write(b"fourth\n");
        assert_eq!(lost.load(Ordering::Relaxed), 3);
        assert_eq!(*shared.lock().unwrap(), b"fir\nfourth\n", "a line that is torn ends before the next");
    }
}
