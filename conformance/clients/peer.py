"""A server of other people's parts, HTTP/2 and HTTP/1.1 on one port, whose cases do one thing otherwise."""

import socket
import threading
from contextlib import contextmanager, suppress

import h2.config
import h2.connection
import h2.events
import h2.settings
from wsproto import ConnectionType, WSConnection
from wsproto.connection import Connection as Codec
from wsproto.events import AcceptConnection, CloseConnection, Ping, Request, TextMessage
from wsproto.utilities import LocalProtocolError

# RFC 9113 §3.4
PREFACE = b"PRI * HTTP/2.0"


def equal(actual, expected, what):
    if actual != expected:
        raise AssertionError(f"{what}: got {actual!r}, wanted {expected!r}")


def contains(text, part, what):
    if part not in text:
        raise AssertionError(f"{what}: no {part!r} in {text!r}")


class Peer:
    """A server in cleartext, HTTP/2 and HTTP/1.1 on one port. Each case overrides what it does otherwise."""

    settings = {h2.settings.SettingCodes.ENABLE_CONNECT_PROTOCOL: 1}

    def answer(self, http, stream_id, headers):
        """An extended CONNECT came."""
        http.send_headers(stream_id, [(":status", "200")])

    def opened(self, http, stream_id, codec):
        """The WebSocket is open."""

    def received(self, http, stream_id, codec, event):
        """Something came on the WebSocket."""
        match event:
            case TextMessage() | Ping():
                http.send_data(stream_id, codec.send(event if isinstance(event, TextMessage) else event.response()))
            case CloseConnection():
                self.close(http, stream_id, codec.send(event.response()))

    def close(self, http, stream_id, close_frame):
        """A Close came; this one is to be sent."""
        http.send_data(stream_id, close_frame, end_stream=True)

    @contextmanager
    def listening(self):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"
            listener.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener):
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        # A client ends its connections when it has seen enough, and speaks on after a Close that came too early.
        with suppress(OSError, LocalProtocolError), connection:
            octets = connection.recv(65_536)
            if octets.startswith(PREFACE):
                self._serve_http2(connection, octets)
            else:
                self._serve_http1(connection, octets)

    def _serve_http2(self, connection, octets):
        http = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="utf-8"))
        http.local_settings = h2.settings.Settings(client=False, initial_values=self.settings)
        http.initiate_connection()
        codecs = {}
        while octets:
            for event in http.receive_data(octets):
                match event:
                    case h2.events.RequestReceived():
                        codecs[event.stream_id] = Codec(ConnectionType.SERVER)
                        self.answer(http, event.stream_id, dict(event.headers))
                        self.opened(http, event.stream_id, codecs[event.stream_id])
                    case h2.events.DataReceived() if event.data:
                        codec = codecs[event.stream_id]
                        codec.receive_data(event.data)
                        for message in codec.events():
                            self.received(http, event.stream_id, codec, message)
            connection.sendall(http.data_to_send())
            octets = connection.recv(65_536)

    def _serve_http1(self, connection, octets):
        websocket = WSConnection(ConnectionType.SERVER)
        while octets:
            websocket.receive_data(octets)
            for event in websocket.events():
                match event:
                    case Request():
                        connection.sendall(websocket.send(AcceptConnection()))
                    case TextMessage():
                        connection.sendall(websocket.send(event))
                    case Ping():
                        connection.sendall(websocket.send(event.response()))
                    case CloseConnection():
                        connection.sendall(websocket.send(event.response()))
                        return
            octets = connection.recv(65_536)


class WithoutExtendedConnect(Peer):
    settings = {}
