"""RFC 9113 §8: HTTP messages, ordinary and malformed."""

from steps import *  # noqa: F403
from wire import *  # noqa: F403


def trailers(*fields, end_stream=True):
    return headers(1, fields, end_stream=end_stream)


def after_body(*steps):
    """A POST with a body whose END_STREAM is still to come, then `steps`."""
    return (post(1), data(1, b"test"), *steps, stream_error(1, PROTOCOL_ERROR))


def body_ends(stream_id, *, empty):
    """END_STREAM, with or without a body before it."""

    def step(connection):
        octets = 0
        for received in frames(connection, f"END_STREAM on {stream_id}"):
            octets += len(received.payload) if received.type == DATA else 0
            if received.ends_stream():
                break
        if (octets == 0) != empty:
            raise Failure(f"a body of {octets} octets")

    return step


EXCHANGES = [
    case("RFC 9113 §8.1", "GET is answered, with a body", request(1), answered(1, 200), body_ends(1, empty=False)),
    case("RFC 9113 §8.1", "HEAD is answered, without a body", request(1, method="HEAD"), answered(1, 200), lambda c: None if c.ended else body_ends(1, empty=True)(c)),
    case("RFC 9113 §8.1", "POST with a body is answered", post(1), data(1, b"test", True), answered(1), stream_ends(1)),
    case("RFC 9113 §8.1", "POST is answered only once its body has ended", post(1), data(1, b"te"), unanswered(1), data(1, b"st", True), answered(1)),
    case("RFC 9113 §8.1", "POST with trailers is answered", post(1, ("trailer", "x-test")), data(1, b"test"), trailers(("x-test", "ok")), answered(1)),
    case("RFC 9113 §8.1", "an unknown path is not found", request(1, path="/no/such/path"), answered(1, 404)),
    case("RFC 9113 §8.1", "requests on several streams are all answered", lambda c: b"".join(request(n)(c) for n in (1, 3, 5)), lambda c: both_end(c, {1, 3, 5})),
    case("RFC 9113 §8.1", "HEADERS without END_STREAM after the body", *after_body(trailers(("x-test", "ok"), end_stream=False))),
    case("RFC 9113 §8.1", "a pseudo-header field in trailers", *after_body(trailers((":method", "POST"), end_stream=False))),
    case("RFC 9113 §8.1", "a pseudo-header field in trailers that end the stream", *after_body(trailers((":path", "/")))),
    case("RFC 9113 §8.1", "a connection-specific field in trailers", *after_body(trailers(("connection", "close")))),
    case("RFC 9113 §8.2.1", "an uppercase name in trailers", *after_body(trailers(("X-Test", "ok")))),
]  # fmt: skip


def both_end(connection, streams):
    """END_STREAM on every one of `streams`."""
    for received in frames(connection, f"END_STREAM on {streams}"):
        if received.ends_stream():
            streams = streams - {received.stream_id}
            if not streams:
                return


FIELDS = [
    malformed("RFC 9113 §8.2.1", "an uppercase field name", ("X-TEST", "ok")),
    *(malformed("RFC 9113 §8.2.1", f"a field name with {title}", (f"x{octet}test", "ok")) for title, octet in [("a space", " "), ("a colon", ":"), ("a NUL", "\0"), ("an octet above 0x7e", "\x7f")]),
    malformed("RFC 9113 §8.2.1", "an empty field name", ("", "ok")),
    *(malformed("RFC 9113 §8.2.1", f"a field value with {title}", ("x-test", f"a{octet}b")) for title, octet in [("NUL", "\0"), ("LF", "\n"), ("CR", "\r")]),
    malformed("RFC 9113 §8.2.1", "a field value that starts with a space", ("x-test", " ok")),
    malformed("RFC 9113 §8.2.1", "a field value that ends with a tab", ("x-test", "ok\t")),
    case("RFC 9113 §8.2.1", "an empty field value is accepted", request(1, ("x-test", "")), answered(1, 200)),
    *(malformed("RFC 9113 §8.2.2", f"the connection-specific field {name}", (name, value)) for name, value in [("connection", "keep-alive"), ("keep-alive", "timeout=5"), ("proxy-connection", "close"), ("transfer-encoding", "chunked"), ("upgrade", "websocket")]),
    malformed("RFC 9113 §8.2.2", "te other than trailers", ("trailers", "test"), ("te", "trailers, deflate")),
    case("RFC 9113 §8.2.2", "te: trailers is accepted", request(1, ("te", "trailers")), answered(1, 200)),
    case("RFC 9113 §8.2.3", "a cookie in crumbs is accepted", request(1, ("cookie", "a=b"), ("cookie", "c=d")), answered(1, 200)),
    case("RFC 6585 §5", "a header list above the limit gets 431", request(1, options={"end_headers": False}), *(fields_continued(1, (f"x-dummy{n}", "d" * 4000), end_headers=n == 5) for n in range(6)), answered(1, 431), barrier),
]  # fmt: skip

