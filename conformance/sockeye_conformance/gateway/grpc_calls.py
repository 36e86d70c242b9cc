"""gRPC through `sockeye gateway`: Python's `grpcio`, client and server, neither changed.

    conformance/run gateway-grpc [-- --filter TEXT]

HTTP/2 on both sides of the gateway, in cleartext and over TLS on each. What a client gives up is looked for at the server.
"""

import argparse
import itertools
import queue
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import h2.errors

from ..clients.websocket import equal
from ..harness import Gateway, Report
from ..proxies.proxy import Hop, make_certificate
from .grpc_site import PATIENCE_SECONDS, SERVICE, Site, Wire

CANCEL = int(h2.errors.ErrorCodes.CANCEL)
MIB = 1 << 20
# More than any window on the way.
MANY_OCTETS = 3 * MIB
MANY_CALLS = 50
MANY_MESSAGES = 1000
CLEARTEXT, TLS = Hop("HTTP/2", False), Hop("HTTP/2", True)


class Client:
    """A channel with a connection of its own, and the calls of the service."""

    def __init__(self, address: tuple[str, int], certificate: Path | None) -> None:
        # What the environment says of proxies is not meant for this, and connections are not shared with other cases.
        options = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1), ("grpc.max_receive_message_length", -1)]
        place = f"{address[0]}:{address[1]}"
        if certificate:
            credentials = grpc.ssl_channel_credentials(root_certificates=certificate.read_bytes())
            self.channel = grpc.secure_channel(place, credentials, options)
        else:
            self.channel = grpc.insecure_channel(place, options)

    def unary(self, method: str) -> Any:
        return self.channel.unary_unary(f"/{SERVICE}/{method}")

    def answers(self, method: str) -> Any:
        return self.channel.unary_stream(f"/{SERVICE}/{method}")

    def uploads(self, method: str) -> Any:
        return self.channel.stream_unary(f"/{SERVICE}/{method}")

    def talks(self, method: str) -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/{method}")


class Requests:
    """What a client says, a message at a time."""

    def __init__(self) -> None:
        self.waiting: queue.Queue[bytes | None] = queue.Queue()

    def say(self, message: bytes) -> None:
        self.waiting.put(message)

    def end(self) -> None:
        self.waiting.put(None)

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.waiting.get, None)


def failure(call: Callable[[], Any]) -> Any:
    """How a call fails."""
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("the call did not fail")


