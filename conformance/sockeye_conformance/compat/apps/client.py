"""`client.py LIBRARY URL`: one echo and a Close by one of Python's clients; a line of JSON tells it."""

import asyncio
import json
import ssl
import sys
from typing import Any

said: dict[str, Any] = {"opened": False, "echoed": False, "code": None, "clean": None, "error": None}


def any_certificate(*protocols: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def websockets(url: str) -> None:
    from websockets.asyncio.client import connect

    async with connect(url, ssl=any_certificate()) as socket:
        said["opened"] = True
        await socket.send("hello")
        said["echoed"] = await socket.recv() == "hello"
    said["code"] = socket.close_code


async def aiohttp(url: str) -> None:
    from aiohttp import ClientSession

    async with ClientSession() as session, session.ws_connect(url, ssl=any_certificate()) as socket:
        said["opened"] = True
        await socket.send_str("hello")
        said["echoed"] = await socket.receive_str() == "hello"
        await socket.close()
        said["code"] = socket.close_code


async def httpx_ws(url: str, http2: bool = False) -> None:
    from httpx import AsyncClient
    from httpx_ws import aconnect_ws

    async with AsyncClient(verify=any_certificate(), http2=http2, http1=not http2) as client, aconnect_ws(url, client) as socket:
        said["opened"] = True
        await socket.send_text("hello")
        said["echoed"] = await socket.receive_text() == "hello"


async def httpx_ws_http2(url: str) -> None:
    await httpx_ws(url, http2=True)


async def picows(url: str) -> None:
    from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

    class Client(WSListener):
        def on_ws_connected(self, transport: WSTransport) -> None:
            said["opened"] = True
            transport.send(WSMsgType.TEXT, b"hello")

        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                said["code"] = int(frame.get_close_code())
                transport.disconnect()
                return
            said["echoed"] = frame.get_payload_as_bytes() == b"hello"
            transport.send_close(WSCloseCode.OK, b"done")

    transport, _ = await ws_connect(Client, url, ssl_context=any_certificate())
    await transport.wait_disconnected()


async def niquests(url: str, scheme: str = "wss") -> None:
    import niquests

    # Its WebSockets are synchronous.
    def talk() -> None:
        with niquests.Session() as session:
            response = session.get(url.replace("wss", scheme, 1), verify=False)
            extension: Any = response.extension
            if extension is None:
                raise RuntimeError(f"status {response.status_code}")
            said["opened"] = True
            extension.send_payload("hello")
            said["echoed"] = extension.next_payload() == "hello"
            extension.close()

    await asyncio.to_thread(talk)


async def niquests_rfc8441(url: str) -> None:
    await niquests(url, "wss+rfc8441")


async def websocket_client(url: str) -> None:
    import websocket

    def talk() -> None:
        socket = websocket.create_connection(url, sslopt={"cert_reqs": ssl.CERT_NONE, "check_hostname": False})
        said["opened"] = True
        socket.send("hello")
        said["echoed"] = socket.recv() == "hello"
        socket.close()

    await asyncio.to_thread(talk)


async def curl_cffi(url: str) -> None:
    from curl_cffi import AsyncSession

    async with AsyncSession(impersonate="chrome", verify=False) as session:
        socket = await session.ws_connect(url)
        said["opened"] = True
        await socket.send_str("hello")
        said["echoed"] = await socket.recv_str() == "hello"
        await socket.close()


async def tornado(url: str) -> None:
    from tornado.httpclient import HTTPRequest
    from tornado.websocket import websocket_connect

    socket = await websocket_connect(HTTPRequest(url, validate_cert=False))
    said["opened"] = True
    await socket.write_message("hello")
    said["echoed"] = await socket.read_message() == "hello"
    socket.close(1000, "done")
    await socket.read_message()
    said["code"] = socket.close_code


if __name__ == "__main__":
    library, address = sys.argv[1:]
    try:
        asyncio.run(asyncio.wait_for(globals()[library](address), 15))
    except Exception as error:  # whatever stops it is what there is to tell
        said["error"] = f"{type(error).__name__}: {error}".split("\n")[0][:200]
    print(json.dumps(said))
