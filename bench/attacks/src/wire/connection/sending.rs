//! What is sent within the server's windows (RFC 9113 §6.9), and floods.

use std::time::{Duration, Instant};

use super::{Connection, PATIENCE, Reading};
use crate::wire::frames::{DEFAULT_WINDOW, INITIAL_WINDOW_SIZE, data, window_update};

impl Connection {
    /// Octets of DATA that the server's windows have room for on a stream (RFC 9113 §6.9.1).
    pub(super) fn window(&mut self, stream_id: u32) -> &mut i64 {
        let initial = self.settings.get(&INITIAL_WINDOW_SIZE).copied().unwrap_or(DEFAULT_WINDOW);
        self.windows.entry(stream_id).or_insert(i64::from(initial))
    }

    /// Takes room from a stream's window and the connection's; false where there is none.
    pub fn spend(&mut self, stream_id: u32, octets: usize) -> bool {
        let length = octets as i64;
        if (*self.window(stream_id)).min(*self.window(0)) < length {
            return false;
        }
        *self.window(stream_id) -= length;
        *self.window(0) -= length;
        true
    }

    /// Sends octets on a stream as the server's windows allow. False where it gives no credit for some seconds.
    pub fn send_data(&mut self, stream_id: u32, octets: &[u8]) -> bool {
        let deadline = Instant::now() + PATIENCE;
        let mut rest = octets;
        while !rest.is_empty() && !self.is_over() {
            let room = (*self.window(stream_id)).min(*self.window(0)).clamp(0, 16_384) as usize;
            let (part, after) = rest.split_at(room.min(rest.len()));
            if part.is_empty() {
                if Instant::now() > deadline {
                    return false;
                }
                let _ = self.poll(Duration::from_millis(5));
                continue;
            }
            *self.window(stream_id) -= part.len() as i64;
            *self.window(0) -= part.len() as i64;
            self.send(&data(stream_id, part));
            rest = after;
        }
        rest.is_empty()
    }

    /// The same where it can go at once; false where it cannot.
    pub fn send_if_there_is_room(&mut self, stream_id: u32, octets: &[u8]) -> bool {
        self.take_what_came();
        if !self.spend(stream_id, octets.len()) {
            return false;
        }
        octets.chunks(16_384).for_each(|part| self.send(&data(stream_id, part)));
        true
    }

    /// The same octets on one stream after the other, as fast as the server's windows let them. Returns how often.
    pub fn flood_sockets(&mut self, time: Duration, streams: &[u32], octets: &[u8]) -> u64 {
        let deadline = Instant::now() + time;
        let (mut batch, mut sent) = (Vec::new(), 0);
        while Instant::now() < deadline && !self.is_over() && self.seen.goaway.is_none() {
            batch.clear();
            for stream_id in streams {
                if !self.spend(*stream_id, octets.len()) {
                    continue;
                }
                for part in octets.chunks(16_384) {
                    batch.extend(data(*stream_id, part));
                }
                sent += 1;
                if batch.len() > 1 << 16 {
                    break;
                }
            }
            if batch.is_empty() {
                let _ = self.poll(Duration::from_millis(1));
            }
            self.send(&batch);
            self.take_what_came();
        }
        sent
    }

    /// Credit for all that this stream and the connection may send.
    pub fn widen(&mut self, stream_id: u32, by: u32) {
        self.send(&window_update(stream_id, by));
    }

    /// Writes what `next` appends, batch after batch, until the time is over or the server ends it. Returns the batches.
    pub fn flood(&mut self, time: Duration, reading: Reading, mut next: impl FnMut(&mut Vec<u8>)) -> u64 {
        let deadline = Instant::now() + time;
        let (mut batch, mut start, mut batches) = (Vec::new(), 0, 0);
        while Instant::now() < deadline && !self.is_over() && self.seen.goaway.is_none() {
            if start == batch.len() {
                batch.clear();
                start = 0;
                batches += 1;
                next(&mut batch);
            }
            start += self.send_some(&batch[start..]);
            if reading == Reading::Reads {
                self.take_what_came();
            }
        }
        batches
    }
}
