//! WebSockets: a handshake towards an upstream, and then octets both ways.

mod boundary;
mod end;
mod handshake;
mod http1;
mod http2;
mod key;
mod relay;

use std::sync::Once;

use http::header::UPGRADE;
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use sockeye::socket::Offer;
use sockeye::{OriginPolicy, Peer, Protocol, Tunnel, Upgrade};

use self::handshake::Handshake;
use self::relay::Upstream;
use crate::answer::Failure;
use crate::http::{Content, Progress, Source, fields};
use crate::observe::{End, Exchange};
use crate::policy::Policy;
use crate::reach::{self, Stream, Target};
use crate::upstreams::Lease;

/// What an upstream made of a handshake.
enum Answer {
    /// A 101 with the right key: the connection is the socket's, and these octets came already.
    Upgraded(HeaderMap, Stream, bytes::Bytes),
    /// A 2xx to an extended CONNECT.
    Opened(HeaderMap, Tunnel),
    /// Anything else, which the client is to see as it is.
    Refused(Response<Source>),
}

/// Whether a request is a handshake, be it a wrong one.
pub(crate) fn is_asked_for<B>(request: &Request<B>) -> bool {
    let asks_to_upgrade =
        || fields::tokens(request.headers(), &UPGRADE).any(|token| token.eq_ignore_ascii_case("websocket"));
    request.extensions().get::<Protocol>().is_some()
        || request.method() == Method::GET && request.version() == Version::HTTP_11 && asks_to_upgrade()
}

/// Answers a client's handshake with what an upstream makes of it.
pub(crate) async fn open(
    upgrade: Upgrade,
    peer: Option<Peer>,
    policy: &Policy,
    mut lease: Lease,
    mut exchange: Exchange,
) -> Response<Content> {
    if let Err(refusal) = policy.origins.check(upgrade.offer()) {
        let text = format!("{refusal} --origin says which pages may");
        return Failure::new(refusal.status(), text).answer(exchange);
    }
    let handshake = Handshake::of(&upgrade, peer.as_ref(), policy, exchange.live().name());
    drop(peer);
    loop {
        exchange.upstream(lease.reach().shared_target());
        let failed = match ask(&handshake, lease.reach()).await {
            Ok(mut answer) => {
                lease.succeeded();
                if let Answer::Refused(response) = &mut answer {
                    let target = lease.reach().target();
                    handshake.lead_back(response.headers_mut(), target);
                    if is_of_own_page(response.status(), upgrade.offer())
                        && handshake.host(target) != upgrade.offer().authority()
                    {
                        advise(target);
                    }
                }
                return conclude(answer, upgrade, exchange, lease);
            }
            Err(failed) => failed,
        };
        match failed.is_of_client() {
            true => lease.succeeded(),
            false if failed.is_of_gateway() => {}
            false => lease.failed(&failed),
        }
        // A handshake that the upstream may have seen may have begun a socket there.
        let other = if failed.is_unreached() { lease.another() } else { None };
        let Some(other) = other else { return Failure::of_upstream(&failed).answer(exchange) };
        lease = other;
    }
}

async fn ask(handshake: &Handshake, reach: &reach::Reach) -> Result<Answer, reach::Error> {
    if let Some(client) = reach.tunnels() {
        match http2::open(handshake, client, reach).await? {
            Some(answer) => return Ok(answer),
            None => reach.refrain_from_tunnels(),
        }
    }
    match http1::open(handshake, reach).await {
        Err(failed) if failed.is_not_http1() && reach.protocol() != reach::Protocol::Http1 => {
            let target = reach.target();
            let text = format!("{target} serves no WebSockets: it speaks HTTP/2 alone, without RFC 8441");
            Err(reach::Error::unfit(text))
        }
        result => result,
    }
}

/// Whether a refusal is of a page's socket to where the page is from: what compares Origin with Host lets it in where the Host is right.
fn is_of_own_page(status: StatusCode, offer: &Offer) -> bool {
    status == StatusCode::FORBIDDEN && offer.origin().is_some() && OriginPolicy::SameOrigin.check(offer).is_ok()
}

/// Says it once in a process: a browser shows its page no more than that the socket failed.
fn advise(target: &Target) {
    static SAID: Once = Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            upstream = %target,
            "an upstream refused a WebSocket of the origin's own page: where it compares Origin with Host, --preserve-host lets it in. \
             This is said once"
        );
    });
}

fn conclude(answer: Answer, upgrade: Upgrade, mut exchange: Exchange, lease: Lease) -> Response<Content> {
    let (mut agreed, upstream) = match answer {
        Answer::Upgraded(agreed, stream, early) => (agreed, Upstream::Stream(stream, early)),
        Answer::Opened(agreed, tunnel) => (agreed, Upstream::Tunnel(tunnel)),
        Answer::Refused(response) => {
            let (mut parts, source) = response.into_parts();
            fields::head_of_response(&mut parts);
            exchange.status(parts.status);
            exchange.ended(End::Refused);
            let content = Content::of_upstream(source, Progress::default(), exchange, lease, true);
            return Response::from_parts(parts, content);
        }
    };
    fields::of_response(&mut agreed);
    exchange.upgraded();
    let response = upgrade.tunnel(&agreed, move |tunnel| upstream.relay(tunnel, exchange, lease));
    response.map(Content::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6455 §10.2: what is refused with another reason to be is not spoken of.
    #[test]
    fn whose_refusal_may_be_for_the_host() {
        let refused = |status: u16, origin: Option<&str>| {
            let mut request = Request::get("/chat").header("host", "localhost:4433").header("upgrade", "websocket");
            for (name, value) in [("connection", "upgrade"), ("sec-websocket-version", "13")] {
                request = request.header(name, value);
            }
            let request = request.header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
            let request = origin.into_iter().fold(request, |request, origin| request.header("origin", origin));
            let offer = Offer::from_request(&request.body(()).unwrap()).unwrap().unwrap();
            is_of_own_page(StatusCode::from_u16(status).unwrap(), &offer)
        };
        assert!(refused(403, Some("https://localhost:4433")));
        assert!(!refused(401, Some("https://localhost:4433")));
        assert!(!refused(403, Some("https://localhost:3000")), "a page of another origin");
        assert!(!refused(403, None), "no page");
    }

    #[test]
    fn what_asks_for_a_socket() {
        let upgrade = |method: Method, version: Version, to: &str| {
            let request = Request::builder().method(method).version(version).header(UPGRADE, to);
            is_asked_for(&request.body(()).unwrap())
        };
        assert!(upgrade(Method::GET, Version::HTTP_11, "websocket"));
        assert!(
            upgrade(Method::GET, Version::HTTP_11, "h2c, WebSocket"),
            "a list, in any letter case (RFC 6455 §4.2.1)"
        );
        assert!(!upgrade(Method::GET, Version::HTTP_11, "h2c"));
        assert!(!upgrade(Method::POST, Version::HTTP_11, "websocket"));
        assert!(!upgrade(Method::GET, Version::HTTP_10, "websocket"), "RFC 9110 §7.8");
        let mut connect = Request::connect("/").version(Version::HTTP_2).body(()).unwrap();
        assert!(!is_asked_for(&connect));
        connect.extensions_mut().insert(Protocol::websocket());
        assert!(is_asked_for(&connect));
    }
}
