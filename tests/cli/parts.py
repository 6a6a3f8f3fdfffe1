"""A Flask app over the embedded store in a folder of its own, and its command line."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from flask import Flask

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.cli.context import Door
from flask_clustertoken.cli.group import tokens_group
from flask_clustertoken.extension import ClusterToken
from flask_clustertoken.settings import Settings
from flask_clustertoken.stores.memory import MemoryStore, Shelf

#: Before click 8.2 stdout and stderr were one unless asked otherwise; since then nobody may ask.
APART: dict[str, Any] = (
    {"mix_stderr": False} if "mix_stderr" in inspect.signature(CliRunner).parameters else {}
)


@dataclass
class Line:
    """The app's command line. Keeps every output, so that each can be searched for secrets."""

    app: Flask
    outputs: list[str] = field(default_factory=list)

    def __call__(self, *args: str, code: int = 0) -> Result:
        result = self.app.test_cli_runner(**APART).invoke(args=["tokens", *args])
        self.outputs.append(result.output + result.stderr)
        assert result.exit_code == code, (args, result.exit_code, result.output, result.stderr)
        return result

    def json(self, *args: str, code: int = 0) -> Any:
        """What the command says with ``--json``; stdout holds that and nothing else."""
        return json.loads(self(*args, "--json", code=code).stdout)

    @property
    def authority(self) -> TokenAuthority:
        found: TokenAuthority = self.app.extensions["clustertoken"].authority
        return found

    @property
    def key_file(self) -> Path:
        return Path(self.app.instance_path) / "token_secret"


MakeLine = Callable[..., Line]


@pytest.fixture
def make_line(tmp_path: Path) -> Iterator[MakeLine]:
    """Makes apps with settings of their own; none of their outputs may hold a secret."""
    made: list[Line] = []

    def make(folder: str = "instance", **settings: Any) -> Line:
        path = tmp_path / folder
        path.mkdir(mode=0o700, exist_ok=True)
        app = Flask("app", instance_path=str(path))
        app.config.update({f"CLUSTERTOKEN_{key}": value for key, value in settings.items()})
        app.testing = True
        ClusterToken(app)
        made.append(Line(app))
        return made[-1]

    yield make
    for line in made:
        secrets = list(line.app.config.get("CLUSTERTOKEN_SECRET") or ())
        if line.key_file.exists() and os.access(line.key_file, os.R_OK):
            secrets += line.key_file.read_text().split()
        for secret in secrets:
            assert all(secret not in output for output in line.outputs)
        line.authority.close()


@pytest.fixture
def line(make_line: MakeLine) -> Line:
    """An app with its defaults, running as a node."""
    line = make_line()
    line.authority.follower()
    return line


class FarStore(MemoryStore):
    """A memory store that behaves like a server: nodes have to answer, nothing is at once."""

    shared = True
    embedded = False


@dataclass(frozen=True)
class FarDoor(Door):
    """A door to what is on *shelf*, where the real doors open a URL."""

    shelf: Shelf = field(default_factory=Shelf)

    @contextmanager
    def authority(self, *, keys: bool = False) -> Iterator[TokenAuthority]:
        authority = TokenAuthority(
            self.settings, store=FarStore(self.shelf, clock=self.clock), active=False
        )
        try:
            yield authority
        finally:
            authority.close()


class Cluster:
    """Several nodes on one shelf."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.nodes: list[TokenAuthority] = []

    def settings(self, **given: Any) -> Settings:
        given = {"SECRET": ["0123456789" * 4], "STORE": "memory:", **given}
        return Settings.from_mapping({f"CLUSTERTOKEN_{key}": one for key, one in given.items()})

    def node(self, *, answers: bool = True, **given: Any) -> TokenAuthority:
        """A node; one that does not answer did its first round and then nothing."""
        node = TokenAuthority(self.settings(**given), store=FarStore(self.shelf), threaded=answers)
        node.follower()
        self.nodes.append(node)
        return node

    def call(self, *args: str, code: int = 0, **given: Any) -> Result:
        door = FarDoor(self.settings(**given), shelf=self.shelf)
        command = tokens_group.commands[args[0]]
        result = CliRunner(**APART).invoke(command, args[1:], obj=door)
        assert result.exit_code == code, (args, result.output, result.exception)
        return result


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    cluster = Cluster()
    yield cluster
    for node in cluster.nodes:
        node.close()
