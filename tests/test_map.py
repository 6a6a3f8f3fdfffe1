"""The map of the house: its rooms, their order and their doors.

A room imports only from rooms before it in ROOMS and from the ground, through their doors (what
their ``__init__`` offers), never from the package root. ``python tests/test_map.py`` prints the
map that docs/design.rst shows.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

import pytest

PACKAGE = "flask_clustertoken"
ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / PACKAGE

#: What is no room, and stands under every room.
GROUND = ["errors", "clock", "backoff", "events", "forks"]

#: Room by room: it imports from those before it.
CORE = [
    "settings",
    "tokens",
    "stores",
    "revocations",
    "cluster",
    "shared",
    "authority",
    "audit",
    "operations",
    "wsgi",
    "oidc",
]

#: The rooms that know Flask or a command line. An adapter imports no other one.
EXTENSION = "extension"
ADAPTERS = [
    "cli",
    "keycloak",
    "console",
    "metrics",
    "tracing",
    "gateway",
    "providers",
    "binding",
    "testing",
]

#: The floors of a room that has packages in it, from the bottom up: late imports count as well.
FLOORS = {
    "keycloak": [
        "errors",
        "values",
        "options",
        "protocol",
        "sessions",
        "nodes",
        "state",
        "web",
        "current",
        "commands",
        "adapter",
    ],
}

#: Modules of the root that only start something: nobody imports them.
STARTERS = ["__main__", "gunicorn"]

ROOMS = [*CORE, EXTENSION, *ADAPTERS]

#: The imports that point upwards, inside a function, for good: ``init_app`` hangs the commands on
#: ``app.cli``, and the middleware what binds logins into itself.
LATE = {
    ("extension.clustertoken", "cli.group"),
    # (Where DEVICE_BOUND asks for it: the room needs a driver.)
    ("wsgi.middleware", "binding"),
}

#: Families that may have more than two generations, by where they begin or live.
FAMILIES = ["errors:", "stores.", "extension.responses:", "testing.contract"]

#: Modules that are documented under their own path, beside their room's door.
PUBLISHED = {
    "stores.base",
    "stores.memory",
    "stores.ordered",
    "extension.signals",
    "extension.testing",
    "keycloak.errors",
    "testing.contract",
}

#: What any module may import besides the standard library.
EVERYWHERE = {"itsdangerous", "werkzeug.http"}

#: What only some modules may import, and whether at first use only (an optional driver).
FOREIGN: dict[str, tuple[str, bool]] = {
    "flask": (
        "extension.* cli.* keycloak.* console.* metrics.* tracing.* providers.* testing.*",
        False,
    ),
    "werkzeug": ("oidc.* extension.* cli.* keycloak.* console.* providers.* testing.*", False),
    "prometheus_client": ("metrics.*", True),
    "opentelemetry": ("tracing.*", True),
    "blinker": ("extension.* providers.*", False),
    "click": ("extension.* cli.* keycloak.* providers.*", False),
    "pytest": ("testing.*", False),
    "kazoo": ("stores.zookeeper.*", True),
    "gevent": ("stores.zookeeper.* revocations.follower gunicorn", True),
    "eventlet": ("stores.zookeeper.* revocations.follower gunicorn", True),
    "redis": ("stores.redis.driver", True),
    "psycopg": ("stores.postgresql.driver", True),
    "authlib": ("keycloak.*", True),
    "joserfc": ("oidc.* keycloak.* binding.*", True),
    "urllib3": ("oidc.*", True),
    "flask_babel": ("console.texts", True),
    "ua_parser": ("wsgi.device", True),
    "cryptography": ("keycloak.* binding.*", True),
    "requests": ("oidc.* keycloak.*", True),
}

MOST_LINES = 400
MOST_LINES_OF_A_FUNCTION = 60

#: What breaks a rule still, rule by rule, and what will end it. Whoever ends one takes its line
#: out; the table only ever gets shorter.
KNOWN: dict[str, dict[str, str]] = {
    "twins": {
        "TokenRefused: events extension.responses": "both are public",
    },
}


# -- reading the package ---------------------------------------------------------------


@dataclass(frozen=True)
class Import:
    """*module* hands *name* to another one; no *name* where a whole module is meant.

    *late*: inside a function. *typed*: for annotations only.
    """

    module: str
    name: str
    line: int
    late: bool
    typed: bool


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


@cache
def tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(), str(MODULES[module]))


def is_type_guard(node: ast.AST) -> bool:
    """``if TYPE_CHECKING:`` — what stands below it is for annotations and is never run."""
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def statements(
    node: ast.AST, late: bool = False, typed: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, late, typed
        elif isinstance(child, ast.If) and is_type_guard(child):
            yield from statements(ast.Module(child.body, []), late, True)
            yield from statements(ast.Module(child.orelse, []), late, typed)
        else:
            inside = isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
            yield from statements(child, late or inside, typed)


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
    """What *module* imports. ``from .stores import base`` is one of the module stores.base."""
    found = []
    for statement, late, typed in statements(tree(module)):
        for alias in statement.names:
            if isinstance(statement, ast.Import):
                target, name = alias.name, ""
            else:
                target, name = absolute(module, statement), alias.name
                if f"{target}.{name}".removeprefix(PACKAGE + ".") in MODULES:
                    target, name = f"{target}.{name}", ""
            found.append(Import(target, name, statement.lineno, late, typed))
    return tuple(found)


def inside(module: str) -> Iterator[tuple[str, Import]]:
    """The imports of *module* that stay in the package, as names without the package's."""
    for found in imports(module):
        if found.module.split(".")[0] == PACKAGE:
            yield found.module.removeprefix(PACKAGE).removeprefix("."), found


