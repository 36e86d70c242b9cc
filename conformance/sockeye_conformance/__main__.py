"""Other people's programs against `sockeye serve`, and our client against other people's servers and Autobahn's suite.

Installs what they need, runs the suites side by side, and exits with a failure when a case failed. Options of one suite follow
`--`: `conformance/run http2 -- --filter '§6.9'`.
"""

import argparse
import os
import shutil
import subprocess
import sys
import venv
from fnmatch import fnmatch
from pathlib import Path

from .lanes import Lanes, Outcome
from .suites import DIRECTIONS, SUITES, Load, Suite

FOLDER = Path(__file__).resolve().parents[1]
ROOT = FOLDER.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
VENV = TARGET / "conformance-venv"
PACKAGES = (
    *("chromium", "firefox-esr", "curl", "nghttp2-client", "haproxy", "nghttp2-proxy", "tinyproxy-bin", "openssl"),
    *("fonts-dejavu-core", "redis-server"),
)
LANES = 3


def main() -> int:
    words, extra = split(sys.argv[1:])
    parser = argparse.ArgumentParser(prog="conformance/run", description=__doc__)
    parser.add_argument("suite", nargs="*", help="names, or patterns such as 'autobahn-*'; by default all")
    parser.add_argument("--list", action="store_true", help="name the suites, and run none")
    parser.add_argument("--full", action="store_true", help="all messages of Autobahn's suite, three quarters of an hour longer")
    parser.add_argument("--lanes", type=int, default=LANES, metavar="N", help=f"suites at a time ({LANES})")
    options = parser.parse_args(words)
    suites = whole_autobahn() if options.full else SUITES
    if options.list:
        print("\n".join(suite.name for suite in suites))
        return 0
    unknown = [name for name in options.suite if not any(fnmatch(suite.name, name) for suite in suites)]
    if unknown:
        parser.error(f"no suite is called {', '.join(unknown)}; --list names them")
    chosen = [suite for suite in suites if not options.suite or any(fnmatch(suite.name, name) for name in options.suite)]
    if extra and len(chosen) != 1:
        parser.error("options behind -- are for one suite")
    try:
        install()
    except (subprocess.CalledProcessError, OSError) as error:
        print(f"FAIL  what the suites need could not be installed: {error}", file=sys.stderr)
        return 1
    set_environment()
    commands = {suite: suite.command(str(VENV / "bin/python"), extra) for suite in chosen}
    outcomes = Lanes(commands, FOLDER, max(options.lanes, 1)).run()
    passed, failed = sum(outcome.passed for outcome in outcomes), sum(outcome.failed for outcome in outcomes)
    print_failures(dict(zip(chosen, outcomes, strict=True)))
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


def print_failures(outcomes: dict[Suite, Outcome]) -> None:
    """Once more at the end, where somebody looks: they stand far apart."""
    lines = [(suite.name, line) for suite, outcome in outcomes.items() for line in outcome.output.splitlines()]
    failures = [f"FAIL  {name}: {line.removeprefix('FAIL  ')}" for name, line in lines if line.startswith("FAIL  ")]
    if failures:
        print("\nwhat failed:", *failures, sep="\n")


def split(words: list[str]) -> tuple[list[str], tuple[str, ...]]:
    """What stands before and behind `--`."""
    place = words.index("--") if "--" in words else len(words)
    return words[:place], tuple(words[place + 1 :])


def whole_autobahn() -> list[Suite]:
    """One suite for the four directions: a full run writes down what each came to, in one file."""
    others = [suite for suite in SUITES if not suite.name.startswith("autobahn-")]
    return [*others, Suite("autobahn", "autobahn.run", (*DIRECTIONS, "--full"), Load.BUSY, 3000)]


def set_environment() -> None:
    """Where the programs are, by absolute paths, since suites run elsewhere."""
    defaults = {"SOCKEYE": "release/sockeye", "SOCKEYE_SCREENSHOTS": "screenshots", "INTEROP": "debug/sockeye-interop"}
    os.environ["CONFORMANCE_PYTHON"] = str(VENV / "bin/python")
    for name, path in defaults.items():
        os.environ[name] = str(Path(os.environ.get(name, TARGET / path)).absolute())


def install() -> None:
    call(str(ROOT / ".ci/packages"), *PACKAGES)
    venv.create(VENV, with_pip=True, symlinks=True)
    requirements = FOLDER / "requirements.txt"
    call(str(VENV / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(requirements))
    for folder in (FOLDER / "servers", FOLDER / "browser", FOLDER / "gateway"):
        if not is_as_locked(folder):
            call("npm", "--prefix", str(folder), "ci", "--silent", "--no-audit", "--no-fund", PUPPETEER_SKIP_DOWNLOAD="1")
    if "INTEROP" not in os.environ:
        call("cargo", "build", "--locked", "--package", "sockeye-interop")


def is_as_locked(folder: Path) -> bool:
    """Whether npm has installed there since its lock file was written: it takes all away before it installs, under other runs."""
    installed = folder / "node_modules/.package-lock.json"
    return installed.exists() and installed.stat().st_mtime >= (folder / "package-lock.json").stat().st_mtime


def call(*command: str, **environment: str) -> None:
    program = shutil.which(command[0]) or command[0]
    subprocess.run([program, *command[1:]], check=True, cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL)


if __name__ == "__main__":
    sys.exit(main())
