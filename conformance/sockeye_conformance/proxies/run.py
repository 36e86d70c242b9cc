#!/usr/bin/env python3
"""`sockeye serve` behind HAProxy, nghttpx and `sockeye gateway`: both versions of HTTP on either side, with TLS and without."""

import dataclasses
import json
import os
import subprocess
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wsproto.events import Ping, Pong, TextMessage

from ..clients.websocket import Http1Client, Http2Client, Socket, echo_on_many, equal
from ..harness import Report, Server, arguments, tls_context
from .proxy import HAProxy, Hop, Nghttpx, Proxy, SockeyeGateway

CONFORMANCE = Path(__file__).resolve().parents[2]
PROXIES = (HAProxy, Nghttpx, SockeyeGateway)
CLIENTS = {"HTTP/1.1": Http1Client, "HTTP/2": Http2Client}
HOPS = (Hop("HTTP/2", False), Hop("HTTP/2", True), Hop("HTTP/1.1", False), Hop("HTTP/1.1", True))
# Of what concerns no octet of TLS, over fewer hops.
FEW_HOPS = (Hop("HTTP/2", True), Hop("HTTP/1.1", False))
MANY = 100
MIB = 1 << 20
IDLE_SECONDS = 1
LEFT_SECONDS = 20
NODE_SECONDS = 120


def main() -> None:
    options = arguments(__doc__).parse_args()
    report = Report()

    def run(line: str, check: Callable[..., Any], *details: Any) -> None:
        if options.filter in line:
            report.run(line, lambda: check(*details))

    for kind in PROXIES:
        for hop in HOPS:
            with Server(tls=hop.tls) as server, kind(server.address, hop) as proxy:
                for version, tls in ((version, tls) for version in CLIENTS for tls in (False, True)):
                    before = Hop(version, tls)
                    for name, check in MESSAGES.items():
                        run(line_of(proxy, before, name), lambda: check(CLIENTS[version](proxy.address(tls), tls)))
                run(f"{proxy}: nothing is left behind", nothing_left, server)
        for hop in FEW_HOPS:
            for version in CLIENTS:
                for name, ending in ENDS.items():
                    if ending is ends_idle and not kind.ends_silent:
                        continue
                    run(line_of(kind((), hop), Hop(version, True), name), end, ending, kind, hop, CLIENTS[version])
            run(f"{kind.__name__}, {hop} behind: Node's http2 in front", node, kind, hop)
    report.finish()


def line_of(proxy: Any, before: Any, name: str) -> Any:
    return f"{proxy}, {before} in front: {name}"


def check_small(client: Any) -> None:
    each = client.open()
    for payload in ("hello", "", b"", bytes(range(256))):
        each.echo(payload)
    each.close(1000)


def check_large(client: Any) -> None:
    each = client.open()
    each.echo("x" * MIB)
    each.echo(bytes(range(256)) * (MIB // 256))
    each.close(4000)


def check_many(client: Any) -> None:
    echo_on_many(client, MANY)


def check_fragments(client: Any) -> None:
    each = client.open()
    each.send(TextMessage("in ", message_finished=False))
    each.send(Ping(b"between"))
    each.send(TextMessage("parts"))
    pong, message = each.receive(), each.receive()
    equal((type(pong), bytes(pong.payload), message), (Pong, b"between", "in parts"), "answers")
    each.close(1001)


def check_subprotocol(client: Any) -> None:
    each = client.open(("sec-websocket-protocol", "chat, echo"))
    equal(each.response.get("sec-websocket-protocol"), "echo", "subprotocol")
    each.close(1000)


def check_refusal(client: Any) -> None:
    try:
        client.open(("origin", "https://elsewhere.example"))
    except AssertionError as error:
        equal("got '403'" in str(error), True, str(error))
    else:
        raise AssertionError("a foreign origin is let in")


# Of each, the client has a connection of its own to a proxy that lives on.
MESSAGES = {
    "small and empty messages, and Close 1000": check_small,
    "messages of 1 MiB, and Close 4000": check_large,
    f"{MANY} WebSockets at once": check_many,
    "a Ping between fragments, and Close 1001": check_fragments,
    "the subprotocol is chosen": check_subprotocol,
    "a foreign origin is refused with 403": check_refusal,
}


@dataclasses.dataclass
class Scene:
    """A WebSocket through a proxy, with all that belongs to it."""

    server: Server
    proxy: Proxy
    connection: Http1Client | Http2Client
    socket: Socket
    # Before the socket was opened.
    started: float


def end(check: Callable[..., Any], kind: Any, hop: Hop, client: Any) -> None:
    """Runs `check` in a scene of its own, and sees to it that the server lets go of the WebSocket."""
    idle = {"idle": IDLE_SECONDS} if check is ends_idle else {}
    with Server(tls=hop.tls) as server, kind(server.address, hop, **idle) as proxy:
        started = time.monotonic()
        connection = client(proxy.tls, True)
        scene = Scene(server, proxy, connection, connection.open(), started)
        scene.socket.echo("hello")
        check(scene)
        if server.process.poll() is None:
            nothing_left(server)


def ends_idle(scene: Any) -> None:
    """The proxy's limit on silence ends a WebSocket that neither side has anything to say on."""
    scene.socket.wait_for_end()
    equal(time.monotonic() - scene.started >= IDLE_SECONDS, True, "ended by silence")
    equal(scene.socket.inbox, [], "messages")


def client_vanishes(scene: Any) -> None:
    equal(sockets_of(scene.server), 1, "sockets of the server")
    scene.connection.disappear()


def proxy_vanishes(scene: Any) -> None:
    equal(sockets_of(scene.server), 1, "sockets of the server")
    scene.proxy.kill()


def server_ends(scene: Any) -> None:
    """Ctrl-C: every client hears of it, and the server need not wait for its time to run out."""
    scene.server.ask_to_end()
    scene.socket.closed_with(1001)
    equal(scene.server.stop(), 0, "exit status")


ENDS = {
    "an idle WebSocket ends with the proxy's patience": ends_idle,
    "a client that vanishes leaves nothing behind": client_vanishes,
    "a proxy that vanishes leaves nothing behind": proxy_vanishes,
    "Ctrl-C closes the client's WebSocket with 1001": server_ends,
}


def nothing_left(server: Any) -> None:
    deadline = time.monotonic() + LEFT_SECONDS
    while sockets := sockets_of(server):
        equal(time.monotonic() < deadline, True, f"{sockets} sockets let go in time")
        time.sleep(0.05)


def sockets_of(server: Any) -> Any:
    """How many WebSockets the server says it has."""
    url = f"http{'s' if server.tls else ''}://127.0.0.1:{server.address[1]}/stats"
    context = tls_context() if server.tls else None
    return json.load(urllib.request.urlopen(url, timeout=LEFT_SECONDS, context=context))["sockets"]


def node(kind: Any, hop: Hop) -> None:
    """All that Node's own client checks, through the proxy."""
    with Server(tls=hop.tls) as server, kind(server.address, hop) as proxy:
        environment = {**os.environ, "SOCKEYE_URL": f"https://localhost:{proxy.tls[1]}", "SOCKEYE_PROXY": "1"}
        command = ["node", str(CONFORMANCE / "clients/node_http2.mjs")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=NODE_SECONDS)
        failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
        equal((failures, done.returncode), ([], 0), "failures")


if __name__ == "__main__":
    main()
