//! What every server is asked.

use std::fmt::Debug;
use std::pin::Pin;
use std::process::Command;
use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use http::{StatusCode, Version};
use sockeye::{Client, CloseCode, Deflate, Error, Fault, Message, WebSocket};
use tokio::time::timeout;

use super::{Result, Subject};

type Check = for<'a> fn(&'a Subject) -> Pin<Box<dyn Future<Output = Result> + 'a>>;

/// What a check needs that not every server does.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Need {
    /// To send a message in fragments.
    Fragments,
    /// To send a Ping.
    Ping,
    /// `permessage-deflate`.
    Deflate,
    /// To bear that the client answers a Close after the server has ended its own half.
    LateData,
}

const MANY: usize = 100;
const ROUNDS: usize = 10;
const CYCLES: usize = 300;
const MIB: usize = 1 << 20;
/// Around where the length of a frame takes more octets (RFC 6455 §5.2), and a DATA frame is full (RFC 9113 §4.2).
const SIZES: [usize; 9] = [0, 1, 125, 126, 127, 16_384, 65_535, 65_536, MIB];
/// Time in which the end of a server has to be noticed, and closed sockets have to be gone.
const END_TIME: Duration = Duration::from_secs(20);

/// In order: the last is the end of the server.
pub(super) const CHECKS: [(&str, Option<Need>, Check); 13] = [
    ("the version of HTTP is told", None, |subject| Box::pin(version(subject))),
    ("texts and binaries of 0 octets to 1 MiB are echoed", None, |subject| Box::pin(sizes(subject))),
    ("compressed messages, too", Some(Need::Deflate), |subject| Box::pin(compressed(subject))),
    ("a message in fragments arrives whole", Some(Need::Fragments), |subject| Box::pin(fragments(subject))),
    ("a subprotocol is chosen only where one is offered", None, |subject| Box::pin(protocols(subject))),
    ("a refusal hands over status and content", None, |subject| Box::pin(refusal(subject))),
    ("Pings are taken", None, |subject| Box::pin(pings(subject))),
    ("Pings are answered", Some(Need::Ping), |subject| Box::pin(pongs(subject))),
    ("Close codes, from the client", None, |subject| Box::pin(closes(subject))),
    ("Close codes, from the server", Some(Need::LateData), |subject| Box::pin(closed(subject))),
    ("100 WebSockets share a connection where they can", None, |subject| Box::pin(many(subject))),
    ("300 WebSockets, one after another, leave nothing behind", None, |subject| Box::pin(cycles(subject))),
    ("a server that goes away ends every WebSocket", None, |subject| Box::pin(goes_away(subject))),
];

async fn version(subject: &Subject) -> Result {
    let client = subject.client().await?;
    let mut socket = client.open("/echo").await?;
    equal(socket.version(), subject.version, "version")?;
    let status = if subject.version == Version::HTTP_2 { StatusCode::OK } else { StatusCode::SWITCHING_PROTOCOLS };
    equal(socket.response().map(|response| response.status), Some(status), "status")?;
    echo(&mut socket, "hello").await?;
    Ok(socket.close().await?)
}

async fn sizes(subject: &Subject) -> Result {
    let mut socket = subject.client().await?.open("/echo").await?;
    echo_sizes(&mut socket).await?;
    Ok(socket.close().await?)
}

/// RFC 7692, with both sides' context kept and without.
async fn compressed(subject: &Subject) -> Result {
    let client = subject.client().await?;
    for takeover in [true, false] {
        let context = Deflate::default().client.takeover(takeover);
        let deflate = Deflate::new().contexts(context);
        let mut socket = client.open("/echo").deflate(deflate).await?;
        equal(socket.extensions().deflate.is_some(), true, "compression")?;
        echo_sizes(&mut socket).await?;
        socket.close().await?;
    }
    Ok(())
}

async fn echo_sizes(socket: &mut WebSocket) -> Result {
    for size in SIZES {
        echo(socket, "x".repeat(size)).await?;
        let octets: Vec<_> = (0..size).map(|index| (index % 251) as u8).collect();
        echo(socket, octets).await?;
    }
    Ok(())
}

async fn fragments(subject: &Subject) -> Result {
    let mut socket = subject.client().await?.open("/fragments").await?;
    echo(&mut socket, "a message in three parts").await?;
    echo(&mut socket, vec![7; 300_000]).await?;
    Ok(socket.close().await?)
}

async fn protocols(subject: &Subject) -> Result {
    let client = subject.client().await?;
    let mut socket = client.open("/echo").protocols(["chat", "echo"]).await?;
    equal(socket.protocol(), Some("echo"), "subprotocol")?;
    socket.close().await?;
    let mut socket = client.open("/echo").await?;
    equal(socket.protocol(), None, "subprotocol")?;
    Ok(socket.close().await?)
}

