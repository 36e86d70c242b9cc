#!/usr/bin/env python3
"""Topics whose members are on several nodes, before a cluster of three NATS servers, or before Redis: whatever is killed, stopped,
cut off or slow, every member gets each message in order, or is told exactly how many it missed.

    conformance/run hub -- [--filter TEXT] [--full]
    conformance/run hub-redis -- [--filter TEXT] [--full]

Each case is run once, and twenty times with `--full`.
"""

import argparse
import itertools
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from ..harness import Report
from .node import Member, Node, Wire, nodes
from .servers import Nats, Redis, RedisCluster, Servers, until

FULL_ROUNDS = 20
TOPICS = itertools.count()


def topic() -> str:
    return f"room-{next(TOPICS)}"


def join(servers: Servers, room: str, *at: Node) -> list[Member]:
    """A member at each of these nodes, once each hears what the others say."""
    members = [Member(node, room) for node in at]
    for one, other in itertools.permutations(at, 2):
        servers.settle(room, one.server, other.server, other.kind)
    return members


def together(*calls: Callable[[], Any]) -> None:
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def nothing_happens(servers: Servers, kind: str = "") -> None:
    with nodes(servers, 0, 1, 2, kind=kind) as (one, two, three):
        members = join(servers, topic(), one, two, two, three)
        together(*(lambda name=name: members[name].say(str(name), range(500)) for name in (0, 1, 3)))
        for index, member in enumerate(members):
            member.all(1500 if index == 2 else 1000)
        if any(node.counters()["doubles"] for node in (one, two, three)):
            raise AssertionError("something came twice over the wire")


def joins_count(servers: Servers) -> None:
    """What another node sends as soon as a join is done arrives."""
    with nodes(servers, 0, 0) as (near, far):
        for number in range(100):
            room = topic()
            speaker, listener = Member(near, room), Member(far, room)
            speaker.say("a", range(number, number + 1))
            listener.all(1)


def server_killed(servers: Servers) -> None:
    """The server of the sender's node, then that of the listener's, is killed while messages come, and begins again."""
    with nodes(servers, 0, 1) as (near, far):
        speaker, beside, listener = join(servers, topic(), near, near, far)
        sending = threading.Thread(target=lambda: speaker.say("a", range(3000), 0.0005, heeds=beside))
        sending.start()
        for index in servers.killed:
            time.sleep(0.4)
            servers.kill(index)
            time.sleep(0.4)
            servers.begin(index)
        sending.join()
        # Some come after the last reconnect, or nothing would show that there was one.
        servers.ready()
        speaker.say("a", range(3000, 3100))
        beside.all(3100)
        listener.check(3100)


def node_killed(servers: Servers) -> None:
    """What a node sent before it was killed comes in order and without a hole; what members on others send goes on."""
    with nodes(servers, 0, 1, 2) as (dying, far, third):
        speaker, listener, other = join(servers, topic(), dying, far, third)
        speaker.say("a", range(500))
        other.say("b", range(100))
        dying.kill()
        other.say("b", range(100, 200))
        until("what the other node sent", lambda: listener.numbers.get("b", [])[-1:] == [199], 60)
        listener.in_order()
        if listener.missed or listener.numbers["b"] != list(range(200)):
            raise AssertionError("what the other node sent is not whole")
        if (heard := listener.numbers.get("a", [])) != list(range(len(heard))):
            raise AssertionError("what the killed node sent has a hole")


def node_stopped(servers: Servers) -> None:
    """A node that is stopped for some time gets what came meanwhile, or is told."""
    with nodes(servers, 0, 1) as (near, far):
        speaker, beside, listener = join(servers, topic(), near, near, far)
        far.signal(signal.SIGSTOP)
        speaker.say("a", range(20_000), filler="x" * 1000, heeds=beside)
        beside.all(20_000)
        far.signal(signal.SIGCONT)
        speaker.say("a", range(20_000, 20_100))
        listener.check(20_100)


def server_stopped(servers: Servers) -> None:
    """A server that is stopped for some time holds what it has, and loses nothing unseen."""
    with nodes(servers, 0, 1) as (near, far):
        speaker, listener = join(servers, topic(), near, far)
        speaker.say("a", range(500))
        servers.processes[servers.stopped].send_signal(signal.SIGSTOP)
        speaker.say("a", range(500, 1000))
        time.sleep(1)
        servers.processes[servers.stopped].send_signal(signal.SIGCONT)
        speaker.say("a", range(1000, 1500))
        listener.check(1500)


