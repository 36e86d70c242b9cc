"""`server.py LIBRARY PORT CERTIFICATE KEY`: an echo on one of Python's libraries that are servers of their own."""

import asyncio
import ssl
import sys
from typing import Any


def context(certificate: str, key: str) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(certificate, key)
    return made


async def websockets(port: int, tls: ssl.SSLContext) -> None:
    from websockets.asyncio.server import serve

    async def echo(socket: Any) -> None:
        async for message in socket:
            await socket.send(message)

    async with serve(echo, "127.0.0.1", port, ssl=tls):
        await asyncio.Event().wait()


async def aiohttp(port: int, tls: ssl.SSLContext) -> None:
    from aiohttp import WSMsgType, web

    async def echo(request: Any) -> Any:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for message in socket:
            if message.type == WSMsgType.TEXT:
                await socket.send_str(message.data)
        return socket

    app = web.Application()
    app.router.add_get("/echo", echo)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls).start()
    await asyncio.Event().wait()


async def tornado(port: int, tls: ssl.SSLContext) -> None:
    from tornado.web import Application
    from tornado.websocket import WebSocketHandler

    class Echo(WebSocketHandler):
        def on_message(self, message: Any) -> None:
            self.write_message(message)

    Application([("/echo", Echo)]).listen(port, "127.0.0.1", ssl_options=tls)
    await asyncio.Event().wait()


async def picows(port: int, tls: ssl.SSLContext) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_create_server

    class Echo(WSListener):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            elif frame.msg_type == WSMsgType.PING:
                transport.send_pong(frame.get_payload_as_bytes())
            else:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    server = await ws_create_server(lambda _: Echo(), "127.0.0.1", port, ssl=tls)
    await server.serve_forever()


if __name__ == "__main__":
    library, port, certificate, key = sys.argv[1:]
    asyncio.run(globals()[library](int(port), context(certificate, key)))