PSEUDO = [
    malformed("RFC 9113 §8.3", "an unknown pseudo-header field", (":test", "ok")),
    malformed("RFC 9113 §8.3", "a pseudo-header field of responses", (":status", "200")),
    malformed("RFC 9113 §8.3", "a pseudo-header field after a field", before=[("x-test", "ok")]),
    malformed("RFC 9113 §8.3.1", "an empty :path", path=""),
    malformed("RFC 9113 §8.3.1", "a :path without its slash", path="index.html"),
    *(malformed("RFC 9113 §8.3.1", f"no :{name}", **{name: None}) for name in ("method", "scheme", "path")),
    malformed("RFC 9113 §8.3.1", "neither :method nor :scheme", method=None, scheme=None),
    *(malformed("RFC 9113 §8.3.1", f"a second :{name}", (f":{name}", value)) for name, value in [("method", "GET"), ("method", "/"), ("scheme", "http"), ("path", "/")]),
    malformed("RFC 9113 §8.3.1", "a second :authority", (":authority", "localhost")),
    malformed("RFC 9113 §8.3.1", "an :authority with userinfo", authority="user@localhost"),
    malformed("RFC 9113 §8.3.1", "a host that is not the :authority", ("host", "elsewhere.example")),
    case("RFC 9113 §8.3.1", "a host that is the :authority is accepted", lambda c: request(1, ("host", c.authority))(c), answered(1, 200)),
    case("RFC 9113 §8.3.1", "host alone is accepted", lambda c: request(1, ("host", c.authority), authority=None)(c), answered(1, 200)),
    malformed("RFC 9113 §8.5", "CONNECT with :scheme and :path, without :protocol", method="CONNECT", end_stream=False),
    malformed("RFC 9113 §8.5", "CONNECT without :authority", method="CONNECT", scheme=None, path=None, authority=None, end_stream=False),
    malformed("RFC 8441 §4", ":protocol without CONNECT", protocol="websocket"),
]  # fmt: skip

CONTENT_LENGTH = [
    case("RFC 9113 §8.1.1", "content-length that is the body's is accepted", post(1, ("content-length", "4")), data(1, b"te"), data(1, b"st", True), answered(1)),
    case("RFC 9113 §8.1.1", "content-length below the one DATA frame", post(1, ("content-length", "1")), data(1, b"test", True), stream_error(1, PROTOCOL_ERROR)),
    case("RFC 9113 §8.1.1", "content-length below the sum of DATA frames", post(1, ("content-length", "1")), data(1, b"test"), data(1, b"test", True), stream_error(1, PROTOCOL_ERROR)),
    case("RFC 9113 §8.1.1", "content-length above the body", post(1, ("content-length", "5")), data(1, b"test", True), stream_error(1, PROTOCOL_ERROR)),
    case("RFC 9113 §8.1.1", "content-length above a body that trailers end", post(1, ("content-length", "5")), data(1, b"test"), trailers(("x-test", "ok")), stream_error(1, PROTOCOL_ERROR)),
    malformed("RFC 9113 §8.1.1", "content-length with no body at all", ("content-length", "1"), method="POST"),
    malformed("RFC 9110 §8.6", "content-length that is no number", ("content-length", "four"), method="POST"),
    malformed("RFC 9110 §8.6", "two different content-lengths", ("content-length", "0"), ("content-length", "1"), method="POST"),
]  # fmt: skip

CASES = EXCHANGES + FIELDS + PSEUDO + CONTENT_LENGTH