def room(module: str) -> str:
    return module.partition(".")[0]


@cache
def offers(door: str) -> frozenset[str]:
    """The names that a room, or a package in one, hands out."""
    found = set()
    for node in ast.walk(tree(door)):
        if isinstance(node, (ast.ImportFrom, ast.Import)):
            found |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, (ast.ClassDef, ast.FunctionDef)):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return frozenset(found)


@cache
def classes() -> dict[str, tuple[str, ast.ClassDef]]:
    """Every class by ``module:name``."""
    return {
        f"{module}:{node.name}": (module, node)
        for module in MODULES
        for node in tree(module).body
        if isinstance(node, ast.ClassDef)
    }


def ours(module: str, name: str) -> str | None:
    """``module:name`` of the class of ours that *module* calls *name*."""
    if f"{module}:{name}" in classes():
        return f"{module}:{name}"
    if module in MODULES:
        for target, found in inside(module):
            if found.name == name and target != module:
                return ours(target, name)
    return None


def ancestors(key: str) -> list[str]:
    """The classes of ours from which *key* is derived, at any distance."""
    module, node = classes()[key]
    found = []
    for base in node.bases:
        if isinstance(base, ast.Name) and (parent := ours(module, base.id)):
            found += [parent, *ancestors(parent)]
    return found


# -- the rules: each yields what breaks it -----------------------------------------------


def strange_root() -> Iterator[str]:
    """The root holds rooms, the ground, and what only starts something."""
    for path in FOLDER.iterdir():
        name = path.stem
        if path.name in ("py.typed", "__init__.py", "__pycache__"):
            continue
        if path.is_dir():
            if name not in ROOMS and any(path.rglob("*.py")):
                yield name
        elif name not in [*GROUND, *STARTERS]:
            yield name


def upwards() -> Iterator[str]:
    """A module imports from its own room, from rooms before it, and from the ground."""
    for module in MODULES:
        for target, found in inside(module):
            here, there = room(module), room(target)
            if found.typed or here == there or there in GROUND or here in STARTERS:
                continue
            if found.late and (module, target) in LATE:
                continue
            apart = here in ADAPTERS and there in ADAPTERS
            below = there in ROOMS and here in ROOMS and ROOMS.index(there) < ROOMS.index(here)
            if apart or not below:
                yield f"{module} -> {target or PACKAGE}"


def past_a_door() -> Iterator[str]:
    """Of another room one takes what its door offers, and of a package in it what its own does."""
    for module in MODULES:
        for target, found in inside(module):
            if room(module) == room(target) or target in GROUND or target in PUBLISHED:
                continue
            if module == "__main__" or (found.late and (module, target) in LATE):
                continue
            if not target:
                yield f"{module} -> {PACKAGE}"
                continue
            door = room(target)
            name = found.name or target.rpartition(".")[2]
            through = found.name and target == door
            offered = not found.name and target.count(".") == 1 and name in offers(door)
            if not (through or offered):
                yield f"{module} -> {target}{':' + found.name if found.name else ''}"


def floors() -> Iterator[str]:
    """What stands in a room imports, also late and for types, from below it, and of a package
    in the room only what its door offers."""
    for module in MODULES:
        here, _, rest = module.partition(".")
        mine = rest.partition(".")[0]
        for target, found in inside(module):
            there, _, rest = target.partition(".")
            theirs, _, within = rest.partition(".")
            if here != there or here not in FLOORS or not mine or mine == theirs:
                continue
            order = [*FLOORS[here], mine, theirs]
            below = order.index(theirs) < order.index(mine)
            name = within.partition(".")[0] or found.name
            package = MODULES[f"{here}.{theirs}"].name == "__init__.py"
            if not below or (package and name not in offers(f"{here}.{theirs}")):
                yield f"{module} -> {target}{':' + found.name if found.name else ''}"


def circles() -> Iterator[str]:
    """No module needs itself, whether for its types or for what it runs (late imports aside)."""
    graph = {
        module: {
            target if target in MODULES else target.rpartition(".")[0]
            for target, found in inside(module)
            if not found.late and target
        }
        - {module}
        for module in MODULES
    }
    number: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []

    def visit(module: str) -> Iterator[str]:
        number[module] = low[module] = len(number)
        stack.append(module)
        for target in sorted(graph.get(module, ())):
            if target not in number:
                yield from visit(target)
                low[module] = min(low[module], low[target])
            elif target in stack:
                low[module] = min(low[module], number[target])
        if low[module] == number[module]:
            circle = stack[stack.index(module) :]
            del stack[stack.index(module) :]
            if len(circle) > 1:
                yield " ".join(sorted(circle))

    for module in MODULES:
        if module not in number:
            yield from visit(module)


