//! Which extensions a handshake settles on (RFC 7692 §7.1, draft-damjanovic-websockets-nomasking-02), from both sides.
#![cfg(feature = "deflate")]

use http::{Request, Response, Version};
use sockeye_proto::Protocol;
use sockeye_proto::ws::handshake::{Accepted, Carrier, ClientHandshake, Offer, ResponseError};
use sockeye_proto::ws::{Deflate, DeflateContext, Extensions};

const FIELD: &str = "sec-websocket-extensions";

/// Takeover and window bits of one side.
fn context(takeover: bool, window_bits: u8) -> DeflateContext {
    DeflateContext::new().takeover(takeover).window_bits(window_bits)
}

fn willing(server: DeflateContext, client: DeflateContext) -> Extensions {
    Extensions { deflate: Some(Deflate::new().server(server).client(client)), no_masking: false }
}

/// Willing to do all there is, where it costs what it may.
fn all() -> Extensions {
    Extensions { no_masking: true, ..willing(context(true, 15), context(true, 15)) }
}

/// Both sides' contexts where it is in use.
type InUse = Option<(DeflateContext, DeflateContext)>;

fn contexts(extensions: Extensions) -> InUse {
    extensions.deflate.map(|deflate| (deflate.server, deflate.client))
}

/// What a server answers to an offer, and what it uses then.
fn accept(offer: &str, willing: &Extensions, secure: bool) -> (Option<String>, Extensions) {
    let request = Request::connect("https://example.com/").version(Version::HTTP_2).extension(Protocol::websocket());
    let request = request.header("sec-websocket-version", "13").header(FIELD, offer).body(()).unwrap();
    let (response, in_use) = Offer::from_request(&request).unwrap().unwrap().accept(None, willing, secure);
    let answer = response.headers().get(FIELD).map(|value| value.to_str().unwrap().to_owned());
    (answer, in_use)
}

fn handshake(uri: &str, willing: &Extensions) -> ClientHandshake {
    let mut handshake = ClientHandshake::new(uri.parse().unwrap());
    handshake.extensions = *willing;
    handshake
}

/// What a client offers.
fn offer(uri: &str, willing: &Extensions) -> Option<String> {
    let request = handshake(uri, willing).request(Carrier::Http2).unwrap();
    request.headers().get(FIELD).map(|value| value.to_str().unwrap().to_owned())
}

/// What a client makes of an answer.
fn check(uri: &str, willing: &Extensions, answer: &str) -> Result<Extensions, ResponseError> {
    let response = Response::builder().header(FIELD, answer).body(()).unwrap();
    handshake(uri, willing).check(Carrier::Http2, &response).map(|Accepted { extensions, .. }| extensions)
}

const NONE: &str = "permessage-deflate; server_no_context_takeover; client_no_context_takeover";

/// RFC 7692 §7.1.1, §7.1.2, row by row: an offer, and the answer of a server that would do anything.
#[test]
fn a_server_grants_what_is_asked() {
    let (full, none) = (context(true, 15), context(false, 15));
    let rows = [
        ("", "permessage-deflate", full, full),
        ("; server_no_context_takeover", "permessage-deflate; server_no_context_takeover", none, full),
        ("; client_no_context_takeover", "permessage-deflate; client_no_context_takeover", full, none),
        ("; client_no_context_takeover; server_no_context_takeover", NONE, none, none),
        ("; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10", context(true, 10), full),
        // §7.1.2.1: to accept it is to repeat it, also where it asks for nothing.
        ("; server_max_window_bits=15", "permessage-deflate; server_max_window_bits=15", full, full),
        ("; server_max_window_bits=\"9\"", "permessage-deflate; server_max_window_bits=9", context(true, 9), full),
        // §7.1.2.2: that the client could be limited asks for nothing.
        ("; client_max_window_bits", "permessage-deflate", full, full),
        ("; client_max_window_bits=15", "permessage-deflate", full, full),
        // Its value says what the client will not exceed.
        ("; client_max_window_bits=8", "permessage-deflate; client_max_window_bits=8", full, context(true, 8)),
    ];
    for (parameters, answer, server, client) in rows {
        let (answered, in_use) = accept(&format!("permessage-deflate{parameters}"), &all(), false);
        assert_eq!((answered.as_deref(), contexts(in_use)), (Some(answer), Some((server, client))), "{parameters}");
    }
}

