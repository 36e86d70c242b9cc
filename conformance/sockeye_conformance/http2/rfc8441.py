"""RFC 8441: opening and ending a WebSocket on an HTTP/2 stream."""

from typing import Any

from .steps import (
    NO_WINDOW,
    advertises,
    answered,
    barrier,
    case,
    malformed,
    request,
    settings_acknowledged,
    stream_ends,
    stream_error,
    unexpected,
)
from .tunnel import BINARY, TEXT, close_frame, closed_with, connect, echoed, flows, message, opened, receives, sends, tunnel_ends
from .wire import (
    ENABLE_CONNECT_PROTOCOL,
    FLOW_CONTROL_ERROR,
    GOAWAY,
    HEADERS,
    INITIAL_WINDOW_SIZE,
    NO_ERROR,
    PROTOCOL_ERROR,
    RST_STREAM,
    data,
    rst_stream,
    settings,
    window_update,
)

# RFC 6455 §1.3
SAMPLE_KEY, SAMPLE_ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
ELSEWHERE = ("origin", "https://elsewhere.example")


def opens(title: str, *extra: Any, **rest: Any) -> Any:
    return case("RFC 8441 §5", f"{title} is accepted", opened(1, *extra, **rest), echoed(1, TEXT, "hello"))


def protocol_chosen(chosen: Any, *offered: Any) -> Any:
    """The subprotocol of the answer; None: no such field in it."""

    def step(connection: Any) -> None:
        connection.send(connect(1, *(("sec-websocket-protocol", line) for line in offered))(connection))
        answered(1, 200, sec_websocket_protocol=chosen)(connection)

    return step


def refuses(rule: str, title: str, status: int, *extra: Any, fields: Any = None, **rest: Any) -> Any:
    """A refusal is an ordinary response that ends the stream, and the connection lives on."""
    ends = lambda connection: None if connection.ended else stream_ends(1)(connection)
    return case(
        rule, title, connect(1, *extra, **rest), answered(1, status, **(fields or {})), ends, opened(3), echoed(3, TEXT, "well")
    )


def without_content_type(rule: str, title: str, status: int, *extra: Any, **rest: Any) -> Any:
    """Firefox gives up the page's whole connection for a refusal that says what its content is; the content may stay."""
    return case(rule, f"{title} is told without Content-Type", connect(1, *extra, **rest), answered(1, status, content_type=None))


def accepts_key(connection: Any) -> None:
    """Proxies that join HTTP/1.1 clients to an HTTP/2 server pass on a key, and need what RFC 6455 §4.2.2 makes of it."""
    connection.send(connect(1, ("sec-websocket-key", SAMPLE_KEY))(connection))
    answered(1, 200, sec_websocket_accept=SAMPLE_ACCEPT)(connection)


def never_acknowledged(connection: Any) -> None:
    """A WebSocket answer has neither content-length nor the fields of HTTP/1.1's upgrade."""
    connection.send(connect(1)(connection))
    answered(1, 200, content_length=None, sec_websocket_accept=None, sec_websocket_extensions=None)(connection)


def end_stream_on_connect(connection: Any) -> Any:
    """No tunnel can come of it: malformed, or an answer that refuses."""
    connection.send(connect(1, end_stream=True)(connection))
    while True:
        received = connection.read()
        if received.type == RST_STREAM and received.error_code == PROTOCOL_ERROR:
            return barrier(connection)
        if received.type == HEADERS and received.fields[":status"].startswith("4"):
            return barrier(connection, allowed=(NO_ERROR,))
        if received.type in (HEADERS, RST_STREAM, GOAWAY):
            unexpected(received, "RST_STREAM PROTOCOL_ERROR or a 4xx", connection)


def beyond_the_window(stream_id: int) -> Any:
    """Far more than an echo that cannot answer may read: the window must be exceeded."""
    piece = message(BINARY, bytes(16_000))
    return sends(stream_id, *[piece] * 256)


def same_origin(connection: Any) -> Any:
    scheme = "https" if connection.tls else "http"
    return connect(1, ("origin", f"{scheme}://{connection.authority}"))(connection)


