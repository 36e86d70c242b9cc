//! What TLS 1.3 costs the server of an echo with rustls alone: no sockets, no system calls, no HTTP/2. With this at hand one
//! can tell what a server pays for TLS from what it pays for its use of it.
//!
//! ```text
//! sealing [--size 32] [--batch 1000] [--seconds 1]
//! ```
//!
//! A batch is so many messages of so many octets, each in a WebSocket frame in DATA frames of its own: masked from the client, and
//! not from the server. It is given to the connection in one go, as far as that takes it (64 KiB), and the records are taken into
//! memory; the other end opens them. What is printed, as JSON, are the server's times, the median of all batches: to open
//! what the client sealed, and to seal what the client opens.

mod link;

use std::time::{Duration, Instant};

use common::Result;

use crate::link::Link;

/// Octets of a DATA frame that every peer takes.
const MAX_FRAME_SIZE: usize = 16_384;
/// Octets of the head of a frame of HTTP/2, and of a mask.
const HEAD: usize = 9;
const MASK: usize = 4;
/// Batches before the measurement: rustls finds out how large its buffers have to be.
const WARM_UP: usize = 3;

struct Arguments {
    size: usize,
    batch: usize,
    seconds: f64,
}

fn main() -> Result {
    let Arguments { size, batch, seconds } = Arguments::parse()?;
    let questions = vec![0x5A; batch * on_the_wire(size, MASK)];
    let answers = vec![0x5A; batch * on_the_wire(size, 0)];
    let mut link = Link::new()?;
    let (mut open, mut seal) = (Vec::new(), Vec::new());
    let mut records = 0;
    let start = Instant::now();
    while open.len() <= WARM_UP || start.elapsed().as_secs_f64() < seconds {
        open.push(link.receive(&questions)?);
        let (time, count) = link.send(&answers)?;
        seal.push(time);
        records = count;
    }
    let (open, seal) = (median(&mut open[WARM_UP..]), median(&mut seal[WARM_UP..]));
    let each = |time: Duration, count: usize| time.as_secs_f64() * 1e6 / count as f64;
    let figures = [
        ("seal_us_per_message", each(seal, batch)),
        ("open_us_per_message", each(open, batch)),
        ("seal_us_per_record", each(seal, records)),
        ("seal_ns_per_octet", each(seal, answers.len()) * 1e3),
        ("open_ns_per_octet", each(open, questions.len()) * 1e3),
        ("records_per_message", records as f64 / batch as f64),
    ];
    let figures: Vec<String> = figures.iter().map(|(name, figure)| format!(r#""{name}": {figure:.4}"#)).collect();
    println!(r#"{{"size": {size}, "batch": {batch}, "suite": "{}", {}}}"#, link.suite(), figures.join(", "));
    Ok(())
}

impl Arguments {
    fn parse() -> Result<Self> {
        let mut parsed = Self { size: 32, batch: 1000, seconds: 1.0 };
        let mut arguments = std::env::args().skip(1);
        while let Some(name) = arguments.next() {
            let value = arguments.next().ok_or_else(|| format!("{name} takes a value"))?;
            match &name[..] {
                "--size" => parsed.size = value.parse()?,
                "--batch" => parsed.batch = value.parse()?,
                "--seconds" => parsed.seconds = value.parse()?,
                _ => return Err(format!("{name} is none of --size, --batch and --seconds").into()),
            }
        }
        if parsed.batch == 0 { Err("a batch has messages".into()) } else { Ok(parsed) }
    }
}

/// Octets of a message: in a WebSocket frame (RFC 6455 §5.2) in DATA frames.
fn on_the_wire(size: usize, mask: usize) -> usize {
    let length = match size {
        ..126 => 2,
        126..0x1_0000 => 4,
        _ => 10,
    };
    let frame = length + mask + size;
    frame + frame.div_ceil(MAX_FRAME_SIZE) * HEAD
}

fn median(times: &mut [Duration]) -> Duration {
    let middle = times.len() / 2;
    *times.select_nth_unstable(middle).1
}
