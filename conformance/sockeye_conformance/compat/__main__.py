"""Who speaks RFC 8441 today: runs the programs, keeps what was seen, and writes the page.

Without arguments it runs every program of which nothing is kept, or whose pins have changed, and writes the page anew.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from .clients import CLIENTS
from .install import HERE, ROOT, pins
from .measure import measure
from .page import page
from .programs import Program
from .proxies import PROXIES
from .servers import SERVERS

PROGRAMS: list[Program] = [*SERVERS, *PROXIES, *CLIENTS]
RESULTS = HERE / "results.json"
PAGE = ROOT / "docs/src/compat.md"


def main() -> int:
    parser = argparse.ArgumentParser(prog="conformance/compat", description=__doc__)
    parser.add_argument("--list", action="store_true", help="name the programs, and run none")
    parser.add_argument(
        "--only", metavar="NAME", action="append", default=[], help="run the programs whose name contains this, again"
    )
    parser.add_argument("--all", action="store_true", help="run every program again")
    parser.add_argument("--page", action="store_true", help="run none: write the page from what is kept")
    parser.add_argument("--check", action="store_true", help="run none: fail where the page is not what is kept")
    parser.add_argument("--output", type=Path, default=PAGE, help="where the page is written (docs/src/compat.md)")
    options = parser.parse_args()
    if options.list:
        print("\n".join(program.name for program in PROGRAMS))
        return 0
    results: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    if options.check:
        return check(results, options.output)
    chosen = [] if options.page else choose(options, results)
    if options.only and not chosen:
        print(f"no program's name contains {' or '.join(options.only)}: --list names them", file=sys.stderr)
        return 2
    failed = [program.name for program in chosen if not run(program, results)]
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(page(PROGRAMS, results))
    print(f"written to {options.output}")
    if chosen:
        print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    return 1 if failed else 0


def choose(options: argparse.Namespace, results: dict[str, Any]) -> list[Program]:
    if options.only:
        return [program for program in PROGRAMS if any(name.lower() in program.name.lower() for name in options.only)]
    return [program for program in PROGRAMS if options.all or results.get(program.name, {}).get("pins") != pins()[program.pins]]


def run(program: Program, results: dict[str, Any]) -> bool:
    """Measures one program, and keeps what was seen at once."""
    try:
        seen = measure(program)
    except Exception as error:  # whatever goes wrong with one program stops no other
        print(f"FAIL  {program.name}: {type(error).__name__}: {error}", flush=True)
        return False
    results[program.name] = {"pins": pins()[program.pins], "seen": datetime.date.today().isoformat(), **seen}
    ordered = {known.name: results[known.name] for known in PROGRAMS if known.name in results}
    RESULTS.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n")
    print(f"ok    {program.name} {seen['version']}", flush=True)
    return True


def check(results: dict[str, Any], path: Path) -> int:
    """What CI holds the page to: it tells what is kept, and of every program."""
    missing = [program.name for program in PROGRAMS if program.name not in results]
    stale = not path.exists() or path.read_text() != page(PROGRAMS, results)
    for name in missing:
        print(f"FAIL  {name}: nothing is kept of it; run conformance/compat --only '{name}'")
    if stale:
        print(f"FAIL  {path}: is not what results.json says; run conformance/compat --page")
    failed = len(missing) + stale
    print(f"{len(PROGRAMS) + 1 - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