def member_slow(servers: Servers) -> None:
    """A member that does not read holds no other, and is told what it missed."""
    with nodes(servers, 0, 1) as (near, far):
        room = topic()
        slow = Member(far, room, reads=False)
        speaker, quick = join(servers, room, near, far)
        speaker.say("a", range(320), filler="x" * 60_000, heeds=quick)
        quick.all(320)
        slow.thread.start()
        slow.check(320)
        if not slow.missed:
            raise AssertionError("it was slow and missed nothing")


def cut_off(servers: Servers) -> None:
    """Of a node nothing passes to or from its server, then its connections end, then there are new ones: what either side said is
    heard on the other or told of, and members beside each other miss nothing."""
    with nodes(servers, 0) as (near,), Wire(servers.addresses(1)[0]) as wire:
        alone = Node(servers, 1, address=wire.address)
        try:
            speaker, beside, lonely, companion = join(servers, topic(), near, near, alone, alone)

            def talk(numbers: range) -> None:
                together(lambda: speaker.say("a", numbers), lambda: lonely.say("b", numbers))

            talk(range(200))
            beside.all(400)
            companion.all(400)
            wire.hold()
            talk(range(200, 400))
            time.sleep(0.5)
            wire.cut()
            talk(range(400, 600))
            time.sleep(0.5)
            wire.heal()
            said = itertools.count(600)

            def is_whole() -> bool:
                talk(range(number := next(said), number + 1))
                return beside.numbers["b"][-1] >= 600 and companion.numbers["a"][-1] >= 600

            until("what is said once it is healed", is_whole, 60)
            count = next(said)
            for member, own in ((beside, "a"), (companion, "b")):
                member.check(2 * count)
                if member.numbers[own] != list(range(count)):
                    raise AssertionError("something was lost on one node")
        finally:
            alone.kill()


CASES: dict[str, Callable[[Servers], None]] = {
    "all members on three nodes get all in order, once": nothing_happens,
    "what is sent once a join is done arrives": joins_count,
    "a server killed and back: all in order, or told how many": server_killed,
    "a node killed: what it sent has no hole": node_killed,
    "a node stopped: all in order, or told how many": node_stopped,
    "a server stopped: all in order, or told how many": server_stopped,
    "a slow member: the others get all, and it is told how many": member_slow,
    "a node cut off: all in order, or told how many": cut_off,
}
ALL = list(CASES)
# By what carries the messages: a name, the servers, and what is tried.
SUITES: dict[str, list[tuple[str, type[Servers], list[str]]]] = {
    "nats": [("NATS", Nats, ALL)],
    # Servers of a cluster say themselves where they are reached, so that no wire is between.
    "redis": [("Redis", Redis, ALL), ("a cluster of Redis", RedisCluster, ALL[:3])],
}
# The other way in which a node may ask for its topics.
KINDS = {"NATS": "shards", "Redis": "redis-sharded"}


def once_ready(servers: Servers, case: Callable[[Servers], None]) -> None:
    servers.ready()
    case(servers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("carrier", choices=SUITES, nargs="?", default="nats", help="what carries the messages")
    parser.add_argument("--filter", default="", help="only the cases whose line contains this text")
    parser.add_argument("--full", action="store_true", help=f"{FULL_ROUNDS} rounds of each case")
    options = parser.parse_args()
    report = Report()
    for name, make, wanted in SUITES[options.carrier]:
        cases = {f"{name}: {case}": CASES[case] for case in wanted}
        if kind := KINDS.get(name):
            cases[f"{name}: so they do with {kind}"] = partial(nothing_happens, kind=kind)
        rounds = range(1, FULL_ROUNDS + 1 if options.full else 2)
        chosen = [(f"{line} ({number})", case) for line, case in cases.items() for number in rounds if options.filter in line]
        if not chosen:
            continue
        servers = make()
        try:
            for line, case in chosen:
                report.run(line, partial(once_ready, servers, case))
        finally:
            servers.end()
    report.finish()


if __name__ == "__main__":
    main()
