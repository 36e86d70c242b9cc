"""Installs a program from the registries into a folder of its own, once for each state of its pins."""

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
PINS = HERE / "pins.toml"
FOLDER = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve() / "compat"
INSTALL_SECONDS = 600


@dataclass(frozen=True)
class Box:
    """What was installed for a program."""

    folder: Path
    version: str

    def script(self, name: str) -> str:
        """A command of a Python package."""
        return str(self.folder / "venv/bin" / name)

    @property
    def python(self) -> str:
        return self.script("python")

    def in_package(self, pattern: str) -> str:
        """A program that a Python package brings, by a pattern below site-packages."""
        found = [path for path in sorted((self.folder / "venv/lib").glob(f"python*/site-packages/{pattern}")) if is_program(path)]
        if not found:
            raise FileNotFoundError(f"no {pattern} in {self.folder}")
        found[0].chmod(0o755)
        return str(found[0])

    def module(self, path: str) -> str:
        """A file of an npm package."""
        return str(self.folder / "node_modules" / path)

    def binary(self, name: str) -> str:
        """A program of a Debian package: the system's own where it is installed, else the one in the folder."""
        places = [self.folder / "root" / place / name for place in ("usr/sbin", "usr/bin")]
        for place in places:
            if place.exists():
                return str(place)
        return shutil.which(name) or str(places[0])

    def built(self, name: str) -> str:
        """A program of `apps/rust`."""
        return str(self.folder / "target/debug" / name)

    @property
    def modules(self) -> Path:
        """Where Debian's packages were unpacked."""
        return self.folder / "root" if (self.folder / "root/usr").exists() else Path("/")

    @property
    def environment(self) -> dict[str, str]:
        libraries = [str(self.folder / "root" / place) for place in ("usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu")]
        return {"LD_LIBRARY_PATH": ":".join(libraries), "MODULES": str(self.folder)}


def is_program(path: Path) -> bool:
    """Whether it is a program of the machine's, and no folder or script of the same name."""
    return path.is_file() and path.open("rb").read(4) == b"\x7fELF"


@cache
def pins() -> dict[str, dict[str, list[str]]]:
    return tomllib.loads(PINS.read_text())


def install(name: str) -> Box:
    """The program of this table of `pins.toml`; what is there already is taken as it is."""
    wanted, folder = pins()[name], FOLDER / name
    done = folder / "installed.json"
    if done.exists():
        found = json.loads(done.read_text())
        if found["pins"] == wanted:
            return Box(folder, found["version"])
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    versions = [KINDS[kind](folder, packages) for kind, packages in wanted.items()]
    done.write_text(json.dumps({"pins": wanted, "version": versions[0]}))
    return Box(folder, versions[0])


def from_pypi(folder: Path, packages: list[str]) -> str:
    # The pip at hand installs into it: one less to install.
    call(folder, sys.executable, "-m", "venv", "--without-pip", "venv")
    pip = [sys.executable, "-m", "pip", "--python", "venv/bin/python", "install", "--quiet", "--disable-pip-version-check"]
    call(folder, *pip, "--prefer-binary", *packages)
    return packages[0].split("==")[1]


def from_npm(folder: Path, packages: list[str]) -> str:
    (folder / "package.json").write_text('{"private": true}')
    call(folder, "npm", "install", "--silent", "--no-audit", "--no-fund", *packages)
    return packages[0].rsplit("@", 1)[1]


def from_debian(folder: Path, packages: list[str]) -> str:
    """Unpacks the packages, and what they need and the system does not have, without installing anything."""
    simulated = call(folder, "apt-get", "install", "--simulate", "--no-install-recommends", *packages)
    missing = re.findall(r"^Inst (\S+) \(", simulated, re.MULTILINE)
    if missing:
        call(folder, "apt-get", "download", "-qq", *missing)
        for package in sorted(folder.glob("*.deb")):
            call(folder, "dpkg", "--extract", package.name, "root")
            package.unlink()
    candidates = call(folder, "apt-cache", "policy", packages[0])
    found = re.search(r"Candidate: (?:\d+:)?([^-+~\s]+)", candidates)
    return found[1] if found else "?"


def from_cargo(_folder: Path, crates: list[str]) -> str:
    """What this repository builds itself: the version that its lock file has."""
    locked = tomllib.loads((ROOT / "Cargo.lock").read_text())["package"]
    return next(str(package["version"]) for package in locked if package["name"] == crates[0])


def from_crates(folder: Path, crates: list[str]) -> str:
    """Builds a program of `apps/rust`, which has the name of the crate that it tries."""
    name, version = crates[0].split("@")
    environment = os.environ | {"CARGO_TARGET_DIR": str(folder / "target"), "CARGO_PROFILE_DEV_DEBUG": "0"}
    call(HERE / "apps/rust" / name, "cargo", "build", "--locked", "--quiet", environment=environment)
    return version


KINDS = {"cargo": from_cargo, "crates": from_crates, "pypi": from_pypi, "npm": from_npm, "debian": from_debian}


def call(folder: Path, *command: str, environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_SECONDS, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return done.stdout
