"""The cases of Autobahn's test suite, with their own judgement of what a peer did, for Python 3.

The suite is written in Python 2, which no current system has. Its cases are translated as they are imported. A Python 2
string is octets; here it is a `str` of as many characters below U+0100, and `octets` makes bytes of it where it leaves a
case. The rest of the suite, its WebSocket implementation, runs on Python 3 as it is.
"""

import ast
import binascii
import importlib
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

from autobahn.websocket import utf8validator
from fissix.refactor import RefactoringTool

PACKAGE = "autobahntestsuite"
FIXERS = [f"fissix.fixes.fix_{name}" for name in ("except", "has_key", "import", "print", "unicode", "xrange")]
# Left out by the suite itself, and not to be translated.
UNUSED = {f"{PACKAGE}.case.case9_9_1"}


def octets(text: str | bytes) -> Any:
    """The octets that a case means by a string."""
    return text.encode("latin-1") if isinstance(text, str) else text


class WholeDivision(ast.NodeTransformer):
    """Python 2 divides whole numbers into whole numbers."""

    def visit_Div(self, _: Any) -> Any:
        return ast.FloorDiv()


class Translator(SourceFileLoader):
    """Compiles Python 2."""

    refactoring = RefactoringTool(FIXERS)

    def path_stats(self, path: str) -> None:
        raise OSError("neither read nor write a cache of bytecode")

    def source_to_code(self, data: Any, path: str, **_: Any) -> Any:
        source = "" if self.name in UNUSED else data.decode("latin-1").replace("(object, Case, )", "(Case, )")
        tree = ast.parse(str(self.refactoring.refactor_string(source + "\n", path)))
        return compile(ast.fix_missing_locations(WholeDivision().visit(tree)), path, "exec")


class Finder(MetaPathFinder):
    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if not name.startswith(f"{PACKAGE}.case"):
            return None
        spec: Any = PathFinder.find_spec(name, path, target)
        spec.loader = Translator(spec.loader.name, spec.loader.path)
        return spec


class Utf8Validator(utf8validator.Utf8Validator):
    def validate(self, text: str) -> Any:
        return super().validate(octets(text))


def load() -> Any:
    """The package of the cases. Nothing of the suite's other packages, which need a dozen more."""
    package = ModuleType(PACKAGE)
    found: Any = PathFinder.find_spec(PACKAGE)
    package.__path__ = [str(Path(found.origin).parent)]
    resources = ModuleType("pkg_resources")
    resources.resource_filename = lambda _, name: str(Path(package.__path__[0]) / name)
    hexlify = binascii.b2a_hex
    with (
        patch.dict(sys.modules, {PACKAGE: package, resources.__name__: resources}),
        patch.object(sys, "meta_path", [Finder(), *sys.meta_path]),
        patch.object(binascii, "b2a_hex", lambda text: hexlify(octets(text)).decode()),
        patch.object(utf8validator, "Utf8Validator", Utf8Validator),
    ):
        return importlib.import_module(f"{PACKAGE}.case")


def same(_: Any, received: Any, expected: Any) -> Any:
    """Whether the events are those that a case expects, as octets."""
    return [tuple(map(octets, event)) for event in received] == [tuple(map(octets, event)) for event in expected]


def identifier(case: Any) -> Any:
    """`Case12_1_18` is case 12.1.18."""
    return case.__name__.removeprefix("Case").replace("_", ".")


module = load()
module.case.Case.compare = same
CASES = {identifier(case): case for case in module.Cases}
