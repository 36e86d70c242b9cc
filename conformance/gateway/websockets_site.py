#!/usr/bin/env python3
"""`websockets_site.py PORT`: an echo on `websockets`, stock, which speaks HTTP/1.1 alone. Other requests get a page."""

import asyncio
import http
import sys
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol


def choose(_connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("echo") if "echo" in offered else None


def page(connection: ServerConnection, request: Request) -> Response | None:
    if "Upgrade" in request.headers:
        return None
    response = connection.respond(http.HTTPStatus.OK, "<!doctype html><title>a page</title>")
    del response.headers["Content-Type"]
    response.headers["Content-Type"] = "text/html"
    return response


async def echo(websocket: ServerConnection) -> None:
    async for message in websocket:
        if websocket.request is not None and websocket.request.path == "/close":
            await websocket.close(int(message), "as asked")
        else:
            await websocket.send(message)


async def main() -> None:
    async with serve(echo, "127.0.0.1", int(sys.argv[1]), select_subprotocol=choose, process_request=page) as server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
