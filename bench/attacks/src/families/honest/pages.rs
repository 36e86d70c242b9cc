//! Pages: they open many streams, close them at once, and come again.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::{id, is_well};
use crate::target::Target;
use crate::wire::frames::*;
use crate::wire::{Connection, Seen, fields, websocket};

/// A page that closes a hundred sockets at once, fifty times: as Chromium does, by RST_STREAM CANCEL, or by Closes.
pub fn page_that_closes(target: &Target, by_reset: bool) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    let mut next = 0;
    let rounds = 50;
    for _ in 0..rounds {
        let ids: Vec<u32> = (next..next + 100).map(id).collect();
        next += 100;
        let opens: Vec<u8> = ids.iter().flat_map(|id| headers(*id, 0, &fields::connect(&[]))).collect();
        connection.send(&opens);
        wait_for_answers(&mut connection, &ids)?;
        let closes: Vec<u8> = ids
            .iter()
            .flat_map(|id| if by_reset { rst_stream(*id, CANCEL) } else { last_data(*id, &websocket::close(1001)) })
            .collect();
        connection.send(&closes);
    }
    let mut seen = is_well(connection);
    seen.notes.push(format!("{} sockets", 100 * rounds));
    Ok(seen)
}

pub fn wait_for_answers(connection: &mut Connection, ids: &[u32]) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(5);
    while !ids.iter().all(|id| connection.statuses.contains_key(id)) {
        if connection.poll_until(deadline)?.is_none() {
            anyhow::bail!("not all were answered: {}", connection.seen.text());
        }
    }
    if ids.iter().any(|id| connection.statuses[id] != 200) {
        anyhow::bail!("some were refused: {}", connection.seen.text());
    }
    Ok(())
}

/// Firefox reloads a page of sixty sockets at a limit of a hundred: it says Close, never ends its half, and opens sixty more.
pub fn reloads(target: &Target) -> Result<Seen> {
    let mut connection = Connection::start(target, &[])?;
    let mut next = 0;
    for _ in 0..20 {
        let ids: Vec<u32> = (next..next + 60).map(id).collect();
        next += 60;
        let opens: Vec<u8> = ids.iter().flat_map(|id| headers(*id, 0, &fields::connect(&[]))).collect();
        connection.send(&opens);
        wait_for_answers(&mut connection, &ids)?;
        let closes: Vec<u8> = ids.iter().flat_map(|id| data(*id, &websocket::close(1001))).collect();
        connection.send(&closes);
    }
    let mut seen = is_well(connection);
    seen.notes.push("20 reloads of 60 sockets".to_owned());
    Ok(seen)
}

/// A page that opens and closes event streams all day: a response that is read in part and given up, or read whole.
pub fn event_streams(target: &Target) -> Result<Seen> {
    let all = (100_000 / target.scale).max(1000) as u32;
    let mut connection = Connection::start(target, &[(INITIAL_WINDOW_SIZE, 100)])?;
    for index in 0..all {
        connection.send(&headers(id(index), END_STREAM, &fields::get()));
        // Its first octets are there when the page is left.
        wait_for_answers(&mut connection, &[id(index)])?;
        connection.send(&[window_update(id(index), 1000), rst_stream(id(index), CANCEL)].concat());
        if connection.seen.goaway.is_some() {
            break;
        }
    }
    connection.seen.statuses.clear();
    let mut seen = is_well(connection);
    seen.notes.push(format!("{all} streams"));
    Ok(seen)
}
