"""What is said in one file is not contradicted in another."""

from __future__ import annotations

import configparser
import re
from importlib.metadata import version
from pathlib import Path

import pytest

from scripts import check_package

ROOT = Path(__file__).resolve().parent.parent


def setup_cfg() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def requirements(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip() and line.strip()[0] != "#"]


def lower_bounds(text: str) -> dict[str, str]:
    pairs = (line.split(">=") for line in requirements(text) if ">=" in line)
    return {name.split("[")[0]: bound for name, bound in pairs}


def exact_versions(file: str) -> dict[str, str]:
    text = (ROOT / "requirements" / file).read_text()
    pairs = (line.split(";")[0].strip().split("==") for line in requirements(text))
    return {name.lower(): exact for name, exact in pairs}


def numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]


def test_dependencies_have_lower_bounds_only() -> None:
    """No dependency is capped, and each one of the core has a lower bound."""
    core = setup_cfg()["options"]["install_requires"]
    extras = dict(setup_cfg()["options.extras_require"])

    assert all(">=" in line for line in requirements(core))
    for line in requirements("\n".join([core, *extras.values()])):
        assert not re.search(r"[<~]|==|!=", line), line


def test_lowest_versions_are_the_lower_bounds() -> None:
    """``requirements/lowest.txt`` pins what setup.cfg promises to work with."""
    bounds = lower_bounds(setup_cfg()["options"]["install_requires"])
    for extra in ("zookeeper", "redis", "postgresql", "metrics", "console", "otel"):
        bounds |= lower_bounds(setup_cfg()["options.extras_require"][extra])
    lowest = exact_versions("lowest.txt")

    assert set(lowest) == {name.lower() for name in bounds}
    for name, bound in bounds.items():
        exact = numbers(lowest[name.lower()])
        assert exact[: len(numbers(bound))] == numbers(bound), name
        assert not any(exact[len(numbers(bound)) :]), name


def test_pins_cover_every_requirement() -> None:
    """Whatever setup.cfg names has one exact version that the tests ran with."""
    sections = [setup_cfg()["options"]["install_requires"]]
    sections += dict(setup_cfg()["options.extras_require"]).values()
    pins = exact_versions("pins.txt")

    for line in requirements("\n".join(sections)):
        name = re.split(r"[\[>]", line)[0].lower()
        assert name in pins, f"requirements/pins.txt does not pin {name}"


def test_version_is_said_once() -> None:
    """The installed version is that of setup.cfg, and CHANGES.md has a section for it."""
    stated = setup_cfg()["metadata"]["version"]

    assert version("Flask-ClusterToken") == stated, "install the project again"
    assert re.search(rf"^## {re.escape(stated)}$", (ROOT / "CHANGES.md").read_text(), re.M)


def test_type_marker_is_shipped() -> None:
    """Type checkers find the marker in the installed package."""
    assert (ROOT / "flask_clustertoken" / "py.typed").exists()
    assert "py.typed" in setup_cfg()["options.package_data"]["flask_clustertoken"]


def test_scripts_for_redis_are_shipped() -> None:
    """The store reads them from the installed package."""
    shipped = setup_cfg()["options.package_data"]["flask_clustertoken.stores.redis"]

    assert "lua/*.lua" in shipped.split()
    assert list((ROOT / "flask_clustertoken" / "stores" / "redis" / "lua").glob("*.lua"))


@pytest.mark.parametrize("folder", ["sql", "schema"])
def test_statements_for_postgresql_are_shipped(folder: str) -> None:
    """The store, and whoever prints the schema, read them from the installed package."""
    shipped = setup_cfg()["options.package_data"]["flask_clustertoken.stores.postgresql"]

    assert f"{folder}/*.sql" in shipped.split()
    assert list((ROOT / "flask_clustertoken/stores/postgresql" / folder).glob("*.sql"))


def test_the_pages_files_are_shipped() -> None:
    """Templates, style, script and catalogs: every file of the room that is no Python."""
    shipped = setup_cfg()["options.package_data"]["flask_clustertoken.console"].split()
    room = ROOT / "flask_clustertoken" / "console"
    found = {path for path in room.rglob("*") if path.is_file() and path.suffix[:3] != ".py"}

    assert found == {path for pattern in shipped for path in room.glob(pattern)}
    assert {path.suffix for path in found} == {".html", ".css", ".js", ".po", ".mo"}


def test_licence_is_named_and_there() -> None:
    """The licence that the metadata name is the one in the tree."""
    assert setup_cfg()["metadata"]["license"] == "BSD-3-Clause"
    assert "Redistribution and use in source and binary forms" in (ROOT / "LICENSE").read_text()


def test_each_extra_for_users_is_tried_alone() -> None:
    """What CI installs by itself are the extras that are not for working on the project."""
    ours = {"example", "test", "style", "docs", "bench"}
    extras = set(setup_cfg()["options.extras_require"]) - ours

    assert set(check_package.PROMISES) == set(check_package.DRIVERS) == {"", *extras}
