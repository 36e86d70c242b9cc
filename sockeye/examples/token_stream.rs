//! Text that comes word by word, as a language model makes it, and that the reader can stop. Many prompts share one connection.
//!
//! ```sh
//! cargo run --example token_stream
//! ```

use std::time::Duration;

use sockeye::{Client, Error, Result, WebSocket, serve, websocket};
use tokio::net::TcpListener;
use tokio::time::sleep;

#[tokio::main]
async fn main() -> Result {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", listener.local_addr()?);
    tokio::spawn(serve(listener, websocket(answer)));

    let client = Client::builder().http2_only().connect(&url).await?;
    let (whole, part) = tokio::join!(ask(&client, "two words", usize::MAX), ask(&client, "for ever and ever", 5));
    println!("whole: {}", whole?);
    println!("stopped: {}", part?);
    // The server hears of the end before this program does.
    sleep(Duration::from_millis(200)).await;
    Ok(())
}

/// Asks, and reads up to so many words of the answer.
async fn ask(client: &Client, prompt: &str, words: usize) -> Result<String> {
    let mut socket = client.open("/generate").await?;
    socket.send(prompt).await?;
    let mut answer = Vec::new();
    while answer.len() < words
        && let Some(word) = socket.recv().await?
    {
        answer.push(word.as_text().unwrap_or_default().to_owned());
    }
    // Stops a server that goes on; what it had sent meanwhile is dropped.
    socket.close().await?;
    Ok(answer.join(" "))
}

/// The server's side of a prompt: it makes words until they are all sent, or until nobody wants them.
async fn answer(mut socket: WebSocket) -> Result {
    let Some(prompt) = socket.recv().await? else { return Ok(()) };
    let prompt = prompt.as_text().ok_or(Error::application("a prompt is text"))?.to_owned();
    let mut words = words(&prompt).enumerate();
    loop {
        tokio::select! {
            // Cancel safe: what is not ready loses nothing. A Close ends it, and so does a peer that is gone.
            message = socket.recv() => match message? {
                Some(_) => return Err(Error::application("one prompt for each socket")),
                None => {
                    println!("{prompt:?} was stopped");
                    return Ok(());
                }
            },
            // In place of the model.
            () = sleep(Duration::from_millis(10)) => match words.next() {
                // A reader that is slow slows this down: `send` waits for room.
                Some((_, word)) => socket.send(word).await?,
                None => {
                    println!("{prompt:?} was answered");
                    return Ok(());
                }
            },
        }
    }
}

/// The words of the prompt; where it says "for ever", without an end.
fn words(prompt: &str) -> impl Iterator<Item = String> + use<> {
    let words: Vec<_> = prompt.split(' ').map(str::to_owned).collect();
    let rounds = if prompt.contains("for ever") { usize::MAX } else { 1 };
    (0..rounds).flat_map(move |_| words.clone())
}
