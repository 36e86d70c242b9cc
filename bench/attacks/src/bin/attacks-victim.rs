//! A client of the library, as a user would write it, for servers that are hostile: `attacks-victim URL open|many|close|again`.
//! It prints what came of it, as JSON.

use std::time::{Duration, Instant};

use sockeye::{Client, Deflate, Result};
use tokio::time::timeout;

/// As long as anybody would wait; the library is expected to give up by itself before.
const LONGEST: Duration = Duration::from_secs(90);

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [url, scenario] = &arguments[..] else {
        eprintln!("usage: attacks-victim URL open|many|close|again");
        std::process::exit(2);
    };
    let (start, clock) = (status("VmRSS:"), Instant::now());
    let outcome = match timeout(LONGEST, run(url, scenario)).await {
        Ok(Ok(text)) => format!("ok: {text}"),
        Ok(Err(error)) => format!("error: {error}"),
        Err(_) => "it waits still".to_owned(),
    };
    let growth = status("VmHWM:").saturating_sub(start);
    let seconds = clock.elapsed().as_secs_f64();
    println!(
        "{}",
        serde_json::json!({ "outcome": outcome, "seconds": seconds, "growth": growth, "cpu": cpu() / seconds })
    );
    // What still runs is not waited for.
    std::process::exit(0);
}

async fn run(url: &str, scenario: &str) -> Result<String> {
    let builder = Client::builder();
    // A cleartext server is spoken to by prior knowledge, unless it is one of HTTP/1.1.
    let builder = if scenario.ends_with("http1") || url.starts_with("https") { builder } else { builder.http2_only() };
    let client = builder.connect(url).await?;
    match scenario.trim_end_matches("-http1") {
        "close" => {
            let mut socket = client.open("/echo").deflate(Deflate::default()).await?;
            socket.close().await?;
            Ok("closed".to_owned())
        }
        "many" => {
            let mut sockets = Vec::new();
            for _ in 0..20 {
                sockets.push(client.open("/echo").deflate(Deflate::default()).await?);
            }
            Ok(format!("{} sockets", sockets.len()))
        }
        "again" => {
            // What fails is tried again, as by a page that reconnects.
            let mut last = None;
            for _ in 0..20 {
                match client.open("/echo").deflate(Deflate::default()).await {
                    Ok(_) => return Ok("opened".to_owned()),
                    Err(error) => last = Some(error),
                }
            }
            match last {
                Some(error) => Err(error),
                None => Ok(String::new()),
            }
        }
        _ => {
            let mut socket = client.open("/echo").deflate(Deflate::default()).await?;
            socket.send("hello").await?;
            while let Some(message) = socket.recv().await? {
                drop(message);
            }
            Ok("closed by the server".to_owned())
        }
    }
}

/// Octets, of a line of /proc/self/status.
fn status(name: &str) -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    line.split_whitespace().next().and_then(|figure| figure.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// Seconds on a processor.
fn cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|figure| figure.parse::<f64>().ok()).unwrap_or(0.0) / 1e9
}
