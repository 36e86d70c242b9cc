"""RFC 9113 §8: HTTP messages, ordinary and malformed."""

import time
from email.utils import parsedate_to_datetime
from typing import Any

from .steps import (
    answered,
    barrier,
    case,
    closes,
    fields_continued,
    frames,
    headers,
    malformed,
    post,
    request,
    request_fields,
    stream_ends,
    stream_error,
    unanswered,
    unexpected,
)
from .wire import (
    COMPRESSION_ERROR,
    DATA,
    END_HEADERS,
    END_STREAM,
    ENHANCE_YOUR_CALM,
    GOAWAY,
    HEADERS,
    PROTOCOL_ERROR,
    Failure,
    continuation,
    data,
    frame,
)


def trailers(*fields: Any, end_stream: bool = True) -> Any:
    return headers(1, fields, end_stream=end_stream)


def after_body(*steps: Any) -> Any:
    """A POST with a body whose END_STREAM is still to come, then `steps`."""
    return (post(1), data(1, b"test"), *steps, stream_error(1, PROTOCOL_ERROR))


def body_ends(stream_id: int, *, empty: Any) -> Any:
    """END_STREAM, with or without a body before it."""

    def step(connection: Any) -> None:
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


def both_end(connection: Any, streams: Any) -> None:
    """END_STREAM on every one of `streams`."""
    for received in frames(connection, f"END_STREAM on {streams}"):
        if received.ends_stream():
            streams = streams - {received.stream_id}
            if not streams:
                return


# What a browser sends beside its cookies.
BROWSER = (
    ("user-agent", "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"), ("accept", "*/*"),
    ("accept-language", "en-US,en;q=0.5"), ("accept-encoding", "gzip, deflate, br, zstd"), ("sec-fetch-dest", "empty"),
    ("sec-fetch-mode", "cors"), ("sec-fetch-site", "same-origin"), ("pragma", "no-cache"), ("cache-control", "no-cache"),
)  # fmt: skip


def crumbs(count: int, *, same: bool = False) -> Any:
    """A cookie in so many crumbs of 16 octets each. All the same, each costs one octet after compression."""
    return [("cookie", "name0000=sockeye" if same else f"c{n:04}=0123456789") for n in range(count)]


def in_pieces(fields: Any) -> Any:
    """A request whose header block is cut into frames of 16,000 octets, by then with other fields as well."""

    def step(connection: Any) -> Any:
        block = connection.encoder.encode([*request_fields(connection), *BROWSER, *fields])
        pieces = [block[start : start + 16_000] for start in range(0, len(block), 16_000)]
        last = len(pieces) - 1
        octets = frame(HEADERS, 1, pieces[0], END_STREAM | (0 if last else END_HEADERS))
        return octets + b"".join(continuation(1, piece, n == last) for n, piece in enumerate(pieces[1:], 1))

    return step


def too_much(connection: Any) -> Any:
    """431, or the end of the connection for a peer that asks for trouble."""
    while True:
        received = connection.read()
        if received.type == HEADERS:
            if received.fields[":status"] != "431":
                raise Failure(f"wanted 431, got {received.fields}")
            return barrier(connection)
        if received.type == GOAWAY:
            if received.error_code not in (ENHANCE_YOUR_CALM, COMPRESSION_ERROR):
                unexpected(received, "GOAWAY ENHANCE_YOUR_CALM", connection)
            return closes(connection)


def dated(status: Any, opening: Any, *rest: Any) -> Any:
    """The answer says when it was made (RFC 9110 §6.6.1)."""

    def step(connection: Any) -> None:
        for each in (opening, *rest):
            connection.send(each if isinstance(each, bytes) else each(connection))
        for received in frames(connection, "an answer"):
            if received.type == HEADERS:
                break
        if received.fields[":status"] != str(status) or "date" not in received.fields:
            raise Failure(f"wanted {status} with a Date, got {received.fields}")
        date = parsedate_to_datetime(received.fields["date"])
        if not received.fields["date"].endswith(" GMT") or abs(date.timestamp() - time.time()) > 5:
            raise Failure(f"Date: {received.fields['date']}")

    return step


EXPECTING = (("expect", "100-continue"), ("content-length", "4"))


def no_continue(connection: Any) -> None:
    """What nobody expects does not come: the first answer is the last."""
    connection.send(post(1)(connection) + data(1, b"test", True))
    for received in frames(connection, "an answer"):
        if received.type == HEADERS and received.fields[":status"] != "200":
            raise Failure(f"an answer of {received.fields}")
        if received.ends_stream():
            return


MEANING = [
    *(case("RFC 9110 §6.6.1", f"{title} has a Date", dated(*steps)) for title, *steps in [
        ("an answer with content", 200, request(1)), ("an answer to HEAD", 200, request(1, method="HEAD")),
        ("an answer to POST", 200, post(1), data(1, b"test", True)), ("a 404", 404, request(1, path="/no/such/path")),
        ("a 405", 405, request(1, method="DELETE")), ("a 431", 431, request(1, *((f"x-dummy{n}", "d" * 4000) for n in range(5)))),
        ("a refused extended CONNECT", 404, request(1, ("sec-websocket-version", "13"), method="CONNECT", protocol="websocket", path="/no/such/path", end_stream=False)),
    ]),
    case("RFC 9110 §10.1.1", "Expect: 100-continue gets its 100, then the answer", post(1, *EXPECTING), answered(1, 100), data(1, b"test", True), answered(1, 200), stream_ends(1)),
    case("RFC 9110 §10.1.1", "Expect in other letter case gets its 100", post(1, ("expect", "100-Continue")), answered(1, 100), data(1, b"test", True), answered(1, 200), stream_ends(1)),
    case("RFC 9110 §10.1.1", "Expect: 100-continue without content gets no 100", request(1, ("expect", "100-continue"), method="POST"), answered(1, 200), stream_ends(1)),
    case("RFC 9110 §10.1.1", "a request that expects nothing gets no 100", no_continue),
]  # fmt: skip

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
    case("RFC 9113 §8.2.3", "150 crumbs of 16 octets, and a browser's fields, are accepted", request(1, *BROWSER, *crumbs(150)), answered(1, 200)),
    case("RFC 9113 §8.2.3", "as many on an extended CONNECT", request(1, ("sec-websocket-version", "13"), *BROWSER, *crumbs(150), method="CONNECT", protocol="websocket", path="/echo", end_stream=False), answered(1, 200)),
    case("RFC 9113 §8.2.3", "5,000 crumbs are too many", in_pieces(crumbs(5000)), too_much),
    case("RFC 9113 §8.2.3", "5,000 crumbs of one octet each after compression are too many", in_pieces(crumbs(5000, same=True)), too_much),
    case("RFC 6585 §5", "150 other fields are too many", request(1, *((f"x-{n}", "1") for n in range(150))), answered(1, 431), barrier),
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

CASES = EXCHANGES + MEANING + FIELDS + PSEUDO + CONTENT_LENGTH