def check_unary(client: Client, _: Any) -> None:
    for message in (b"", b"hello", bytes(range(256)) * (MANY_OCTETS // 256)):
        equal(client.unary("Unary")(message, timeout=PATIENCE_SECONDS) == message, True, f"the answer to {len(message)} octets")


def check_metadata(client: Client, _: Any) -> None:
    said = [("said-text", "one, two"), ("said-text", "three"), ("said-octets-bin", bytes(range(256)))]
    _, call = client.unary("Unary").with_call(b"", metadata=said, timeout=PATIENCE_SECONDS)
    begins = [(key, value) for key, value in call.initial_metadata() if key.startswith("said-")]
    ends = [(key, value) for key, value in call.trailing_metadata() if key.startswith("said-")]
    # Of one name, what is in order stays so; the names' order means nothing.
    equal(sorted(begins), sorted(said), "metadata before the answer")
    behind = [("said-again-text", "one, two"), ("said-again-text", "three"), ("said-again-octets-bin", bytes(range(256)))]
    equal(sorted(ends), sorted(behind), "metadata behind the answer")


def check_compression(client: Client, _: Any) -> None:
    message = b"x" * MIB
    answer = client.unary("Unary")(message, compression=grpc.Compression.Gzip, timeout=PATIENCE_SECONDS)
    equal(answer == message, True, "the answer")


def check_server_stream(client: Client, _: Any) -> None:
    counted = client.answers("Count")(str(MANY_MESSAGES).encode(), timeout=PATIENCE_SECONDS)
    equal([int(number) for number in counted] == list(range(MANY_MESSAGES)), True, "messages in order")
    equal(list(client.answers("Count")(b"0", timeout=PATIENCE_SECONDS)), [], "messages of none")


def check_client_stream(client: Client, _: Any) -> None:
    numbers = (str(number).encode() for number in range(MANY_MESSAGES))
    equal(int(client.uploads("Sum")(numbers, timeout=PATIENCE_SECONDS)), sum(range(MANY_MESSAGES)), "sum")
    equal(client.uploads("Sum")(iter(()), timeout=PATIENCE_SECONDS), b"0", "sum of nothing")


def check_talk(client: Client, _: Any) -> None:
    """Nothing is said before the answer to what was said before: whatever waited for more on the way would wait for ever."""
    requests = Requests()
    call = client.talks("Talk")(iter(requests), timeout=PATIENCE_SECONDS)
    for number in range(100):
        message = b"%d" % number * (number * number)
        requests.say(message)
        equal(next(call) == message, True, f"answer {number}")
    requests.end()
    equal((list(call), call.code()), ([], grpc.StatusCode.OK), "the end")


def check_many(client: Client, _: Any) -> None:
    talks = []
    for number in range(MANY_CALLS):
        requests = Requests()
        requests.say(b"%d" % number)
        talks.append((number, requests, client.talks("Talk")(iter(requests), timeout=PATIENCE_SECONDS)))
    # All are open, for each has answered once and has not ended.
    for number, _requests, call in talks:
        equal(next(call), b"%d" % number, "answer")
    for number, requests, call in reversed(talks):
        requests.say(b"%d again" % number)
        requests.end()
        equal((list(call), call.code()), ([b"%d again" % number], grpc.StatusCode.OK), "the rest")


def check_error(client: Client, _: Any) -> None:
    """Trailers-Only: one block of fields that ends the stream."""
    error = failure(lambda: client.unary("Fail")(b"", timeout=PATIENCE_SECONDS))
    equal((error.code(), error.details()), (grpc.StatusCode.NOT_FOUND, "no such thing: 100 %, ß"), "status")
    why = {key: value for key, value in [*error.initial_metadata(), *error.trailing_metadata()] if key.startswith("x-")}
    equal(why, {"x-why": "as asked", "x-why-bin": bytes(range(256))}, "metadata")


def check_late_error(client: Client, _: Any) -> None:
    call = client.answers("FailLate")(b"", timeout=PATIENCE_SECONDS)
    equal([next(call), next(call)], [b"one", b"two"], "messages before it")
    error = failure(lambda: next(call))
    equal((error.code(), error.details()), (grpc.StatusCode.RESOURCE_EXHAUSTED, "that was all"), "status")


def check_early_error(client: Client, _: Any) -> None:
    """The server answers and will have no more, while its client still speaks."""
    endless = itertools.repeat(b"x" * 10_000)
    error = failure(lambda: client.uploads("Refuse")(endless, timeout=PATIENCE_SECONDS))
    equal((error.code(), error.details()), (grpc.StatusCode.INVALID_ARGUMENT, "not this"), "status")


def check_unknown(client: Client, _: Any) -> None:
    error = failure(lambda: client.unary("Nothing")(b"", timeout=PATIENCE_SECONDS))
    equal(error.code(), grpc.StatusCode.UNIMPLEMENTED, "status")


def check_deadline_is_told(client: Client, _: Any) -> None:
    left = float(client.unary("Unary")(b"time", timeout=100))
    # It is rounded up on its way.
    equal(90 < left < 110, True, f"of 100 s the server has {left}")


def check_cancel(client: Client, site: Site) -> None:
    """Before the response's head, and in the middle of its content."""
    waits = client.unary("Wait").future(b"waits", timeout=PATIENCE_SECONDS)
    equal(site.held.get(timeout=PATIENCE_SECONDS), "waits", "what waits")
    begun = client.answers("BeginAndWait")(b"begun", timeout=PATIENCE_SECONDS)
    equal(next(begun), b"begun", "message")
    begun.cancel()
    equal(site.given_up.get(timeout=PATIENCE_SECONDS), "begun", "what was given up first")
    equal(begun.code(), grpc.StatusCode.CANCELLED, "status")
    waits.cancel()
    equal(site.given_up.get(timeout=PATIENCE_SECONDS), "waits", "what was given up then")


# Of each, the client has a connection of its own to a gateway and a server that live on.
CALLS = {
    "unary calls, of no octet and of 3 MiB": check_unary,
    "metadata, before and behind, of text and of octets": check_metadata,
    "a compressed message": check_compression,
    f"a stream of {MANY_MESSAGES} messages from the server": check_server_stream,
    f"a stream of {MANY_MESSAGES} messages from the client": check_client_stream,
    "back and forth a hundred times": check_talk,
    f"{MANY_CALLS} calls at once": check_many,
    "an error in trailers alone": check_error,
    "an error behind two messages": check_late_error,
    "an error while the client still speaks": check_early_error,
    "a method that is not there": check_unknown,
    "the server learns of the deadline": check_deadline_is_told,
    "a call that is cancelled is given up by the server": check_cancel,
}


def deadline(front: Hop, folder: Path, *to: str) -> None:
    """Nothing of what the server says reaches the gateway, so that it is the client's end of the call that it hears of."""
    with Site() as site, Wire(site.address) as wire, gateway(wire.address, front, folder, *to) as ours:
        client = Client(ours.address, certificate(front, folder))
        equal(client.unary("Unary")(b"hello", timeout=PATIENCE_SECONDS), b"hello", "answer")
        before = [wire.resets.get_nowait() for _ in range(wire.resets.qsize())]
        wire.speaks.clear()
        for call in (client.unary("Unary"), lambda *a, **b: list(client.answers("Count")(*a, **b))):
            error = failure(lambda: call(b"1", timeout=0.5))
            equal(error.code(), grpc.StatusCode.DEADLINE_EXCEEDED, "status")
            equal(wire.resets.get(timeout=PATIENCE_SECONDS), CANCEL, "the code of RST_STREAM to the server")
        equal(before, [], "resets before that")


def unreachable(front: Hop, folder: Path, *to: str) -> None:
    """gRPC takes a 502 for UNAVAILABLE, and tries again later."""
    with Site() as site, gateway(site.address, front, folder, *to) as ours:
        client = Client(ours.address, certificate(front, folder))
        equal(client.unary("Unary")(b"hello", timeout=PATIENCE_SECONDS), b"hello", "answer")
        site.server.stop(None).wait()
        error = failure(lambda: client.unary("Unary")(b"hello", timeout=PATIENCE_SECONDS))
        equal(error.code(), grpc.StatusCode.UNAVAILABLE, "status")


def drained(front: Hop, folder: Path, *to: str) -> None:
    """A gateway that ends lets a call end first, and takes no other."""
    with Site() as site, gateway(site.address, front, folder, *to, "--drain", "20s") as ours:
        client, requests = Client(ours.address, certificate(front, folder)), Requests()
        call = client.talks("Talk")(iter(requests), timeout=PATIENCE_SECONDS)
        requests.say(b"before")
        equal(next(call), b"before", "answer before the drain")
        ours.process.send_signal(signal.SIGTERM)
        ours.asked = True
        requests.say(b"during")
        equal(next(call), b"during", "answer in the drain")
        requests.end()
        equal((list(call), call.code()), ([], grpc.StatusCode.OK), "the end")
        equal(ours.stop(), 0, "exit status")


SCENES = {
    "a deadline that runs out resets the call at the server": deadline,
    "a server that is gone is UNAVAILABLE": unreachable,
    "a drain lets a call end": drained,
}


def gateway(behind: Any, front: Hop, folder: Path, *more: str, tls_behind: bool = False) -> Gateway:
    files = ("--cert", str(folder / "certificate.pem"), "--key", str(folder / "key.pem")) if front.tls else ()
    return Gateway(behind, *files, *more, tls=front.tls, tls_behind=tls_behind)


def certificate(front: Hop, folder: Path) -> Path | None:
    return folder / "certificate.pem" if front.tls else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--filter", default="", help="only the cases whose line contains this text")
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_certificate(folder)
        for front, behind in itertools.product((CLEARTEXT, TLS), (CLEARTEXT, TLS)):
            calls(front, behind, folder, options, report)
        for front in (CLEARTEXT, TLS):
            for name, scene in SCENES.items():
                run(report, options, f"{front} in front: {name}", lambda: scene(front, folder, "--to", "h2"))
    report.finish()


def calls(front: Hop, behind: Hop, folder: Path, options: Any, report: Report) -> None:
    to = ["--to", "h2"]
    credentials = None
    if behind.tls:
        chain = (folder / "certificate.pem").read_bytes()
        credentials = grpc.ssl_server_credentials([((folder / "key.pem").read_bytes(), chain)])
        to += ["--upstream-ca", str(folder / "certificate.pem")]
    with Site(credentials) as site, gateway(site.address, front, folder, *to, tls_behind=behind.tls) as ours:
        for name, check in CALLS.items():
            line = f"{front} in front, {behind} behind: {name}"
            run(report, options, line, lambda: check(Client(ours.address, certificate(front, folder)), site))


def run(report: Report, options: Any, line: str, check: Callable[[], Any]) -> None:
    if options.filter in line:
        report.run(f"gRPC, {line}", check)


if __name__ == "__main__":
    main()
