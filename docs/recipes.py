"""Runs the commands of a page of the book, as the page has them, on the files that it shows.

What begins a server goes on beside the commands that follow; all else has to end with success, and what a `text` block behind it
shows has to be what it printed. Only ports, the folder of the certificate and the versions of packages are replaced.
"""

import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs/src/how-to/gateway"
TRIED = ROOT / "docs/src/how-to/tried"
PROJECTS = ROOT / "conformance/gateway/projects"
CACHE = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "docs-recipes"
PORTS = (3000, 8000, 8080, 5173, 4433, 443, 4222, 8081, 8082)
SERVERS = ("node ", "python server.py", "uvicorn ", "daphne ", "npx vite", "go run", "haproxy ", "sockeye gateway ", "sockeye serve ", "nats-server ")
# What prints what the page shows.
PRINTS = ("curl ", "python client.py")
# What a page is about that builds upon another one.
OUTERMOST = ("sockeye gateway ", "sockeye probe ", "curl ")
PATIENCE_SECONDS = 60


class Recipe(NamedTuple):
    """A page, or one of its sections."""

    page: str
    section: str
    # The folder of its files.
    files: Path
    programs: tuple[str, ...]
    # It takes long to install or to start, so it is run by its name alone.
    is_heavy: bool = False
    # The recipe whose server it stands before.
    before: str = ""


MACHINES = "../several-machines.md"
RECIPES = {
    "node": Recipe("node.md", "", TRIED / "node", ("node", "npm")),
    "python": Recipe("python.md", "uvicorn", TRIED / "python", ()),
    "django": Recipe("python.md", "Django", TRIED / "django", ()),
    "go": Recipe("go.md", "", TRIED / "go", ("go",), is_heavy=True),
    "vite": Recipe("vite.md", "", PROJECTS / "vite", ("node", "npm"), is_heavy=True),
    "grpc": Recipe("grpc.md", "", TRIED / "grpc", ()),
    "terminator": Recipe("terminator.md", "", TRIED / "terminator", ("haproxy", "node", "npm"), before="node"),
    "topics": Recipe(MACHINES, "Try it", TRIED / "topics", ("nats-server",)),
    "topics-haproxy": Recipe(MACHINES, "Behind HAProxy", TRIED / "topics", ("haproxy", "nats-server"), before="topics"),
    "topics-gateway": Recipe(MACHINES, "Behind the gateway", TRIED / "topics", ("nats-server",), before="topics"),
}
# The versions that the pages name: another one is another try.
PINS = {
    "express": "express@5.3.0",
    "ws": "ws@8.23.0",
    "vite": "vite@8.3.8",
    "fastapi": "fastapi==0.163.2",
    "uvicorn": "uvicorn==0.54.0",
    "websockets": "websockets==17.4",
    "django": "django==5.2.8",
    "channels": "channels==4.3.2",
    "daphne": "daphne==4.2.3",
    "grpcio": "grpcio==1.85.3",
}


class Step(NamedTuple):
    """A command, and what the page says that it prints."""

    command: str
    printed: str


