//! A client's socket and the octets at its far end, the same for both versions of HTTP.

use http::Version;
use sockeye::{Client, ClientBuilder, WebSocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

use super::peer::{self, END_STREAM, Peer, URL, http1_acceptance, http1_request, kind};
use crate::common::within;

pub(crate) const VERSIONS: [Version; 2] = [Version::HTTP_11, Version::HTTP_2];

/// The server's end of one socket.
pub(crate) enum Far {
    Http1(DuplexStream),
    Http2(Peer, u32),
}

/// Opens a socket with the settings of a builder; whatever else that builder opens is not accepted.
pub(crate) async fn open_with(
    version: Version,
    set: impl Fn(ClientBuilder) -> ClientBuilder,
) -> (Client, WebSocket, Far) {
    let (builder, mut wires) = peer::wires();
    let builder = set(builder);
    let builder = if version == Version::HTTP_2 { builder.http2_only() } else { builder.http1_only() };
    let opening = async {
        let client = builder.connect(URL).await.unwrap();
        let socket = client.open("/").await.unwrap();
        (client, socket)
    };
    let serving = async {
        if version == Version::HTTP_2 {
            let mut peer = wires.peer().await;
            let id = peer.open().await;
            return Far::Http2(peer, id);
        }
        let mut transport = wires.next().await;
        let request = http1_request(&mut transport).await;
        transport.write_all(http1_acceptance(&request).as_bytes()).await.unwrap();
        Far::Http1(transport)
    };
    let ((client, socket), far) = within(async { tokio::join!(opening, serving) }).await;
    assert_eq!(socket.version(), version);
    (client, socket, far)
}

pub(crate) async fn open(version: Version) -> (Client, WebSocket, Far) {
    open_with(version, |builder| builder).await
}

/// A frame of WebSocket (RFC 6455 §5.2) as it came: whether it was masked, its opcode and its payload.
pub(crate) type Frame = (bool, u8, Vec<u8>);

impl Far {
    /// Octets of the tunnel.
    pub(crate) async fn send(&mut self, octets: &[u8]) {
        match self {
            Self::Http1(transport) => drop(within(transport.write_all(octets)).await),
            Self::Http2(peer, id) => {
                for octets in octets.chunks(16 << 10) {
                    peer.send(kind::DATA, 0, *id, octets).await;
                }
            }
        }
    }

    /// The payload of the next Ping that the client sends.
    pub(crate) async fn next_ping(&mut self) -> Vec<u8> {
        let (masked, opcode, payload) = self.frames(Some(9)).await.pop().unwrap();
        assert_eq!((masked, opcode), (true, 9));
        payload
    }

    pub(crate) async fn pong(&mut self, payload: &[u8]) {
        self.send(&[&[0x8A, u8::try_from(payload.len()).unwrap()], payload].concat()).await;
    }

    /// Ends the server's half.
    pub(crate) async fn end(&mut self) {
        match self {
            Self::Http1(transport) => transport.shutdown().await.unwrap(),
            Self::Http2(peer, id) => peer.send(kind::DATA, END_STREAM, *id, b"").await,
        }
    }

    /// The next octets of the tunnel, for which credit is given; `None` at the end of the client's half.
    pub(crate) async fn receive(&mut self) -> Option<Vec<u8>> {
        match self {
            Self::Http1(transport) => {
                let mut octets = vec![0; 16 << 10];
                let length = within(transport.read(&mut octets)).await.unwrap();
                octets.truncate(length);
                (length > 0).then_some(octets)
            }
            Self::Http2(peer, id) => {
                let frame = loop {
                    let frame = peer.receive().await?;
                    assert_ne!(frame.kind, kind::RST_STREAM, "the client broke off");
                    if frame.kind == kind::DATA {
                        break frame;
                    }
                };
                let credit = u32::try_from(frame.payload.len()).unwrap().to_be_bytes();
                if !frame.payload.is_empty() {
                    peer.send(kind::WINDOW_UPDATE, 0, 0, &credit).await;
                    peer.send(kind::WINDOW_UPDATE, 0, *id, &credit).await;
                }
                let ended = frame.flags & END_STREAM != 0;
                (!ended || !frame.payload.is_empty()).then_some(frame.payload)
            }
        }
    }

    /// The frames that follow up to one with this opcode, inclusive, or to the end.
    pub(crate) async fn frames(&mut self, last: Option<u8>) -> Vec<Frame> {
        let (mut octets, mut frames) = (Vec::new(), Vec::new());
        loop {
            while let Some((frame, length)) = parse(&octets) {
                octets.drain(..length);
                let opcode = frame.1;
                frames.push(frame);
                if Some(opcode) == last {
                    return frames;
                }
            }
            // Over HTTP/2 the end may come with the last octets: nothing follows a Close.
            if frames.last().is_some_and(|(_, opcode, _)| *opcode == 8) {
                return frames;
            }
            match self.receive().await {
                Some(more) => octets.extend(more),
                None => return frames,
            }
        }
    }

    /// The connection comes to its end, without RST_STREAM.
    pub(crate) async fn wait_for_end(&mut self) {
        match self {
            Self::Http1(transport) => {
                within(transport.read_to_end(&mut Vec::new())).await.unwrap();
            }
            Self::Http2(peer, _) => {
                let rest = peer.rest().await;
                assert!(rest.iter().all(|frame| frame.kind != kind::RST_STREAM), "{rest:?}");
            }
        }
    }
}

/// The frame at the front and how long it is, where it is whole.
fn parse(octets: &[u8]) -> Option<(Frame, usize)> {
    let &[first, second, ..] = octets else { return None };
    let (mut at, length) = match second & 0x7F {
        126 => (4, usize::from(u16::from_be_bytes(octets.get(2..4)?.try_into().unwrap()))),
        127 => (10, u64::from_be_bytes(octets.get(2..10)?.try_into().unwrap()).try_into().unwrap()),
        length => (2, usize::from(length)),
    };
    let masked = second & 0x80 != 0;
    let key = if masked { octets.get(at..at + 4)? } else { &[0; 4] };
    at += if masked { 4 } else { 0 };
    let payload = octets.get(at..at + length)?;
    let payload = payload.iter().zip(key.iter().cycle()).map(|(octet, key)| octet ^ key).collect();
    Some(((masked, first & 0xF, payload), at + length))
}
