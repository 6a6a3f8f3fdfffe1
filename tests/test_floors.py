"""The building: which module may stand on which.

Read FLOORS from below: a module imports from its own room and from the floors below it, never
from another room of the same floor, and never from the package root.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "flask_clustertoken"
FOLDER = Path(__file__).resolve().parent.parent / PACKAGE

#: Floor by floor, the ground first. A floor is a list of rooms, a room the names of its modules
#: without the package's (``*`` stands for anything). A new module gets its line here.
FLOORS: dict[str, list[str]] = {
    "ground": ["errors", "clock", "refusals", "origin", "caching"],
    "first words": ["events", "cookies", "stores.base"],
    "what the feed says": ["notices"],
    "tokens": ["tokens"],
    "forms of a token": ["records", "wire"],
    "keys and settings": ["arguments", "keys", "settings"],
    "stores": [
        "stores.memory",
        "stores.directory stores._folder stores._counter stores._database stores._tables "
        "stores._opening stores._files",
        "stores.zookeeper stores._zk_*",
        "stores.redis stores.redis.*",
    ],
    "opener of stores": ["stores"],
    "view": ["revocations", "recall"],
    "reader": ["reader"],
    "follower": ["follower"],
    "thread": ["heart"],
    "nodes": ["nodes"],
    "house-keeping": ["housekeeping"],
    "what came of a revocation": ["confirmation"],
    "membership": ["membership"],
    "revoking": ["revoking"],
    "judging": ["judging"],
    "listing": ["listing"],
    "issuing": ["issuing"],
    "shared data": ["shared"],
    "authority": ["authority"],
    "operating": ["diagnosis diagnosis.*", "migration copying departure", "removal", "rotation"],
    "handle": ["handle"],
    "middleware": ["middleware"],
    "Flask": ["extension extension.*"],
    "adapters": [
        "cli cli.*",
        "admin admin.*",
        "keycloak keycloak.*",
        "gunicorn",
        "testing testing.*",
    ],
    "door": ["__main__"],
}

#: The only imports that point upwards, each inside a function, and why.
UPWARDS = {
    ("extension.clustertoken", "cli.group"): "init_app hangs the commands on app.cli",
}

#: The floors that are the core: they import where Flask and every driver is missing.
CORE = list(FLOORS)[: list(FLOORS).index("Flask")]

#: What any module may import besides the standard library.
EVERYWHERE = {"itsdangerous", "werkzeug.http"}

#: What only some modules may import, and whether at first use only (an optional driver).
FOREIGN: dict[str, tuple[str, bool]] = {
    "flask": ("extension extension.* cli.* admin admin.* keycloak keycloak.* testing.*", False),
    "werkzeug": ("extension extension.* cli.* admin admin.* keycloak keycloak.* testing.*", False),
    "jinja2": ("extension extension.* admin.*", False),
    "markupsafe": ("extension extension.* admin.*", False),
    "blinker": ("extension extension.*", False),
    "click": ("extension extension.* cli cli.* keycloak.*", False),
    "pytest": ("testing.*", False),
    "kazoo": ("stores.zookeeper stores._zk_*", True),
    "gevent": ("stores._zk_* follower gunicorn", True),
    "eventlet": ("stores._zk_* follower gunicorn", True),
    "redis": ("stores.redis.driver", True),
    "authlib": ("keycloak keycloak.*", True),
    "joserfc": ("keycloak keycloak.*", True),
    "urllib3": ("keycloak keycloak.*", True),
    "cryptography": ("keycloak keycloak.*", True),
    "requests": ("keycloak keycloak.*", True),
}


@dataclass(frozen=True)
class Import:
    """An import of *module*; *late* where it stands inside a function."""

    module: str
    line: int
    late: bool


def matches(module: str, room: str) -> bool:
    return any(fnmatchcase(module, pattern) for pattern in room.split())


def place(module: str) -> tuple[int, str]:
    """The floor's number and the room of *module*."""
    for number, rooms in enumerate(FLOORS.values()):
        for room in rooms:
            if matches(module, room):
                return number, room
    pytest.fail(
        f"{PACKAGE}.{module} has no place in the building yet: "
        "add it to FLOORS in tests/test_floors.py, on the lowest floor that it can stand on."
    )


def modules() -> dict[str, Path]:
    """Every module but the root, by its name without the package's."""
    found = {}
    for path in sorted(FOLDER.rglob("*.py")):
        parts = path.relative_to(FOLDER).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:
            found[name] = path
    return found


MODULES = modules()