/// What the server wants for itself goes in without being asked for, but for the client's window.
#[test]
fn a_server_limits_itself_and_the_client() {
    let (browser, bare) = ("permessage-deflate; client_max_window_bits", "permessage-deflate");
    let (none, small) = (context(false, 15), context(true, 11));
    let default = Extensions { deflate: Some(Deflate::default()), no_masking: false };
    let rows = [
        (browser, default, NONE, (none, none)),
        (bare, default, NONE, (none, none)),
        (
            browser,
            willing(small, small),
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=11",
            (small, small),
        ),
        // §7.1.2.2: without the offer the answer "MUST NOT" have it: the client's window is what it is.
        (bare, willing(small, small), "permessage-deflate; server_max_window_bits=11", (small, context(true, 15))),
        (
            "permessage-deflate; server_max_window_bits=13; client_max_window_bits=9",
            willing(small, small),
            "permessage-deflate; server_max_window_bits=11; client_max_window_bits=9",
            (small, context(true, 9)),
        ),
        // Settings that zlib cannot do are taken for the nearest that it can.
        (
            browser,
            willing(context(true, 0), context(true, 99)),
            "permessage-deflate; server_max_window_bits=9",
            (context(true, 9), context(true, 15)),
        ),
    ];
    for (offer, willing, answer, contexts_in_use) in rows {
        let (answered, in_use) = accept(offer, &willing, false);
        assert_eq!((answered.as_deref(), contexts(in_use)), (Some(answer), Some(contexts_in_use)), "{offer}");
    }
}

/// Parameters that are unknown, repeated or ill-valued.
const INVALID: [&str; 19] = [
    "unknown",
    "Server_No_Context_Takeover",
    "server_no_context_takeover=1",
    "client_no_context_takeover=true",
    "server_no_context_takeover; server_no_context_takeover",
    "client_no_context_takeover; client_no_context_takeover",
    "server_max_window_bits",
    "server_max_window_bits=7",
    "server_max_window_bits=16",
    "server_max_window_bits=09",
    "server_max_window_bits=+9",
    "server_max_window_bits=115",
    "server_max_window_bits=x",
    "server_max_window_bits=10; server_max_window_bits=10",
    "client_max_window_bits=7",
    "client_max_window_bits=16",
    "client_max_window_bits=010",
    "client_max_window_bits; client_max_window_bits",
    "client_max_window_bits=10; client_max_window_bits",
];

/// RFC 7692 §7.1: a server declines an offer with a parameter that it cannot take, and goes on to the next.
#[test]
fn a_server_declines_what_it_cannot_do() {
    for parameters in INVALID.into_iter().chain(["server_max_window_bits=8"]) {
        let offer = format!("permessage-deflate; {parameters}");
        assert_eq!(accept(&offer, &all(), true), (None, Extensions::default()), "{parameters}");
        let offers = format!("{offer}, permessage-deflate; server_max_window_bits=12, permessage-deflate");
        let (answer, in_use) = accept(&offers, &all(), true);
        assert_eq!(answer.as_deref(), Some("permessage-deflate; server_max_window_bits=12"));
        assert_eq!(contexts(in_use), Some((context(true, 12), context(true, 15))));
    }
    for offer in ["permessage-bzip2", "x-webkit-deflate-frame", "Permessage-Deflate"] {
        assert_eq!(accept(offer, &all(), true), (None, Extensions::default()));
    }
    // Nor what nobody asked it to do.
    let offer = format!("{NONE}, no-masking");
    assert_eq!(accept(&offer, &Extensions::default(), true), (None, Extensions::default()));
}

/// no-masking: beside other extensions, once, without parameters, and never where it could be read.
#[test]
fn a_server_accepts_no_masking_on_secure_connections() {
    let unmasked = Extensions { no_masking: true, deflate: None };
    let (answer, in_use) = accept("x-other, no-masking, permessage-deflate", &all(), true);
    assert_eq!(answer.as_deref(), Some("no-masking, permessage-deflate"));
    assert_eq!(in_use, all());
    assert_eq!(accept("no-masking, no-masking", &all(), true), (Some("no-masking".into()), unmasked));
    assert_eq!(accept("no-masking; x, no-masking", &unmasked, true), (Some("no-masking".into()), unmasked));
    assert_eq!(accept("no-masking; x", &all(), true), (None, Extensions::default()));
    assert_eq!(accept("no-masking", &all(), false), (None, Extensions::default()));
}

/// What a client offers by what it is willing to do.
#[test]
fn a_client_offers() {
    let rows = [
        (Extensions::default(), None),
        (Extensions { no_masking: true, deflate: None }, Some("no-masking")),
        (all(), Some("permessage-deflate; client_max_window_bits, no-masking")),
        (
            Extensions { deflate: Some(Deflate::default()), no_masking: false },
            Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover; client_max_window_bits"),
        ),
        (
            willing(context(true, 10), context(true, 9)),
            Some("permessage-deflate; server_max_window_bits=10; client_max_window_bits=9"),
        ),
    ];
    for (willing, expected) in rows {
        assert_eq!(offer("wss://example.com/", &willing).as_deref(), expected);
    }
    for cleartext in ["ws://example.com/", "http://example.com/"] {
        assert_eq!(offer(cleartext, &all()).as_deref(), Some("permessage-deflate; client_max_window_bits"));
    }
}

