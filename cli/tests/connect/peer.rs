//! A server of HTTP/1.1 by tungstenite that greets, echoes, and does what some messages say.

use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tungstenite::handshake::server::{Request, Response};
use tungstenite::http::HeaderMap;
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::{Message, accept_hdr};

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Peer {
    pub(crate) url: String,
    handshakes: Receiver<HeaderMap>,
    heard: Receiver<Message>,
}

impl Peer {
    /// Listens as long as the test runs; each socket gets the greeting first.
    pub(crate) fn listen(greeting: Vec<Message>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("ws://{}/", listener.local_addr().unwrap());
        let (shake, handshakes) = channel();
        let (hear, heard) = channel();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (greeting, shake, hear) = (greeting.clone(), shake.clone(), hear.clone());
                // Clients end their connections, and not all are WebSockets.
                thread::spawn(move || serve(stream.unwrap(), greeting, &shake, &hear).ok());
            }
        });
        Self { url, handshakes, heard }
    }

    /// The fields of the next handshake.
    pub(crate) fn handshake(&self) -> HeaderMap {
        self.handshakes.recv_timeout(PATIENCE).unwrap()
    }

    /// The payload of the next Pong.
    pub(crate) fn hears_pong(&self) -> Vec<u8> {
        loop {
            if let Message::Pong(payload) = self.heard.recv_timeout(PATIENCE).unwrap() {
                return payload.to_vec();
            }
        }
    }

    /// The code and the reason of the next Close.
    pub(crate) fn hears_close(&self) -> (u16, String) {
        loop {
            if let Message::Close(frame) = self.heard.recv_timeout(PATIENCE).unwrap() {
                let frame = frame.expect("a Close with a code");
                return (frame.code.into(), frame.reason.as_str().to_owned());
            }
        }
    }
}

/// A Close to greet with.
pub(crate) fn close(code: u16, reason: &str) -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::from(code), reason: reason.to_owned().into() }))
}

#[expect(clippy::result_large_err, reason = "tungstenite's error for who refuses a handshake")]
fn serve(
    stream: TcpStream,
    greeting: Vec<Message>,
    shake: &Sender<HeaderMap>,
    hear: &Sender<Message>,
) -> Result<(), Box<dyn std::error::Error>> {
    let accept = |request: &Request, mut response: Response| {
        let fields = request.headers();
        let first = fields.get("sec-websocket-protocol").and_then(|list| list.to_str().unwrap().split(',').next());
        if let Some(protocol) = first {
            response.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        shake.send(fields.clone()).ok();
        Ok(response)
    };
    let mut socket = accept_hdr(stream, accept).map_err(|error| error.to_string())?;
    for message in greeting {
        socket.send(message)?;
    }
    // Pings and Closes are answered within.
    loop {
        let message = socket.read()?;
        hear.send(message.clone())?;
        match &message {
            Message::Text(text) if text.as_str() == "close" => socket.send(close(1011, "oh no"))?,
            Message::Text(text) if text.as_str() == "cut" => return cut(socket.get_ref()),
            Message::Text(_) | Message::Binary(_) => socket.send(message)?,
            _ => {}
        }
    }
}

/// Has the connection end by a TCP reset once it is dropped.
#[cfg(unix)]
fn cut(stream: &TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    use nix::libc::linger;
    use nix::sys::socket::{setsockopt, sockopt};
    Ok(setsockopt(stream, sockopt::Linger, &linger { l_onoff: 1, l_linger: 0 })?)
}

#[cfg(not(unix))]
fn cut(_: &TcpStream) -> Result<(), Box<dyn std::error::Error>> {
    Ok(())
}
