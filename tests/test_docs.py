"""The docs: what they show runs, and what there is stands in them.

Every file in ``docs/examples/`` is shown by a page (``literalinclude``) and is run here: its
function ``try_it()`` drives what it defines and asserts what the page says of it. A page shows
it or leaves it out (``:end-before: def try_it``).

Every Python block in README.md and in a page is run too, page by page and top down, in one
namespace and in an empty folder. A block that cannot run alone is preceded by the comment
``.. not run: why`` (in Markdown ``<!-- not run: why -->``); it must still be Python.
"""

from __future__ import annotations

import ast
import inspect
import re
import runpy
import shutil
import sys
import textwrap
import types
from dataclasses import dataclass
from pathlib import Path

import pytest

import flask_clustertoken
from flask_clustertoken import Settings

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
EXAMPLES = sorted((DOCS / "examples").glob("*.py"))
PAGES = sorted(DOCS.glob("*.rst"))
#: Examples beside extensions that are not to be had, at these versions, for the oldest Python.
BESIDE = {"appbuilder_users", "flask_security_users"}
READ = [path for path in [ROOT / "README.md", *PAGES] if path.exists()]


@dataclass(frozen=True)
class Block:
    """Python source that a reader sees, from *line* on; *why* it is not run, if it is not."""

    line: int
    source: str
    why: str | None


MARKDOWN = re.compile(r"^```python\n(.*?)^```$", re.M | re.S)
RST = re.compile(
    r"^([ ]*)\.\. code-block:: python\n"
    r"((?:\1[ ]+:.*\n)*)"  # options
    r"((?:\1[ ]+.*\n|[ ]*\n)+)",
    re.M,
)
NOT_RUN = re.compile(r"(?:<!-- not run: (.+?) -->|\.\. not run: (.+))\s*\Z")


def blocks(path: Path) -> list[Block]:
    text = path.read_text() + "\n"
    found = []
    for match in (MARKDOWN if path.suffix == ".md" else RST).finditer(text):
        source = textwrap.dedent(match[match.lastindex or 1])
        said = NOT_RUN.search(text[: match.start()])
        why = (said[1] or said[2]) if said else None
        found.append(Block(text.count("\n", 0, match.start(match.lastindex or 1)), source, why))
    return found


@pytest.mark.parametrize("path", READ, ids=lambda path: path.name)
def test_blocks_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The Python blocks of a page run from top to bottom, as a reader would type them."""
    monkeypatch.chdir(tmp_path)
    page = types.ModuleType("page")

    for block in blocks(path):
        # The line numbers of a traceback are those of the page.
        code = compile("\n" * block.line + block.source, str(path.relative_to(ROOT)), "exec")
        if block.why is None:
            exec(code, page.__dict__)


@pytest.mark.long
@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_run(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An example does what its page says; it is run as a copy, in a folder of its own."""
    if path.stem in BESIDE and sys.version_info < (3, 11):
        pytest.skip("what it stands beside needs a newer Python (setup.cfg)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(path.parent))
    # In front of it, so that Flask looks for an app's instance folder beside the copy.
    monkeypatch.syspath_prepend(str(tmp_path))
    copy = shutil.copy(path, tmp_path)

    names = runpy.run_path(str(copy), run_name=path.stem)

    assert "try_it" in names, f"{path.name} has no try_it(): how would we know that it works?"
    names["try_it"]()


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_shown(path: Path) -> None:
    """An example that no page shows is dead."""
    assert any(f"literalinclude:: examples/{path.name}" in page.read_text() for page in PAGES)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_pages_are_in_the_contents(page: Path) -> None:
    """Every page can be reached from the front page."""
    listed = re.findall(r"^   ([\w-]+)$", (DOCS / "index.rst").read_text(), re.M)

    assert page.stem == "index" or page.stem in listed


def written(name: str) -> str:
    return (DOCS / f"{name}.rst").read_text()


def test_every_setting_is_documented() -> None:
    """settings.rst names each setting, and none that does not exist."""
    page = written("settings")
    tree = ast.parse(inspect.getsource(Settings))
    (record,) = [
        node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Settings"
    ]
    real = {
        f"CLUSTERTOKEN_{field.target.id}".upper()
        for field in record.body
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)
    }
    named = set(re.findall(r"\bCLUSTERTOKEN_[A-Z_]*[A-Z]\b", page))

    assert real - named == set(), "not documented"
    assert named - real == set(), "documented, but there is no such setting"


def test_documented_defaults_are_the_real_ones() -> None:
    """Each entry of settings.rst gives the default that the code has."""
    entries = re.findall(
        r"^\.\. confval:: CLUSTERTOKEN_(\w+)\n   :type: .+\n   :default: ``(.+)``$",
        written("settings"),
        re.M,
    )
    documented = {name.lower(): ast.literal_eval(default) for name, default in entries}
    real = flask_clustertoken.Settings()

    assert documented == {name: getattr(real, name) for name in real.__dataclass_fields__}


def test_every_name_is_in_the_reference() -> None:
    """api.rst has every name of the package's surface."""
    page = written("api")

    names = flask_clustertoken.__all__

    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_every_error_is_in_the_reference() -> None:
    """api.rst has every error, by name or with its whole module."""
    page = written("api")
    tree = ast.parse((ROOT / "flask_clustertoken" / "errors.py").read_text())
    names = [node.name for node in tree.body if isinstance(node, ast.ClassDef)]

    if "automodule:: flask_clustertoken.errors" not in page:
        assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


def test_every_store_is_documented() -> None:
    """stores.rst has each scheme that a ``STORE`` setting may begin with."""
    from flask_clustertoken.stores import _BUILT_IN

    page = written("stores")

    assert [scheme for scheme in _BUILT_IN if f"{scheme}:" not in page] == []


def test_the_design_names_files_that_exist() -> None:
    """Each file that the page of the house names is there: its walks can be followed."""
    package = ROOT / "flask_clustertoken"
    named = set(re.findall(r"``((?:[a-z_]+/)*[a-z_]+\.py)``", written("design")))

    assert len(named) > 20
    there = [name for name in named if list(package.rglob(name)) or (ROOT / name).exists()]
    assert sorted(named - set(there)) == []


STEP = re.compile(
    r"^:(?:meth|func|class|attr):`~?\.([\w.]+)` +(?:``((?:\w+/)*\w+\.py)``|\\) +\S", re.M
)


def test_the_walks_lead_to_their_functions() -> None:
    """Each function on a walk through the house stands in the file named beside it, and in the
    reference, so that its link leads to its source."""
    reference = written("inside") + written("api")
    steps = STEP.findall(written("design"))

    assert len(steps) > 25
    file = ""
    for name, beside in steps:
        file = beside or file
        tree = ast.parse((ROOT / "flask_clustertoken" / file).read_text())
        owner, _, last = name.rpartition(".")
        classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
        body = classes[owner].body if owner in classes else tree.body
        found = [
            node
            for node in body
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)) and node.name == last
        ]
        assert found, f"{file} has no {name}"
        documented = rf"\.{name}\b|autoclass:: [\w.]+\.{owner or last}\n   :(undoc-)?members:"
        module = f"automodule:: flask_clustertoken.{file.removesuffix('.py').replace('/', '.')}"
        assert re.search(documented, reference) or module in reference, f"{name} is in no reference"
