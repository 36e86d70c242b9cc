"""What there is to know of a program before it runs: how it is installed, started and asked."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from .install import HERE, Box

APPS = HERE / "apps"


@dataclass(frozen=True)
class Place:
    """What a server or a proxy is started with."""

    box: Box
    # A folder for its configuration, with certificate.pem, key.pem and both.pem.
    folder: Path
    # Where it has to listen, over TLS.
    port: int
    # For a proxy: the port of `sockeye serve` in cleartext, which speaks HTTP/1.1 and HTTP/2.
    behind: int

    @property
    def certificate(self) -> str:
        return str(self.folder / "certificate.pem")

    @property
    def key(self) -> str:
        return str(self.folder / "key.pem")

    @property
    def both(self) -> str:
        return str(self.folder / "both.pem")

    def file(self, name: str, text: str) -> str:
        """Writes a configuration, and says where it stands."""
        path = self.folder / name
        path.write_text(text)
        return str(path)


@dataclass(frozen=True)
class Start:
    """A command that runs until it is ended."""

    command: list[str]
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Program:
    name: str
    # The table of `pins.toml` that it is installed from.
    pins: str
    # How it was started, for people.
    how: str
    # What to do about where it breaks, for people; nothing where it does not.
    advice: str = ""


@dataclass(frozen=True)
class Server(Program):
    start: Callable[[Place], Start] = lambda _: Start([])
    path: str = "/echo"
    # What `sockeye probe` sends; nothing to a server that speaks a protocol of its own in its WebSockets.
    message: str = "sockeye probe"


@dataclass(frozen=True)
class Proxy(Server):
    """A server that has `sockeye serve` behind it."""


@dataclass(frozen=True)
class Client(Program):
    """A program that takes a URL, and prints a line of JSON about what it saw."""

    start: Callable[[Box, str], Start] = lambda _, __: Start([])
