"""The surface: what the package offers by name, and that it is all there."""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import flask_clustertoken
from flask_clustertoken import errors

ROOT = Path(__file__).resolve().parent.parent
SURFACE = list(flask_clustertoken.__all__)


def named_for_type_checkers() -> set[str]:
    """The names that the root imports below ``if TYPE_CHECKING:``."""
    tree = ast.parse((ROOT / "flask_clustertoken" / "__init__.py").read_text())
    return {
        alias.asname or alias.name
        for guard in tree.body
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for statement in guard.body
        if isinstance(statement, ast.ImportFrom)
        for alias in statement.names
    }


@pytest.mark.parametrize("name", SURFACE)
def test_each_promised_name_is_there(name: str) -> None:
    """Every name in ``__all__`` can be imported from the root."""
    assert getattr(flask_clustertoken, name) is not None


def test_names_for_people_and_for_checkers_agree() -> None:
    """The lazy root offers to type checkers exactly what it offers at run time."""
    assert named_for_type_checkers() == set(SURFACE)
    assert set(SURFACE) <= set(dir(flask_clustertoken))
    assert len(SURFACE) == len(set(SURFACE))


def test_unknown_name_is_an_attribute_error() -> None:
    """A name that the root does not have is missed as in any module."""
    with pytest.raises(AttributeError, match="no_such_name"):
        flask_clustertoken.no_such_name  # type: ignore[attr-defined]  # noqa: B018


@pytest.mark.parametrize("name", SURFACE)
def test_each_promised_name_says_what_it_is(name: str) -> None:
    """Classes and functions on the surface, and their public methods, have a docstring."""
    thing = getattr(flask_clustertoken, name)
    if not (inspect.isclass(thing) or inspect.isfunction(thing)):
        return

    assert inspect.getdoc(thing), name
    if inspect.isclass(thing):
        for method, function in inspect.getmembers(thing, inspect.isfunction):
            ours = function.__module__.startswith("flask_clustertoken")
            assert method.startswith("_") or not ours or inspect.getdoc(function), (
                f"{name}.{method} has no docstring"
            )


def test_importing_the_root_imports_no_flask() -> None:
    """``import flask_clustertoken`` is cheap: Flask and the drivers come with their first use."""
    program = "import sys, flask_clustertoken; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()

    assert "flask_clustertoken" in loaded
    assert not {"flask", "kazoo", "redis", "psycopg", "click", "blinker", "sqlite3"} & set(loaded)


def test_the_drawn_tree_of_errors_is_the_real_one() -> None:
    """The tree at the top of ``errors`` has every error, below the one it derives from."""
    drawn: dict[str, str] = {}
    above: list[str] = []
    for line in inspect.getdoc(errors).splitlines():  # type: ignore[union-attr]
        found = re.match(r"^ {4}((?:[│ ]   )*(?:[├└]── )?)(\w+)(?:\s|$)", line)
        if found:
            depth = len(found[1]) // 4
            above[depth:] = [found[2]]
            drawn[found[2]] = above[depth - 1] if depth else "Exception"
    real = {
        name: thing.__bases__[0].__name__
        for name, thing in vars(errors).items()
        if inspect.isclass(thing) and issubclass(thing, errors.ClusterTokenError)
    }

    assert drawn == real


def test_every_module_has_a_docstring() -> None:
    """Each file says at its top what it is."""
    for path in sorted((ROOT / "flask_clustertoken").rglob("*.py")):
        assert ast.get_docstring(ast.parse(path.read_text())), path.name


def test_the_package_runs_as_a_program() -> None:
    """``python -m flask_clustertoken`` has a door."""
    assert importlib.util.find_spec("flask_clustertoken.__main__") is not None