OPENING = [
    case("RFC 8441 §3", "SETTINGS_ENABLE_CONNECT_PROTOCOL is 1 in the first SETTINGS", advertises(ENABLE_CONNECT_PROTOCOL, 1)),
    opens("an extended CONNECT"),
    opens("`websocket` in other letter case", protocol="WebSocket"),
    opens("a stray Sec-WebSocket-Key", ("sec-websocket-key", SAMPLE_KEY)),
    case("RFC 6455 §4.2.2", "a Sec-WebSocket-Key is answered by its Sec-WebSocket-Accept", accepts_key),
    opens("an offer of extensions", ("sec-websocket-extensions", "permessage-deflate; client_max_window_bits, x-unknown; a=\"b\"")),
    case("RFC 8441 §5", "the answer has no content-length, Accept or extension", never_acknowledged),
    case("RFC 6454 §7", "the server's own Origin is accepted", same_origin, answered(1, 200)),
    refuses("RFC 6455 §4.2.2", "another Origin gets 403", 403, ELSEWHERE),
    refuses("RFC 6455 §4.2.2", "an opaque Origin gets 403", 403, ("origin", "null")),
    refuses("RFC 6455 §4.4", "version 8 gets 400 and the version to use", 400, version="8", fields={"sec_websocket_version": "13"}),
    refuses("RFC 6455 §4.4", "no version gets 400 and the version to use", 400, version=None, fields={"sec_websocket_version": "13"}),
    refuses("RFC 9220 §3", "another :protocol gets 501", 501, protocol="connect-udp"),
    refuses("RFC 9110 §15.5.5", "a path without a WebSocket gets 404", 404, path="/no/such/path"),
    without_content_type("RFC 9110 §15.5.5", "a path without a WebSocket", 404, path="/no/such/path"),
    without_content_type("RFC 6455 §4.2.2", "another Origin", 403, ELSEWHERE),
    without_content_type("RFC 6455 §4.4", "version 8", 400, version="8"),
    without_content_type("RFC 9220 §3", "another :protocol", 501, protocol="connect-udp"),
    without_content_type("RFC 6585 §5", "a header list above the limit", 431, *((f"x-dummy{n}", "d" * 4000) for n in range(5))),
    case("RFC 8441 §5", "END_STREAM on an extended CONNECT is an error", end_stream_on_connect),
    malformed("RFC 8441 §4", "extended CONNECT without :scheme", method="CONNECT", protocol="websocket", scheme=None, path="/echo", end_stream=False),
    malformed("RFC 8441 §4", "extended CONNECT without :path", method="CONNECT", protocol="websocket", path=None, end_stream=False),
    malformed("RFC 8441 §4", "a second :protocol", (":protocol", "websocket"), method="CONNECT", protocol="websocket", path="/echo", end_stream=False),
]  # fmt: skip

SUBPROTOCOL = [
    case("RFC 6455 §4.2.2", "subprotocol echo alone", protocol_chosen("echo", "echo")),
    case("RFC 6455 §4.2.2", "subprotocol echo among others in one line", protocol_chosen("echo", "chat, echo,superchat")),
    case("RFC 6455 §4.2.2", "subprotocol echo in one of several lines", protocol_chosen("echo", "chat", "superchat", "echo")),
    case("RFC 6455 §4.2.2", "no subprotocol where none is known", protocol_chosen(None, "chat, superchat")),
    case("RFC 6455 §4.2.2", "no subprotocol where none is offered", protocol_chosen(None)),
]  # fmt: skip

ENDING = [
    case("RFC 8441 §5", "END_STREAM without Close is answered by END_STREAM", opened(1), data(1, b"", True), tunnel_ends(1, ours_ends=True)),
    case("RFC 8441 §5", "END_STREAM with a last message: echoed, then END_STREAM", opened(1), data(1, message(TEXT, "last"), True), receives(1, TEXT, "last"), tunnel_ends(1, ours_ends=True)),
    case("RFC 8441 §5", "END_STREAM inside a frame is answered by END_STREAM", opened(1), data(1, message(TEXT, "cut off")[:-2], True), tunnel_ends(1, ours_ends=True)),
    case("RFC 8441 §5", "RST_STREAM CANCEL ends one WebSocket and no other", opened(1), opened(3), rst_stream(1), echoed(3, TEXT, "still here"), barrier),
    case("RFC 8441 §5", "Close and END_STREAM in one DATA frame", opened(1), data(1, close_frame(1000), True), closed_with(1, 1000, ours_ends=True)),
    case("RFC 8441 §5", "WebSockets and requests share a connection", opened(1), request(3), answered(3, 200), stream_ends(3), echoed(1, TEXT, "hello"), opened(5), echoed(5, TEXT, "you too"), echoed(1, TEXT, "bye")),
    case("RFC 8441 §5", "a hundred WebSockets opened and closed in turn", *(step for n in range(1, 201, 2) for step in (opened(n), echoed(n, TEXT, f"{n}"), data(n, close_frame(1000), True), closed_with(n, 1000, ours_ends=True)))),
    case("RFC 9113 §6.9.1", "more DATA than the window", NO_WINDOW, settings_acknowledged, opened(1), beyond_the_window(1), stream_error(1, FLOW_CONTROL_ERROR)),
    case("RFC 9113 §5.2.1", "a WebSocket that cannot answer does not stop another", opened(1), settings((INITIAL_WINDOW_SIZE, 0)), settings_acknowledged, flows(1, message(BINARY, bytes(60_000))), settings((INITIAL_WINDOW_SIZE, 0)), opened(3), window_update(3, 1000), echoed(3, TEXT, "hello")),
]  # fmt: skip

CASES = OPENING + SUBPROTOCOL + ENDING
