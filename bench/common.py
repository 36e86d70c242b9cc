"""What the benchmarks share: building, servers pinned to a core, and tables."""

import contextlib
import json
import os
import pathlib
import platform
import resource
import socket
import statistics
import subprocess
import time
import tomllib

BENCH = pathlib.Path(__file__).resolve().parent
ROOT = BENCH.parent
SERVER_CORE, LOAD_CORE, BOTH_CORES = "0", "1", "0,1"
STARTUP_SECONDS = 10
# Beyond what is measured: a load that takes longer to connect, open and warm up has stalled.
SLACK_SECONDS = 30
# `sockeye serve`, for its path before and an address behind.
SERVE = ("serve", "--cleartext", "--max-streams", "100000", "--listen")


class Failure(Exception):
    """A program did not do what a workload asks for."""


def compile_release(workspace, *arguments):
    """The paths of the programs of a workspace, by name."""
    command = ["cargo", "build", "--release", "--locked", "--message-format=json-render-diagnostics", *arguments]
    # What cargo prints goes to the terminal, the messages to us.
    output = subprocess.run(command, cwd=workspace, stdout=subprocess.PIPE, check=True).stdout
    messages = [json.loads(line) for line in output.splitlines()]
    return {message["target"]["name"]: message["executable"] for message in messages if message.get("executable")}


@contextlib.contextmanager
def running(start, cores=SERVER_CORE, threads=1):
    """A server, from where it listens until the end of the block. Its command comes of its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    address = f"127.0.0.1:{port}"
    environment = {**os.environ, "TOKIO_WORKER_THREADS": str(threads), "RUST_LOG": "off"}
    pinned = ["taskset", "-c", cores, *start(address)]
    # `taskset` becomes the server, so the process is the server's.
    process = subprocess.Popen(pinned, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(process, port)
        yield process, address
    finally:
        process.kill()
        process.wait()


def wait_for(process, port):
    deadline = time.monotonic() + STARTUP_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port)).close()
            return
        time.sleep(0.01)
    raise Failure("it does not listen")


def allow_files():
    """A socket is an open file. What is started from here may have as many as the system lets anyone have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def complaint(text):
    """What a program says is wrong: its first line about an error, or else its last line."""
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith(" ")]
    return next((line for line in lines if line.startswith("error")), lines[-1] if lines else "without a word")


def machine():
    """Where the figures come from, and of what."""
    return [
        f"- Machine: {processor()}, {os.cpu_count()} cores; {platform.system()} {platform.release()}, TCP by {congestion_control()}",
        f"- sockeye {output_of('git', 'describe', '--always', '--dirty', '--tags')}, {output_of('rustc', '--version')}",
    ]


def processor():
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def congestion_control():
    """One that paces costs those that write much at once."""
    with contextlib.suppress(OSError):
        return pathlib.Path("/proc/sys/net/ipv4/tcp_congestion_control").read_text().strip()
    return "an unknown congestion control"


def output_of(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True).stdout.strip()


def peer_versions(*wanted):
    packages = tomllib.loads((BENCH / "Cargo.lock").read_text())["package"]
    return ", ".join(f"{package['name']} {package['version']}" for name in wanted for package in packages if package["name"] == name)


def cells(texts):
    return f"| {' | '.join(texts)} |"


def spread(figures):
    median = shorten(statistics.median(figures))
    return median if len(figures) == 1 else f"{median} ({shorten(min(figures))}–{shorten(max(figures))})"


def ratio(over, under):
    if not over or not under or not statistics.median(under):
        return ""
    return f"{statistics.median(over) / statistics.median(under):.1f}"


def shorten(figure):
    """Three digits, and no more."""
    decimals = 0 if figure >= 99.95 else 1 if figure >= 9.995 else 2
    return f"{figure:.{decimals}f}"
