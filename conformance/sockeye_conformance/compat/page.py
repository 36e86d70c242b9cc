"""The page, from what is kept. The same results make the same page."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

from .programs import Client, Program, Proxy

Facts = dict[str, Any]
Rows = Sequence[tuple[Program, Facts]]
WORKS = ("works", "works_over_http2_only")
# What `probe` calls it, and what that means to a page in a browser.
VERDICTS = {
    "works": "over HTTP/2 and HTTP/1.1",
    "works_over_http2_only": "over HTTP/2 alone",
    "not_offered_over_http2": "over HTTP/1.1; HTTP/2 without extended CONNECT",
    "http2_not_spoken": "over HTTP/1.1; no HTTP/2",
    "refused_over_http2": "extended CONNECT is offered, and refused",
    "faulty_over_http2": "open over HTTP/2, with a fault",
    "faulty_over_http1": "open over HTTP/1.1, with a fault",
    "does_not_work": "over neither",
    "unreachable": "no connection",
}


def page(programs: Iterable[Program], results: dict[str, Facts]) -> str:
    kept = [(program, results[program.name]) for program in programs if program.name in results]
    clients = [(program, seen) for program, seen in kept if isinstance(program, Client)]
    proxies = [(program, seen) for program, seen in kept if isinstance(program, Proxy)]
    servers = [(program, seen) for program, seen in kept if not isinstance(program, Client | Proxy)]
    parts = [
        "# Who speaks RFC 8441 today",
        "<!-- conformance/compat writes this page: change that, not this. -->",
        introduction(kept, [*servers, *proxies], clients),
        "## Servers and runtimes",
        served_table(servers),
        "## Proxies",
        "Each stands over TLS in front of `sockeye serve`, which takes both versions of HTTP in cleartext.",
        served_table(proxies),
        "## Clients and browsers",
        client_table(clients),
        "## One by one",
        *(one(program, seen) for program, seen in kept),
    ]
    return "\n\n".join(parts) + "\n"


def introduction(kept: Rows, served: Rows, clients: Rows) -> str:
    days = sorted(seen["seen"] for _, seen in kept) or ["?"]
    when = days[0] if days[0] == days[-1] else f"{days[0]} to {days[-1]}"
    kinds = [seen["probe"]["verdict"]["kind"] for _, seen in served]
    offering = sum(seen["probe"]["http2"]["enable_connect_protocol"] is True for _, seen in served)
    over_http2 = sum("HTTP/2" in seen["server"]["over"] for _, seen in clients)
    installations = len({program.pins for program, _ in kept})
    return (
        f"What {installations} real programs from the registries, in {len(kept)} set-ups, do with WebSockets over HTTP/2. Each was "
        f"started with valid input on one machine ({when}), and looked at by `sockeye probe`, by `sockeye connect` or, where "
        "it is a client, by `sockeye serve`. Facts are generated; what to do about them is written by hand. "
        "`conformance/compat` repeats it, and its `--only NAME` one of them.\n\n"
        f"Of {len(served)} servers and proxies {offering} offer extended CONNECT, and {sum(kind in WORKS for kind in kinds)} of "
        f"those work. Of {len(clients)} clients {over_http2} open WebSockets over HTTP/2 here."
    )


def served_table(rows: Rows) -> str:
    lines = [
        "| set-up | version | `probe` says | WebSockets open | over HTTP/2 | over HTTP/1.1 | our client |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for program, seen in rows:
        found, kind = seen["probe"], seen["probe"]["verdict"]["kind"]
        cells = [link(program.name), seen["version"], f"`{kind}`", VERDICTS[kind]]
        cells += [over_http2(found["http2"]), over_http1(found["http1"]), our_client(seen["connect"])]
        lines.append(f"| {' | '.join(cell(text) for text in cells)} |")
    return "\n".join(lines)


def over_http2(seen: Facts) -> str:
    if seen["enable_connect_protocol"] is None:
        return "not spoken"
    if not seen["enable_connect_protocol"]:
        return "not offered"
    facts = [opened(seen)]
    if seen["accepted"] and (sockets := seen["sockets"]):
        facts.append(f"{sockets['opened']} of {sockets['asked']} at once")
    return ", ".join(facts)


def over_http1(seen: Facts) -> str:
    return opened(seen)


def opened(seen: Facts) -> str:
    if seen["status"] is None:
        return "no answer"
    facts = [str(seen["status"])]
    if seen["accepted"]:
        facts.append("echo" if seen["echo"] else "no echo")
        facts.append(ending(seen["close"]))
    return ", ".join(facts)


def ending(close: Facts | None) -> str:
    if close is None:
        return "no end"
    code = "no Close" if close["code"] is None else f"Close {close['code']}"
    return f"{code}, {close['end'] or 'left open'}"


def our_client(seen: Facts) -> str:
    if not seen["over"]:
        return "did not open"
    echo = {True: ", echo", False: ", no echo", None: ""}[seen["echo"]]
    return f"{seen['over']}{echo}"


def client_table(rows: Rows) -> str:
    lines = [
        "| client | version | opened over | extended CONNECT | echo | its close event | our server saw |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for program, seen in rows:
        client, server = seen["client"], seen["server"]
        over = server["over"][0] if server["over"] else "did not open"
        code = client.get("code")
        event = "–" if code is None else f"{code}{', not clean' if client.get('clean') is False else ''}"
        cells = [link(program.name), seen["version"], over, "yes" if over == "HTTP/2" else "no"]
        cells += ["yes" if client.get("echoed") else "no", event, server_saw(server)]
        lines.append(f"| {' | '.join(cell(text) for text in cells)} |")
    return "\n".join(lines)


def server_saw(seen: Facts) -> str:
    facts = []
    if seen["web_sockets_closed"]:
        facts.append("a closing handshake")
    elif seen["web_sockets"]:
        facts.append("no closing handshake")
    if seen["resets_received"]:
        facts.append("RST_STREAM")
    if seen["handshakes_refused"]:
        facts.append("a handshake it refused")
    if seen["tls_failures"] and not seen["web_sockets"]:
        facts.append("TLS that failed")
    return ", ".join(facts) or "nothing of a WebSocket"


def one(program: Program, seen: Facts) -> str:
    lines = [f"### {program.name}", f"Version {seen['version']}, started as: {program.how}."]
    lines += client_lines(seen) if isinstance(program, Client) else served_lines(seen)
    if program.advice:
        lines.append(f"**What to do:** {program.advice}")
    return "\n\n".join(lines)


def served_lines(seen: Facts) -> list[str]:
    verdict, http2 = seen["probe"]["verdict"], seen["probe"]["http2"]
    lines = [f"> {prose(verdict['text'])}"]
    if verdict["next_step"]:
        lines.append(f"> Next: {prose(verdict['next_step'])}")
    lines += [f"> Note: {prose(note)}" for note in verdict["notes"]]
    quoted = ["\n>\n".join(lines)]
    facts = []
    if http2["alpn"]:
        facts.append(f"ALPN {http2['alpn']}")
    if http2["max_concurrent_streams"] is not None:
        facts.append(f"{http2['max_concurrent_streams']} streams a connection")
    if (chromium := http2["close_with_end_stream"]) is not None:
        facts.append(f"to a Close as Chromium sends it: {ending(chromium)}")
    quoted += [f"Seen besides: {'; '.join(facts)}."] if facts else []
    connect = seen["connect"]
    if not connect["over"]:
        quoted.append(f"`sockeye connect`: {prose(' '.join(connect['said']))}")
    return quoted


def client_lines(seen: Facts) -> list[str]:
    client, server = seen["client"], seen["server"]
    lines = [f"It said: {prose(str(client['error']))}"] if client.get("error") else []
    return lines + [f"Our server refused a handshake: {prose(reason)}" for reason in server["refused"]]


def link(name: str) -> str:
    return f"[{name}](#{slug(name)})"


def slug(heading: str) -> str:
    """The anchor that mdBook gives a heading."""
    return re.sub(r"[^\w-]", "", heading.lower().replace(" ", "-"))


def prose(text: str) -> str:
    """What a program said is text here, no HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def cell(text: str) -> str:
    return text.replace("|", "\\|")
