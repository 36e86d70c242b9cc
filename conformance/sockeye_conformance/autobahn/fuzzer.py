"""Runs cases of Autobahn's suite as a WebSocket client or server over TCP, one after the other."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import txaio
from autobahn.twisted import websocket
from twisted.internet import defer
from twisted.internet.endpoints import HostnameEndpoint, TCP4ServerEndpoint, connectProtocol

from .suite import CASES, octets

txaio.use_twisted()

# Frames of one case.
MAX_WIRE_LOG = 200


@dataclass
class Outcome:
    """What the suite says about one case."""

    behavior: str
    close: str
    seconds: float
    why: str
    wire: list[str] = field(repr=False)

    @property
    def verdict(self) -> Any:
        """The suite's word on the behaviour, and on the close where it is another."""
        return self.behavior if self.close == self.behavior else f"{self.behavior} (close {self.close})"


class Shell:
    """What a case sees of its connection: its timers, its log, and frames of any kind to send."""

    case: Any = None

    def connectionMade(self) -> None:
        self.started = time.monotonic()
        self.connectionWasOpen = False
        self.createWirelog = True
        self.wire: list[str] = []
        self.txFrameStats: Counter[Any] = Counter()
        super().connectionMade()

    def connectionLost(self, reason: str) -> None:
        super().connectionLost(reason)
        if not self.case:
            return
        self.case.onConnectionLost(self.failedByMe)
        why = [self.case.result, self.case.resultClose, self.wasNotCleanReason or ""]
        seconds = time.monotonic() - self.started
        self.ended.callback(Outcome(self.case.behavior, self.case.behaviorClose, seconds, "; ".join(filter(None, why)), self.wire))

    def onOpen(self) -> None:
        self.connectionWasOpen = True
        self.case.onOpen()

    def onMessage(self, payload: Any, is_binary: Any) -> None:
        self.case.onMessage(payload, is_binary)

    def onPong(self, payload: Any) -> None:
        self.case.onPong(payload)

    def onClose(self, was_clean: Any, code: int, reason: str) -> None:
        if self.case:
            self.case.onClose(was_clean, code, reason)

    # What cases call.

    def later(self, seconds: float, action: Any) -> None:
        def act() -> None:
            if self.state != self.STATE_CLOSED:
                action()

        self.factory.reactor.callLater(seconds, act)

    def continueLater(self, seconds: float, action: Any, _tag: Any = None) -> None:
        self.later(seconds, action)

    def killAfter(self, seconds: float) -> None:
        self.later(seconds, self.failConnection)

    def closeAfter(self, seconds: float) -> None:
        self.later(seconds, self.sendClose)

    def enableWirelog(self, enable: Any) -> None:
        self.createWirelog = enable

    def sendFrame(self, opcode: int, payload: bytes = b"", payload_len: Any = None, **options: Any) -> None:
        payload = octets(payload)
        if payload_len is not None:
            payload = (payload * (payload_len // len(payload) + 1))[:payload_len]
        super().sendFrame(opcode, payload=payload, **options)

    def sendMessage(self, payload: Any, isBinary: bool = False, **options: Any) -> None:
        super().sendMessage(octets(payload), isBinary, **options)

    def sendMessageFrameData(self, payload: Any, sync: bool = False) -> None:
        super().sendMessageFrameData(octets(payload), sync)

    def sendCloseFrame(self, code: int | None = None, reasonUtf8: Any = None, isReply: bool = False) -> None:
        super().sendCloseFrame(code, octets(reasonUtf8), isReply)

    # What Autobahn's WebSocket tells where `logFrames` is on.

    def logTxFrame(self, header: Any, payload: Any, *_: Any) -> None:
        self.txFrameStats[header.opcode] += 1
        self.log_frame("sent", header, [payload])

    def logRxFrame(self, header: Any, payload: Any) -> None:
        self.log_frame("received", header, payload)

    def log_frame(self, what: str, header: Any, payload: Any) -> None:
        if self.createWirelog and len(self.wire) < MAX_WIRE_LOG:
            start = b"".join(payload)[:64].hex()
            self.wire.append(f"{what} opcode {header.opcode} fin {header.fin} rsv {header.rsv} length {header.length}: {start}")


class ClientProtocol(Shell, websocket.WebSocketClientProtocol):
    pass


class ServerProtocol(Shell, websocket.WebSocketServerProtocol):
    """The case is named by the request, as the suite's server has it."""

    def onConnect(self, request: Any) -> None:
        self.path = request.path
        if self.path == "/runCase":
            self.agent = request.params["agent"][0]
            self.id = self.factory.ids[int(request.params["case"][0]) - 1]
            self.ended = defer.Deferred()
            self.ended.addCallback(lambda outcome: self.factory.report(self.id, outcome))
            self.case = CASES[self.id](self)
        elif self.path not in ("/getCaseCount", "/updateReports"):
            raise ValueError(f"nothing at {self.path}")

    def onOpen(self) -> Any:
        if self.case:
            return super().onOpen()
        if self.path == "/getCaseCount":
            self.sendMessage(str(len(self.factory.ids)))
        self.sendClose()


def configured(factory: Any) -> Any:
    """Fails connections by a Close, as RFC 6455 §7.1.7 asks."""
    factory.setProtocolOptions(failByDrop=False)
    factory.logFrames = True
    return factory


async def run_client(reactor: Any, url: Any, ids: Any, report: Any) -> None:
    """Runs the cases against the server at `url`; `report(id, outcome)` gets each."""
    for id in ids:
        factory = configured(websocket.WebSocketClientFactory(url, reactor=reactor))
        protocol = ClientProtocol()
        protocol.factory = factory
        protocol.ended = defer.Deferred()
        protocol.case = CASES[id](protocol)
        await connectProtocol(HostnameEndpoint(reactor, factory.host, factory.port), protocol)
        report(id, await protocol.ended)


async def listen(reactor: Any, ids: Any, report: Any) -> Any:
    """A server that has the cases; `report(id, outcome)` gets each that a client runs. Gives the port to stop."""
    factory = configured(websocket.WebSocketServerFactory(reactor=reactor))
    factory.protocol = ServerProtocol
    factory.ids, factory.report = ids, report
    return await TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1").listen(factory)
