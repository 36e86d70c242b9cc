"""A gRPC server as people have them, of `grpcio`, and a wire before it that is looked at. Messages are octets as they are."""

import contextlib
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any, Self

import grpc
import hyperframe.exceptions
import hyperframe.frame

PREFACE_LENGTH = 24
HEAD_LENGTH = 9
LOCALHOST = "127.0.0.1"
SERVICE = "sockeye.Conformance"
# Calls may wait for their client, each in a thread.
THREADS = 64
PATIENCE_SECONDS = 20


class Site:
    """The server, for as long as a `with` block lasts. Calls that wait are in `held`, and once they are over in `given_up`."""

    def __init__(self, credentials: Any = None) -> None:
        self.held: queue.Queue[str] = queue.Queue()
        self.given_up: queue.Queue[str] = queue.Queue()
        self.server = grpc.server(futures.ThreadPoolExecutor(THREADS))
        methods = {
            "Unary": grpc.unary_unary_rpc_method_handler(self.unary),
            "Count": grpc.unary_stream_rpc_method_handler(self.count),
            "Sum": grpc.stream_unary_rpc_method_handler(self.sum),
            "Talk": grpc.stream_stream_rpc_method_handler(self.talk),
            "Fail": grpc.unary_unary_rpc_method_handler(self.fail),
            "FailLate": grpc.unary_stream_rpc_method_handler(self.fail_late),
            "Refuse": grpc.stream_unary_rpc_method_handler(self.refuse),
            "Wait": grpc.unary_unary_rpc_method_handler(self.wait),
            "BeginAndWait": grpc.unary_stream_rpc_method_handler(self.begin_and_wait),
        }
        self.server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, methods),))
        place = f"{LOCALHOST}:0"
        port = self.server.add_secure_port(place, credentials) if credentials else self.server.add_insecure_port(place)
        self.address = (LOCALHOST, port)

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.server.stop(None).wait()

    def unary(self, request: bytes, context: Any) -> bytes:
        """The request, and its metadata before and behind it."""
        said = [(key, value) for key, value in context.invocation_metadata() if key.startswith("said-")]
        context.send_initial_metadata(said)
        context.set_trailing_metadata([(key.replace("said-", "said-again-"), value) for key, value in said])
        if request == b"time":
            return str(context.time_remaining()).encode()
        return request

    def count(self, request: bytes, context: Any) -> Iterator[bytes]:
        for number in range(int(request)):
            yield str(number).encode()

    def sum(self, requests: Iterator[bytes], context: Any) -> bytes:
        return str(sum(map(int, requests))).encode()

    def talk(self, requests: Iterator[bytes], context: Any) -> Iterator[bytes]:
        yield from requests

    def fail(self, request: bytes, context: Any) -> bytes:
        context.set_trailing_metadata([("x-why", "as asked"), ("x-why-bin", bytes(range(256)))])
        context.abort(grpc.StatusCode.NOT_FOUND, "no such thing: 100 %, ß")
        raise AssertionError("abort raises")

    def fail_late(self, request: bytes, context: Any) -> Iterator[bytes]:
        yield b"one"
        yield b"two"
        context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "that was all")

    def refuse(self, requests: Iterator[bytes], context: Any) -> bytes:
        """It has enough after one message, whatever its client has to say."""
        next(requests)
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not this")
        raise AssertionError("abort raises")

    def wait(self, request: bytes, context: Any) -> bytes:
        self.listen(request, context).wait(PATIENCE_SECONDS)
        return b""

    def begin_and_wait(self, request: bytes, context: Any) -> Iterator[bytes]:
        # Whoever gives up while this is on its way ends the generator here: what it is to do then is said before.
        over = self.listen(request, context)
        yield b"begun"
        over.wait(PATIENCE_SECONDS)

    def listen(self, request: bytes, context: Any) -> threading.Event:
        """Notes that a call is held, and when it is over."""
        over = threading.Event()

        def ended() -> None:
            self.given_up.put(request.decode())
            over.set()

        if not context.add_callback(ended):
            ended()
        self.held.put(request.decode())
        return over


class Wire:
    """Before the server at `behind`. What the gateway resets is in `resets`; what the server says can be held back."""

    def __init__(self, behind: tuple[str, int]) -> None:
        self.behind = behind
        self.resets: queue.Queue[int] = queue.Queue()
        self.speaks = threading.Event()
        self.speaks.set()
        self.listener = socket.create_server((LOCALHOST, 0))
        self.address = self.listener.getsockname()
        self.sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self.accept, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.speaks.set()
        self.listener.close()
        for each in self.sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                front, _ = self.listener.accept()
                back = socket.create_connection(self.behind)
                self.sockets += [front, back]
                threading.Thread(target=self.relay, args=(front, back, Frames(self.resets).arrived), daemon=True).start()
                threading.Thread(target=self.relay, args=(back, front, lambda _: self.speaks.wait()), daemon=True).start()

    @staticmethod
    def relay(source: socket.socket, to: socket.socket, look: Callable[[bytes], Any]) -> None:
        with contextlib.suppress(OSError):
            while octets := source.recv(65_536):
                look(octets)
                to.sendall(octets)
            to.shutdown(socket.SHUT_WR)


class Frames:
    """Finds the RST_STREAM frames in what a client sends."""

    def __init__(self, resets: "queue.Queue[int]") -> None:
        self.resets, self.octets, self.skip = resets, b"", PREFACE_LENGTH

    def arrived(self, octets: bytes) -> None:
        self.octets += octets
        while len(self.octets) >= self.skip + HEAD_LENGTH:
            head = self.octets[self.skip : self.skip + HEAD_LENGTH]
            frame, length = hyperframe.frame.Frame.parse_frame_header(memoryview(head))
            end = self.skip + HEAD_LENGTH + length
            if len(self.octets) < end:
                return
            if isinstance(frame, hyperframe.frame.RstStreamFrame):
                frame.parse_body(memoryview(self.octets[end - length : end]))
                self.resets.put(int(frame.error_code))
            self.octets, self.skip = self.octets[end:], 0
