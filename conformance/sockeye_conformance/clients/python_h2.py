#!/usr/bin/env python3
"""WebSockets over HTTP/2 with other people's Python: `h2` for the connection, `wsproto` for the frames."""

from typing import Any

from wsproto.events import Ping, Pong, TextMessage

from ..harness import Report, arguments, server
from .websocket import Http2Client, echo_on_many, equal

MANY = 50


def check_settings(client: Any) -> None:
    equal(client.http.remote_settings.enable_connect_protocol, 1, "SETTINGS_ENABLE_CONNECT_PROTOCOL")


def check_many(client: Any) -> None:
    echo_on_many(client, MANY)


def check_fragments(client: Any) -> None:
    each = client.open()
    each.send(TextMessage("in ", message_finished=False))
    each.send(Ping(b"between"))
    each.send(TextMessage("parts"))
    answers = [each.receive(), each.receive()]
    equal([type(answer) for answer in answers], [Pong, str], "answers")
    equal((bytes(answers[0].payload), answers[1]), (b"between", "in parts"), "answers")


def check_subprotocol(client: Any) -> None:
    each = client.open(("sec-websocket-protocol", "chat, echo"))
    equal(each.response.get("sec-websocket-protocol"), "echo", "subprotocol")


def check_request_beside(client: Any) -> None:
    each = client.open()
    stream_id = client.request(path="/stats")
    client.until(lambda: stream_id in client.ended)
    equal(client.responses[stream_id][":status"], "200", "status")
    each.echo("still open")


def main() -> None:
    options = arguments(__doc__).parse_args()
    checks: dict[str, Any] = {
        "the server offers extended CONNECT": check_settings,
        "a text is echoed, and Close 1000 answered": lambda client: (s := client.open()).echo("hello") or s.close(1000),
        "an empty text is echoed": lambda client: client.open().echo(""),
        "an empty binary is echoed": lambda client: client.open().echo(b""),
        "a text of 1 MiB is echoed": lambda client: client.open().echo("x" * (1 << 20)),
        "a binary of 1 MiB is echoed": lambda client: client.open().echo(bytes(range(256)) * 4096),
        f"{MANY} WebSockets on one connection": check_many,
        "a Ping between fragments": check_fragments,
        "the subprotocol is chosen": check_subprotocol,
        "a request beside a WebSocket": check_request_beside,
        "Close 4000 is answered with 4000": lambda client: client.open().close(4000),
    }
    report = Report()
    with server(options) as under_test:
        over = "TLS" if options.tls else "cleartext"
        for name, check in checks.items():
            if options.filter in name:
                report.run(f"h2 and wsproto, {over}: {name}", lambda: check(Http2Client(under_test.address, options.tls)))
    report.finish()


if __name__ == "__main__":
    main()