def strangers() -> Iterator[str]:
    """Other packages are imported where they belong, optional drivers at first use."""
    for module in MODULES:
        for found in imports(module):
            name = found.module.split(".")[0]
            if found.typed or name == PACKAGE or name in sys.stdlib_module_names:
                continue
            if found.module in EVERYWHERE:
                continue
            where, at_first_use = FOREIGN.get(name, ("", True))
            allowed = any(
                fnmatchcase(f"{module}.", f"{one.removesuffix('.*')}.*") for one in where.split()
            )
            if not allowed or (at_first_use and not found.late):
                yield f"{module} -> {name}"


def towers() -> Iterator[str]:
    """No class has more than one ancestor of ours; the trees of errors and stores may."""
    for key in classes():
        family = [key, *ancestors(key)]
        if len(family) > 2 and not any(one.startswith(tuple(FAMILIES)) for one in family):
            yield key


def long_modules() -> Iterator[str]:
    """A module has at most 400 lines."""
    for module, path in MODULES.items():
        if path.read_text().count("\n") > MOST_LINES:
            yield module


def long_functions() -> Iterator[str]:
    """A function has at most 60 lines."""
    for module in MODULES:
        for node in ast.walk(tree(module)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                assert node.end_lineno
                if node.end_lineno - node.lineno >= MOST_LINES_OF_A_FUNCTION:
                    yield f"{module}:{node.name}"


def twins() -> Iterator[str]:
    """A public class's name is one class's."""
    homes = defaultdict(list)
    for key in classes():
        module, _, name = key.partition(":")
        if not name.startswith("_"):
            homes[name].append(module)
    for name, where in homes.items():
        if len(where) > 1:
            yield f"{name}: {' '.join(sorted(where))}"


def own_forks() -> Iterator[str]:
    """What a fork's child forgets is said to one module."""
    for module in MODULES:
        if module != "forks" and "register_at_fork" in MODULES[module].read_text():
            yield module


def silent_doors() -> Iterator[str]:
    """Each room, and each package in one, says what it is for."""
    for module, path in MODULES.items():
        if path.name == "__init__.py" and not ast.get_docstring(tree(module)):
            yield module


RULES: list[Callable[[], Iterator[str]]] = [
    strange_root,
    upwards,
    past_a_door,
    floors,
    circles,
    strangers,
    towers,
    long_modules,
    long_functions,
    twins,
    own_forks,
    silent_doors,
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_house_keeps_its_rules(rule: Callable[[], Iterator[str]]) -> None:
    """Nothing breaks a rule but what is known to, and what is known still does."""
    found, known = set(rule()), set(KNOWN.get(rule.__name__, ()))
    assert rule.__doc__
    assert not found - known, f"{rule.__doc__} Not so: {sorted(found - known)}"
    assert not known - found, f"ended; take it out of KNOWN: {sorted(known - found)}"


def test_what_is_known_belongs_to_a_rule() -> None:
    """KNOWN names no rule that does not exist, and says of each what will end it."""
    assert set(KNOWN) <= {rule.__name__ for rule in RULES}
    assert all(why for rows in KNOWN.values() for why in rows.values())


# -- the core alone ----------------------------------------------------------------------

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
    blocked = set(FOREIGN) - {"werkzeug"}
    core = [f"{PACKAGE}.{module}" for module in MODULES if room(module) in [*GROUND, *CORE]]

    ran = subprocess.run(
        [sys.executable, "-c", BARE, " ".join(blocked), PACKAGE, *core],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert core
    assert ran.returncode == 0, ran.stderr


# -- the drawing -------------------------------------------------------------------------


def drawn() -> list[str]:
    """The map: a line a room, with what it is for and which rooms it takes something from."""
    lines = [f"{PACKAGE}/", f"    {'  '.join(one for one in GROUND if one in MODULES)}"]
    for one in (one for one in ROOMS if one in MODULES):
        text = (ast.get_docstring(tree(one)) or "").split("\n\n")[0].replace("\n", " ")
        taken = {
            room(target)
            for module in MODULES
            if room(module) == one
            for target, found in inside(module)
            if not found.typed and not found.late and room(target) not in (one, *GROUND)
        }
        names = sorted({m.split(".")[1] for m in MODULES if m.startswith(f"{one}.")})
        lines += ["", f"    {one}/", f"        {text}"]
        lines += [f"        holds: {part}" for part in [" ".join(names)] if part]
        below = " ".join(other for other in ROOMS if other in taken)
        lines += [f"        takes from: {below or 'the ground alone'}"]
    return lines


def test_the_design_shows_this_map() -> None:
    """docs/design.rst has the map as it is (``python tests/test_map.py`` prints it)."""
    page = (ROOT / "docs" / "design.rst").read_text()
    shown = "\n".join(f"    {line}".rstrip() for line in drawn())
    assert shown in page, "put what `python tests/test_map.py` prints into docs/design.rst"


if __name__ == "__main__":
    print("\n".join(drawn()))
