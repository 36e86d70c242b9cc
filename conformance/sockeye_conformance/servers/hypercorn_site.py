#!/usr/bin/env python3
"""`hypercorn_site.py PORT [CERTIFICATE KEY] [--mended]`: the site of this folder on Hypercorn, which
speaks both versions of HTTP."""

import asyncio
import sys
from typing import Any

import hypercorn.protocol
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.protocol.h2 import H2Protocol


class Done:
    """A stream that the server has done with."""

    async def handle(self, event: Any) -> None:
        pass


class Streams(dict[int, Any]):
    def __missing__(self, stream_id: int) -> Any:
        return Done()


class Mended(H2Protocol):
    """As released (0.18), DATA on a stream that the server has done with ends the whole connection: a KeyError,
    https://github.com/pgjones/hypercorn/issues/329. The answer to the server's Close is such DATA."""

    def __init__(self, *arguments: str) -> None:
        super().__init__(*arguments)
        self.streams = Streams()


async def site(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] != "websocket":
        return
    await receive()
    if scope["path"] == "/refuse":
        head = {"type": "websocket.http.response.start", "status": 403, "headers": [(b"content-type", b"text/plain")]}
        await send(head)
        await send({"type": "websocket.http.response.body", "body": b"not for you\n"})
        return
    await send({"type": "websocket.accept", "subprotocol": "echo" if "echo" in scope["subprotocols"] else None})
    while (event := await receive())["type"] == "websocket.receive":
        if scope["path"] == "/close":
            await send({"type": "websocket.close", "code": int(event["text"]), "reason": "as asked"})
            return
        await send({"type": "websocket.send", "text": event.get("text"), "bytes": event.get("bytes")})


def main() -> None:
    port, *files = (argument for argument in sys.argv[1:] if argument != "--mended")
    if "--mended" in sys.argv:
        hypercorn.protocol.H2Protocol = Mended
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.loglevel = "WARNING"
    if files:
        config.certfile, config.keyfile = files
    asyncio.run(serve(site, config))


if __name__ == "__main__":
    main()