def steps(recipe: Recipe) -> list[Step]:
    """The commands of the page's `sh` blocks; a `text` block belongs to the last command before it that prints."""
    text = (PAGES / recipe.page).read_text()
    if recipe.section:
        text = next(part for part in text.split("\n## ") if part.startswith(recipe.section))
    found: list[Step] = []
    for kind, block in re.findall(r"^```(sh|text)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if kind == "sh":
            found += [Step(line, "") for line in block.splitlines()]
        elif "{{#include" not in block:
            last = max(number for number, step in enumerate(found) if step.command.startswith(PRINTS))
            found[last] = found[last]._replace(printed=block)
    return found


def attempt(name: str, sockeye: str, certificates: Path, ports: dict[int, int]) -> str:
    """Nothing where all went as the page says, else what did not."""
    recipe = RECIPES[name]
    running: list[subprocess.Popen[bytes]] = []
    try:
        for part in filter(None, (recipe.before, name)):
            kitchen = Kitchen(RECIPES[part], sockeye, certificates, ports)
            for step in steps(RECIPES[part]):
                # Of the page that another one builds upon the server counts alone.
                if part == name or not step.command.startswith(OUTERMOST):
                    kitchen.run(step, running)
        if name == "vite":
            kitchen.ask_vite()
        elif name.startswith("topics"):
            kitchen.ask_topics(recipe.before != "")
    except (RuntimeError, subprocess.SubprocessError, OSError) as error:
        return str(error)
    finally:
        for process in reversed(running):
            os.killpg(process.pid, signal.SIGTERM)
        for process in reversed(running):
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
    return ""


class Kitchen:
    """A folder with the files of a recipe, in which its commands run."""

    def __init__(self, recipe: Recipe, sockeye: str, certificates: Path, ports: dict[int, int]) -> None:
        self.certificates, self.ports, self.sockeye = certificates, ports, Path(sockeye).resolve()
        self.folder = CACHE / recipe.files.name
        self.folder.mkdir(parents=True, exist_ok=True)
        for file in recipe.files.iterdir():
            (self.folder / file.name).write_text(self.localized(file.read_text()))
        programs = self.folder / "bin"
        programs.mkdir(exist_ok=True)
        (programs / "sockeye").unlink(missing_ok=True)
        (programs / "sockeye").symlink_to(self.sockeye)
        path = [programs, self.folder / "venv/bin", os.environ["PATH"]]
        # Debian's packages of Go are sources in this folder, and no modules.
        debian = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(CACHE / "go-cache")}
        self.environment = {**os.environ, "PATH": ":".join(map(str, path)), "PYTHONDONTWRITEBYTECODE": "1", **debian}

    def localized(self, text: str) -> str:
        text = text.replace("/etc/sockeye", str(self.certificates))
        return re.sub(r"(?<=[:( ])(\d{3,4})\b", lambda port: str(self.ports.get(int(port[1]), port[1])), text)

    def run(self, step: Step, running: "list[subprocess.Popen[bytes]]") -> None:
        command = step.command
        if command.startswith(("npm install ", "pip install ")):
            self.install(command)
        elif command.startswith("go mod "):
            pass  # the library is Debian's
        elif command.startswith(SERVERS):
            self.start(command, running)
        else:
            self.hold(step)

    def install(self, command: str) -> None:
        pinned = " ".join(PINS.get(word, word) for word in command.split())
        done = self.folder / "installed"
        if done.exists() and done.read_text() == pinned:
            return
        if pinned.startswith("pip "):
            subprocess.run([sys.executable, "-m", "venv", "venv"], cwd=self.folder, check=True, capture_output=True)
            pinned = f"{pinned} --quiet --disable-pip-version-check"
        else:
            (self.folder / "package.json").write_text('{"private": true}')
            pinned = f"{pinned} --silent --no-audit --no-fund"
        self.call(pinned)
        done.write_text(pinned.split(" --")[0])

    def start(self, command: str, running: "list[subprocess.Popen[bytes]]") -> None:
        ports = [self.ports[port] for port in PORTS if port not in (443, 4433)]
        here = self.localized(command)
        if command.startswith("sockeye gateway http"):
            here += f" --listen 127.0.0.1:{self.ports[4433]}"
            ports = [self.ports[4433]]
        elif command.startswith("npx vite"):
            here += f" --port {self.ports[5173]} --strictPort"
        elif command.startswith("haproxy"):
            here, ports = f"{here} -db", [self.ports[443]]
        elif command.startswith("sockeye gateway --config"):
            ports = [int(port) for port in re.findall(r'^listen = .*:(\d+)"', (self.folder / "gateway.toml").read_text(), re.MULTILINE)]
        elif listen := re.search(r" --(?:listen 127.0.0.1:|port )(\d+)", here):
            ports = [int(listen[1])]
        with open(self.folder / "log", "ab") as log:
            log.truncate(0)
            process = subprocess.Popen(
                shlex.split(here), cwd=self.folder, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        running.append(process)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not any(map(listens, ports)):
            if process.poll() is not None or time.monotonic() > deadline:
                said = (self.folder / "log").read_text(errors="replace").strip()[-600:]
                raise RuntimeError(f"{command}: does not listen: {said}")
            time.sleep(0.1)

    def hold(self, step: Step) -> None:
        printed = self.call(self.localized(step.command))
        if step.printed and printed != self.localized(step.printed):
            raise RuntimeError(f"{step.command}: printed {printed.strip()!r} in place of {step.printed.strip()!r}")

    def call(self, command: str) -> str:
        done = subprocess.run(
            shlex.split(command), cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        if done.returncode != 0:
            raise RuntimeError(f"{command}: exit status {done.returncode}: {(done.stderr or done.stdout).strip()[-600:]}")
        return done.stdout

    def ask_vite(self) -> None:
        """Opens the WebSocket that Vite's client would, by the token that it has."""
        client = self.call(f"curl -sk https://localhost:{self.ports[4433]}/@vite/client")
        token = re.search(r'wsToken = "([^"]+)"', client)
        if token is None:
            raise RuntimeError("Vite's client has no token")
        url = f"wss://localhost:{self.ports[4433]}/?token={token[1]}"
        self.call(f"sockeye probe -k -s vite-hmr -m '' -o https://localhost:{self.ports[4433]} '{url}'")

    def ask_topics(self, is_behind: bool) -> None:
        """What is said through the proxy, or on the first server, is heard on both."""
        through = f"wss://localhost:{self.ports[443]}" if is_behind else f"ws://127.0.0.1:{self.ports[8081]}"
        for port in (self.ports[8081], self.ports[8082]):
            listener = subprocess.Popen(
                [self.sockeye, "connect", "-1", f"ws://127.0.0.1:{port}/topics/tried"],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )  # fmt: skip
            try:
                deadline = time.monotonic() + PATIENCE_SECONDS
                while '"members":1}' not in self.call(f"curl -s http://127.0.0.1:{self.ports[8082]}/topics/tried"):
                    if time.monotonic() > deadline:
                        raise RuntimeError("the other server counts no member")
                    time.sleep(0.1)
                speaker = [self.sockeye, "connect", "-1", "--cacert", self.certificates / "chain.pem", f"{through}/topics/tried"]
                subprocess.run(speaker, input="hello\n", text=True, check=True, capture_output=True, timeout=30)
                heard, _ = listener.communicate(timeout=30)
            finally:
                listener.kill()
                listener.wait()
            if "hello" not in heard:
                raise RuntimeError(f"a member on port {port} heard {heard!r}")


def listens(port: int) -> bool:
    """Whether anybody does, on either of the addresses that localhost may be."""
    for family, address in ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as attempted:
            if attempted.connect_ex((address, port)) == 0:
                return True
    return False


def missing(recipe: Recipe) -> list[str]:
    return [program for program in recipe.programs if shutil.which(program) is None]