async fn refusal(subject: &Subject) -> Result {
    let client = subject.client().await?;
    for _ in 0..3 {
        match client.open("/refuse").await {
            Err(Error::Refused(response)) => {
                equal(response.status(), StatusCode::FORBIDDEN, "status")?;
                equal(response.body().as_ref(), b"not for you\n".as_slice(), "content")?;
            }
            other => return Err(format!("got {other:?}, wanted a refusal").into()),
        }
    }
    // What was refused leaves the connection as it was.
    let mut socket = client.open("/echo").await?;
    echo(&mut socket, "hello").await
}

async fn pings(subject: &Subject) -> Result {
    let mut socket = subject.client().await?.open("/echo").await?;
    for payload in [&b""[..], &[b'x'; 125]] {
        socket.send_ping(payload).await?;
        echo(&mut socket, "after a Ping").await?;
    }
    Ok(socket.close().await?)
}

async fn pongs(subject: &Subject) -> Result {
    let mut socket = subject.client().await?.open("/ping").await?;
    socket.send("send a Ping").await?;
    equal(socket.recv().await?, Some("a Pong came".into()), "answer")?;
    Ok(socket.close().await?)
}

async fn closes(subject: &Subject) -> Result {
    let client = subject.client().await?;
    for code in [1000, 1001, 3000, 4999] {
        let mut socket = client.open("/echo").await?;
        socket.close_with(CloseCode::from(code), "bye").await?;
        equal(socket.close_frame().map(|frame| u16::from(frame.code)), Some(code), "Close")?;
    }
    Ok(())
}

async fn closed(subject: &Subject) -> Result {
    let client = subject.client().await?;
    for code in [1000, 1011, 3000, 4999] {
        let mut socket = client.open("/close").await?;
        socket.send(code.to_string()).await?;
        equal(socket.recv().await?, None, "message")?;
        let frame = socket.close_frame().map(|frame| (u16::from(frame.code), &*frame.reason));
        equal(frame, Some((code, "as asked")), "Close")?;
    }
    Ok(())
}

async fn many(subject: &Subject) -> Result {
    let client = subject.client().await?;
    let mut sockets = try_join_all((0..MANY).map(|_| client.open("/echo").into_future())).await?;
    equal(client.handle().connections().len(), connections(subject, MANY), "connections")?;
    for round in 0..ROUNDS {
        let numbered = sockets.iter_mut().enumerate();
        try_join_all(numbered.map(|(number, socket)| echo(socket, format!("{number} in round {round}")))).await?;
    }
    try_join_all(sockets.iter_mut().map(WebSocket::close)).await?;
    drop(sockets);
    nothing_left(&client).await
}

async fn cycles(subject: &Subject) -> Result {
    let client = subject.client().await?;
    for number in 0..CYCLES {
        let mut socket = client.open("/echo").await?;
        echo(&mut socket, format!("cycle {number}")).await?;
        socket.close().await?;
    }
    nothing_left(&client).await
}

async fn goes_away(subject: &Subject) -> Result {
    let client = subject.client().await?;
    let mut sockets = try_join_all((0..3).map(|_| client.open("/echo").into_future())).await?;
    for socket in &mut sockets {
        echo(socket, "hello").await?;
    }
    let killed = Command::new("kill").args(["-KILL", &subject.pid.to_string()]).status()?;
    equal(killed.success(), true, "kill")?;
    for ended in join_all(sockets.iter_mut().map(|socket| timeout(END_TIME, socket.recv()))).await {
        match ended? {
            Err(Error::Disconnected | Error::Io(_) | Error::Abnormal) => {}
            other => return Err(format!("got {other:?}, wanted the end of the connection").into()),
        }
    }
    match timeout(END_TIME, client.open("/echo").into_future()).await? {
        Err(error) => {
            equal((error.fault(), error.is_retryable()), (Fault::Network, true), "whose fault, and whether to retry")
        }
        Ok(socket) => Err(format!("got {socket:?}, wanted no connection").into()),
    }
}

/// How many connections so many WebSockets take.
fn connections(subject: &Subject, sockets: usize) -> usize {
    if subject.version == Version::HTTP_2 { 1 } else { sockets }
}

/// Waits until no socket is left, and no connection but the one of HTTP/2.
async fn nothing_left(client: &Client) -> Result {
    let ended = async {
        loop {
            let connections = client.handle().connections();
            if connections.len() <= 1 && connections.iter().all(|connection| connection.sockets == 0) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(END_TIME, ended).await.map_err(|_| format!("left are {:?}", client.handle().connections()).into())
}

async fn echo(socket: &mut WebSocket, message: impl Into<Message>) -> Result {
    let message = message.into();
    socket.send(message.clone()).await?;
    equal(socket.recv().await?, Some(message), "echo")
}

fn equal<T: PartialEq + Debug>(actual: T, expected: T, what: &str) -> Result {
    if actual == expected {
        return Ok(());
    }
    Err(format!("{what}: got {:.80}, wanted {:.80}", format!("{actual:?}"), format!("{expected:?}")).into())
}