def is_type_guard(node: ast.AST) -> bool:
    """``if TYPE_CHECKING:`` — what stands below it is for annotations and is never run."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(
    node: ast.AST, late: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, late
        elif isinstance(child, ast.If) and is_type_guard(child):
            for other in child.orelse:
                yield from statements(ast.Module([other], []), late)
        else:
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from statements(child, late or inside)


def absolute(module: str, statement: ast.ImportFrom) -> str:
    """What *statement*, found in *module*, imports from, with relative dots resolved."""
    if not statement.level:
        return statement.module or ""
    whole = [PACKAGE, *module.split(".")]
    if MODULES[module].name == "__init__.py":
        whole.append("__init__")
    return ".".join([*whole[: -statement.level], *filter(None, [statement.module])])


@cache
def imports(module: str) -> tuple[Import, ...]:
    """What *module* imports when it runs, submodules spelled out."""
    found = []
    tree = ast.parse(MODULES[module].read_text(), str(MODULES[module]))
    for statement, late in statements(tree):
        if isinstance(statement, ast.Import):
            targets = [alias.name for alias in statement.names]
        else:
            source = absolute(module, statement)
            # ``from .stores import base`` is an import of stores.base, not of a name in stores.
            targets = [
                f"{source}.{alias.name}"
                if f"{source}.{alias.name}".removeprefix(PACKAGE + ".") in MODULES
                else source
                for alias in statement.names
            ]
        found += [Import(target, statement.lineno, late) for target in dict.fromkeys(targets)]
    return tuple(found)


def inside(module: str) -> list[tuple[str, Import]]:
    """The imports of *module* that stay in the package, as names without the package's."""
    return [
        (found.module.removeprefix(PACKAGE).removeprefix("."), found)
        for found in imports(module)
        if found.module.split(".")[0] == PACKAGE
    ]


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module: str) -> None:
    """A module imports from its own room and from floors below, also inside functions."""
    floor, room = place(module)

    for target, found in inside(module):
        if not target:
            continue
        if found.late and (module, target) in UPWARDS:
            continue
        below, other = place(target)
        assert below < floor or other == room, (
            f"{PACKAGE}/{MODULES[module].relative_to(FOLDER)}:{found.line} imports {target}, "
            f"which is not below it ({list(FLOORS)[floor]!r} imports {list(FLOORS)[below]!r})"
        )


@pytest.mark.parametrize("module", MODULES)
def test_nobody_imports_the_package_root(module: str) -> None:
    """The root only re-exports: a module that needs a name takes it where it is made."""
    for target, found in inside(module):
        assert target, f"{MODULES[module].relative_to(FOLDER)}:{found.line} imports the root"


@pytest.mark.parametrize("module", MODULES)
def test_other_packages_are_imported_where_they_belong(module: str) -> None:
    """The core needs no Flask; an optional driver is imported at first use, in its own room."""
    for found in imports(module):
        name = found.module.split(".")[0]
        if name == PACKAGE or name in sys.stdlib_module_names or found.module in EVERYWHERE:
            continue
        where = f"{MODULES[module].relative_to(FOLDER)}:{found.line}"
        assert name in FOREIGN, f"{where} imports {name}: add it to FOREIGN in this test"
        rooms, at_first_use = FOREIGN[name]
        assert matches(module, rooms), f"{where} may not import {found.module}"
        assert found.late or not at_first_use, f"{where} imports {name} before its first use"


def test_no_module_needs_itself() -> None:
    """What is imported at the top of files has no cycle, also inside a room."""
    done: set[str] = set()

    def visit(module: str, path: tuple[str, ...]) -> None:
        assert module not in path, f"a cycle: {' -> '.join([*path, module])}"
        if module not in done:
            for target, found in inside(module):
                if target in MODULES and not found.late:
                    visit(target, (*path, module))
            done.add(module)

    for module in MODULES:
        visit(module, ())


BARE = """
import importlib, sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is blocked by the test")

blocked = set(sys.argv[1].split())
sys.meta_path.insert(0, Blocker())
for module in sys.argv[2:]:
    importlib.import_module(module)
"""


def test_the_core_imports_without_flask_and_drivers() -> None:
    """The root, and everything up to the middleware, imports where those are not installed."""
    blocked = set(FOREIGN) - {"werkzeug", "markupsafe"}  # werkzeug.http needs markupsafe
    last = list(FLOORS).index(CORE[-1])
    core = [f"{PACKAGE}.{module}" for module in MODULES if place(module)[0] <= last]

    ran = subprocess.run(
        [sys.executable, "-c", BARE, " ".join(blocked), PACKAGE, *core],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert core
    assert ran.returncode == 0, ran.stderr
