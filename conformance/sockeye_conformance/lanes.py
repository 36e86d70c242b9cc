"""Runs suites side by side, and prints what each says as if they had run one after the other."""

import contextlib
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from .suites import Load, Suite

# A suite that hangs ends some time.
SUITE_SECONDS = 3600
COUNTS = re.compile(r"^(\d+) passed, (\d+) failed$")


@dataclass(frozen=True)
class Outcome:
    """What a suite came to. Its closing lines are in `output` no more: they are counted."""

    output: str
    passed: int
    failed: int
    seconds: float


class Lanes:
    """So many suites at a time: the longest first, and one busy one at a time as long as there are others."""

    def __init__(self, commands: dict[Suite, list[str]], folder: Path, lanes: int) -> None:
        self.commands, self.folder, self.lanes = commands, folder, lanes
        self.waiting = sorted(commands, key=lambda suite: -suite.seconds)
        self.busy = 0
        self.outcomes: dict[Suite, Outcome] = {}
        self.processes: set[subprocess.Popen[bytes]] = set()
        self.changed = threading.Condition()

    def run(self) -> list[Outcome]:
        """Prints each suite's lines once it and all before it are done."""
        for _ in range(self.lanes):
            threading.Thread(target=self._lane, daemon=True).start()
        try:
            return [self._print(suite) for suite in self.commands]
        finally:
            self._end()

    def _print(self, suite: Suite) -> Outcome:
        with self.changed:
            self.changed.wait_for(lambda: suite in self.outcomes)
        outcome = self.outcomes[suite]
        print(f"\n-- {suite.name}: {' '.join(self.commands[suite][1:])}\n{outcome.output}", end="")
        print(f"   {suite.name}: {outcome.passed} ok, {outcome.failed} failed, {outcome.seconds:.0f} s", flush=True)
        return outcome

    def _lane(self) -> None:
        while suite := self._next():
            outcome = self._run(suite)
            with self.changed:
                self.busy -= suite.load is Load.BUSY
                self.outcomes[suite] = outcome
                self.changed.notify_all()

    def _next(self) -> Suite | None:
        """The next suite of this lane, once there is one that may run; none at the end."""
        with self.changed:
            while self.waiting:
                others = any(suite.load is Load.WAITS for suite in self.waiting)
                may = [
                    suite for suite in self.waiting if suite.load is Load.WAITS or self.busy == 0 or (self.busy == 1 and not others)
                ]
                # A busy one as soon as none runs: together they take the longest.
                may.sort(key=lambda suite: suite.load is not Load.BUSY)
                if may:
                    self.waiting.remove(may[0])
                    self.busy += may[0].load is Load.BUSY
                    return may[0]
                self.changed.wait()
            return None

    def _run(self, suite: Suite) -> Outcome:
        started = time.monotonic()
        with tempfile.TemporaryFile("w+") as output:
            process = subprocess.Popen(
                self.commands[suite], cwd=self.folder, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
            self.processes.add(process)
            try:
                status = process.wait(SUITE_SECONDS)
            except subprocess.TimeoutExpired:
                kill(process)
                status = process.wait()
            self.processes.discard(process)
            output.seek(0)
            lines = output.read().splitlines()
        return outcome_of(suite, lines, status, time.monotonic() - started)

    def _end(self) -> None:
        with self.changed:
            self.waiting.clear()
            self.changed.notify_all()
        for process in list(self.processes):
            kill(process)


def outcome_of(suite: Suite, lines: list[str], status: int, seconds: float) -> Outcome:
    counts = [(int(found[1]), int(found[2])) for line in lines if (found := COUNTS.match(line))]
    shown = [line for line in lines if not COUNTS.match(line)]
    passed, failed = sum(count[0] for count in counts), sum(count[1] for count in counts)
    if failed == 0 and (status != 0 or passed == 0):
        failed = 1  # it broke off
        shown.append(f"FAIL  {suite.name}: exit status {status}")
    return Outcome("".join(f"{line}\n" for line in shown), passed, failed, seconds)


def kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
