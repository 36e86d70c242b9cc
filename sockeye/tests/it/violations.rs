//! WebSockets that break RFC 6455 count against a limit of their connection, whichever task finds that out.

use std::time::Duration;

use sockeye::{Counter, Limits, Rate, Result, Server, WebSocket, websocket};
use sockeye_proto::h2::Reason;

use crate::common::{Client, Running, Socket, echo, handshake, start, within};
use crate::counters::counted;

/// Bad UTF-8, in a masked text frame (RFC 6455 §8.1).
const BAD: &[u8] = b"\x81\x81\0\0\0\0\xFF";

/// Where a socket's handler runs.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// In its connection's task.
    Connection,
    /// In a task of its own.
    Task,
}

async fn server(place: Place, config: Limits) -> Running {
    let handler = async move |socket: WebSocket| -> Result {
        match place {
            Place::Connection => echo(socket).await,
            Place::Task => tokio::spawn(echo(socket)).await.unwrap(),
        }
    };
    start(Server::new().limits(config), websocket(handler)).await
}

/// Opens a socket and breaks it. Whether the connection was still there.
async fn break_one(client: &Client) -> bool {
    let request = handshake("/").request(sockeye_proto::ws::handshake::Carrier::Http2).unwrap();
    let Ok(id) = client.open(&request, false) else { return false };
    let answered = client.until(|state| {
        let heard = state.heard(id);
        let is_answered = heard.response.is_some() || heard.reset.is_some();
        (is_answered || state.closed.is_some()).then_some(())
    });
    within(answered).await;
    if !within(client.send(id, BAD, true)).await {
        return false;
    }
    let ended = client.until(|state| {
        // Credit for the Close.
        state.machine.stream(id).map(|mut stream| stream.read());
        let heard = state.heard(id);
        (heard.finished || heard.reset.is_some() || state.closed.is_some()).then_some(())
    });
    within(ended).await;
    client.act(|machine| machine.stream(id).map(|stream| stream.release()));
    client.state().closed.is_none()
}

/// Past the limit the connection ends with ENHANCE_YOUR_CALM, and others go on.
#[tokio::test]
async fn sockets_that_are_broken_on_purpose_end_their_connection() {
    for place in [Place::Connection, Place::Task] {
        let rate = Rate { burst: 10, per_second: 0 };
        let server = server(place, Limits::new().failed_tunnels(rate)).await;
        let mut bystander = Socket::on(&Client::connect(server.addr).await, &handshake("/")).await.unwrap();
        let client = Client::connect(server.addr).await;
        let mut broken = 0;
        while break_one(&client).await {
            broken += 1;
            assert!(broken <= 10, "{place:?}");
        }
        let reason = within(client.until(|state| state.goaways.last().map(|(_, reason)| *reason))).await;
        assert_eq!(reason, Reason::ENHANCE_YOUR_CALM, "{place:?}");
        counted(&server.handle, Counter::ViolationFloods, 1).await;
        counted(&server.handle, Counter::WebSocketViolations, 11).await;
        bystander.check_echo("unharmed").await;
    }
}

/// A flood of them in a single write is cut off at the limit, whatever else had come.
#[tokio::test]
async fn a_flood_of_broken_sockets_is_cut_off_at_the_limit() {
    let config = Limits::new().max_concurrent_streams(1000);
    let server = server(Place::Connection, config).await;
    let wide = sockeye_proto::h2::Config::default().with(|config| config.max_concurrent_streams = 1000);
    let client = Client::over(tokio::net::TcpStream::connect(server.addr).await.unwrap(), wide).await;
    let request = handshake("/").request(sockeye_proto::ws::handshake::Carrier::Http2).unwrap();
    client.act(|machine| {
        for _ in 0..600 {
            let id = machine.open(&request, false).unwrap();
            assert_eq!(machine.stream(id).unwrap().write(BAD, true), BAD.len());
        }
    });
    let reason = within(client.until(|state| state.goaways.last().map(|(_, reason)| *reason))).await;
    assert_eq!(reason, Reason::ENHANCE_YOUR_CALM);
    counted(&server.handle, Counter::ViolationFloods, 1).await;
    let violations = server.handle.counter(Counter::WebSocketViolations);
    assert!((201..=201 + 64).contains(&violations), "{violations} of 600 were looked at");
}

/// A page whose hundred sockets all fail at once, for a fault of its own, and that opens them anew a second later: it is told so
/// on each of them, and its connection goes on.
#[tokio::test]
async fn a_page_whose_sockets_all_fail_keeps_its_connection() {
    for place in [Place::Connection, Place::Task] {
        let server = server(place, Limits::new()).await;
        let client = Client::connect(server.addr).await;
        for round in 0..3 {
            let mut sockets = Vec::new();
            for _ in 0..100 {
                sockets.push(Socket::on(&client, &handshake("/")).await.unwrap());
            }
            for socket in &mut sockets {
                socket.send_octets(BAD).await;
            }
            for socket in &mut sockets {
                assert_eq!(socket.close_code().await, 1007, "{place:?}, round {round}");
                socket.end().await;
                client.act(|machine| machine.stream(socket.id()).map(|stream| stream.release()));
            }
            assert!(client.state().goaways.is_empty(), "{place:?}, round {round}");
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        Socket::on(&client, &handshake("/")).await.unwrap().check_echo("goes on").await;
        assert_eq!(server.handle.counter(Counter::ViolationFloods), 0);
    }
}

/// A client, too, gives up a server that breaks socket after socket.
#[tokio::test]
async fn a_server_that_breaks_its_sockets_is_given_up() {
    let (builder, mut wires) = crate::client::peer::http2();
    let rate = Rate { burst: 3, per_second: 0 };
    let builder = builder.limits(Limits::new().failed_tunnels(rate));
    let (client, mut peer) = crate::client::peer::connect(&builder, &mut wires).await;
    for round in 0..4 {
        let (socket, id) = tokio::join!(client.open("/").into_future(), peer.open());
        let mut socket = socket.unwrap();
        // Masked, as no server's frame may be (RFC 6455 §5.1).
        peer.send(crate::client::peer::kind::DATA, 0, id, b"\x81\x81\0\0\0\0x").await;
        assert!(within(socket.recv()).await.is_err(), "round {round}");
    }
    let goaway = peer.next(crate::client::peer::kind::GOAWAY).await;
    assert_eq!(goaway.code(), Reason::ENHANCE_YOUR_CALM.code());
    assert_eq!(client.handle().counter(Counter::ViolationFloods), 1);
}
