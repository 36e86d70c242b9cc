"""An echo in Sanic."""

from typing import Any

from sanic import Sanic

app = Sanic("echo")


@app.websocket("/echo")
async def echo(_request: Any, socket: Any) -> None:
    async for message in socket:
        await socket.send(message)