/// RFC 7692 §7.1: what a client accepts as the answer to its offer, and what is in use then.
#[test]
fn a_client_takes_what_answers_its_offer() {
    let (full, none) = (context(true, 15), context(false, 15));
    let small = willing(context(true, 10), context(true, 10));
    let default = Extensions { deflate: Some(Deflate::default()), no_masking: false };
    let rows = [
        (all(), "permessage-deflate", full, full),
        // A server may limit itself, and the client, without being asked.
        (all(), NONE, none, none),
        (all(), "permessage-deflate; server_max_window_bits=8", context(true, 8), full),
        (all(), "permessage-deflate; client_max_window_bits=12", full, context(true, 12)),
        (all(), "permessage-deflate; client_max_window_bits=8", full, context(true, 8)),
        (all(), "permessage-deflate; client_max_window_bits=15", full, full),
        (small, "permessage-deflate; server_max_window_bits=10", context(true, 10), context(true, 10)),
        (
            small,
            "permessage-deflate; server_max_window_bits=9; client_max_window_bits=15",
            context(true, 9),
            context(true, 10),
        ),
        // §7.1.1.2: that the client keeps no context is its own affair: the answer need not repeat it.
        (default, "permessage-deflate; server_no_context_takeover", none, none),
    ];
    for (willing, answer, server, client) in rows {
        let in_use = check("ws://example.com/", &willing, answer).map(contexts);
        assert_eq!(in_use, Ok(Some((server, client))), "{answer}");
    }
    let in_use = check("wss://example.com/", &all(), "no-masking, permessage-deflate");
    assert_eq!(in_use, Ok(all()));
    let declined = handshake("wss://example.com/", &all()).check(Carrier::Http2, &Response::new(()));
    assert_eq!(declined, Ok(Accepted::default()));
}

/// RFC 7692 §7.1, RFC 6455 §4.1: any other answer fails the connection.
#[test]
fn a_client_fails_on_any_other_answer() {
    let secure = "wss://example.com/";
    for parameters in INVALID.into_iter().chain(["client_max_window_bits"]) {
        let answer = format!("permessage-deflate; {parameters}");
        assert_eq!(check(secure, &all(), &answer), Err(ResponseError::ExtensionParameters), "{answer}");
    }
    let small = willing(context(false, 10), context(true, 15));
    let rows = [
        (small, "permessage-deflate; server_max_window_bits=10", ResponseError::ExtensionParameters),
        (small, "permessage-deflate; server_no_context_takeover", ResponseError::ExtensionParameters),
        (
            small,
            "permessage-deflate; server_no_context_takeover; server_max_window_bits=11",
            ResponseError::ExtensionParameters,
        ),
        (all(), "no-masking; x", ResponseError::ExtensionParameters),
        (all(), "permessage-deflate, permessage-deflate", ResponseError::Extensions),
        (all(), "no-masking, permessage-deflate, no-masking", ResponseError::Extensions),
        (all(), "permessage-deflate, x-other", ResponseError::Extensions),
        (small, "no-masking", ResponseError::Extensions),
        (Extensions::default(), "permessage-deflate", ResponseError::Extensions),
    ];
    for (willing, answer, error) in rows {
        assert_eq!(check(secure, &willing, answer), Err(error), "{answer}");
    }
    // It is not offered in cleartext, so it cannot be accepted there.
    assert_eq!(check("ws://example.com/", &all(), "no-masking"), Err(ResponseError::Extensions));
}

/// Whatever both are willing to do, both ends of this crate come to the same end.
#[test]
fn client_and_server_agree() {
    let contexts = [9, 12, 15].into_iter().flat_map(|bits| [context(false, bits), context(true, bits)]);
    let choices: Vec<_> =
        contexts.clone().flat_map(|server| contexts.clone().map(move |client| willing(server, client))).collect();
    for clients in choices.iter().chain([&all(), &Extensions::default()]) {
        for servers in choices.iter().chain([&all(), &Extensions::default()]) {
            let Some(offer) = offer("wss://example.com/", clients) else { continue };
            let (answer, in_use) = accept(&offer, servers, true);
            let Some(answer) = answer else {
                assert_eq!(servers, &Extensions::default(), "{offer}");
                continue;
            };
            assert_eq!(check("wss://example.com/", clients, &answer), Ok(in_use), "{offer} answered by {answer}");
        }
    }
}
