#!/usr/bin/env python3
"""`websockets_site.py PORT [CERTIFICATE KEY]`: the site of this folder on `websockets`, which speaks HTTP/1.1 alone."""

import asyncio
import http
import ssl
import sys
from typing import Any

from websockets.asyncio.server import serve


def choose(_connection: Any, offered: Any) -> Any:
    return "echo" if "echo" in offered else None


def refuse(connection: Any, request: Any) -> Any:
    if request.path == "/refuse":
        return connection.respond(http.HTTPStatus.FORBIDDEN, "not for you\n")
    return None


async def site(websocket: Any) -> None:
    async for message in websocket:
        match websocket.request.path:
            case "/close":
                await websocket.close(int(message), "as asked")
            case "/fragments":
                third = len(message) // 3
                await websocket.send([message[:third], message[third : 2 * third], message[2 * third :]])
            case "/ping":
                await (await websocket.ping("are you there?"))
                await websocket.send("a Pong came")
            case _:
                await websocket.send(message)


async def main() -> None:
    port, *files = sys.argv[1:]
    context = None
    if files:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*files)
        context.set_alpn_protocols(["http/1.1"])
    options = {"select_subprotocol": choose, "process_request": refuse, "ssl": context}
    async with serve(site, "127.0.0.1", int(port), **options) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
