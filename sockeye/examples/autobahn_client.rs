//! Runs all cases of a fuzzing server of Autobahn's test suite against this crate's client:
//! `autobahn_client ws://127.0.0.1:9001 [--http2]`. What the cases say is the server's to report.

use std::env;
use std::error::Error;

use sockeye::{Client, Deflate, DeflateContext, Result, SocketOptions};

#[tokio::main(flavor = "current_thread")]
async fn main() -> std::result::Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let url = arguments.first().ok_or("usage: autobahn_client ws://host:port [--http2]")?;
    let builder = match arguments.get(1).map(String::as_str) {
        Some("--http2") => Client::builder().http2_only(), // in cleartext: with prior knowledge
        _ => Client::builder(),
    };
    let client = builder.connect(url).await?;

    let mut socket = client.open("/getCaseCount").await?;
    let count = socket.recv().await?.ok_or("no count of cases")?;
    let count: u32 = count.as_text().ok_or("the count of cases is no text")?.parse()?;
    socket.close().await?;
    for case in 1..=count {
        // Most cases break a rule, and are over with the error that tells of it.
        if let Err(error) = echo(&client, &format!("/runCase?case={case}&agent=sockeye")).await {
            println!("case {case}: {error}");
        }
    }
    client.open("/updateReports?agent=sockeye").await?.close().await?;
    Ok(())
}

/// Leaves it to the server to limit it, which cases do.
fn all_of_deflate() -> Deflate {
    let context = DeflateContext::new().takeover(true).window_bits(15);
    Deflate::new().contexts(context).level(2).min_size(0)
}

async fn echo(client: &Client, path: &str) -> Result {
    // The suite's largest message, and its most fragments.
    let options = SocketOptions::new().max_message_size(16 << 20).max_fragments((1 << 16) + 1);
    let mut socket = client.open(path).options(options).deflate(all_of_deflate()).await?;
    while let Some(message) = socket.recv().await? {
        socket.send(message).await?;
    }
    Ok(())
}
