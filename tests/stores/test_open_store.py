"""A store is opened by its URL, and a wrong one stops the start with a remedy."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from flask_clustertoken import stores
from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError
from flask_clustertoken.stores import home_of, open_store, schemes, unshared
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.memory import MemoryStore


def test_memory_has_no_path() -> None:
    """``memory:`` is the store of this process and takes nothing more."""
    assert isinstance(open_store("memory:"), MemoryStore)
    with pytest.raises(ConfigurationError, match="STORE"):
        open_store("memory:elsewhere")


def test_directory_alone_lies_in_the_instance_folder(tmp_path: Path) -> None:
    """``directory:`` is the folder ``shared`` of the app's instance folder."""
    store = open_store("directory:", instance_path=str(tmp_path))
    assert store.url == f"directory://{tmp_path}/shared"
    assert not (tmp_path / "shared").exists()


@pytest.mark.parametrize("form", ["directory://{}", "directory:{}", "directory://{}/"])
def test_directory_takes_an_absolute_path(tmp_path: Path, form: str) -> None:
    """With one slash or three; what it says of itself opens the same store."""
    with open_store(form.format(tmp_path / "a b")) as store:
        root = store.root()
        with open_store(store.url) as again:
            assert again.root() == root
    assert (tmp_path / "a b" / "default.sqlite3").exists()


@pytest.mark.parametrize(
    "url",
    [
        "directory:relative/path",
        "directory://host/path",
        "directory:./here",
        "directory:///path?mode=fast",
        "directory:",
        "directory:////double",
    ],
)
def test_directory_refuses_other_paths(url: str) -> None:
    """A relative path, a host, a query, or no instance folder: the error names STORE."""
    with pytest.raises(ConfigurationError) as caught:
        open_store(url)
    assert caught.value.setting == "STORE"
    assert "directory:///" in str(caught.value)


def test_a_relative_path_is_refused_by_the_class_too() -> None:
    """Where a process stands must not decide which store it has."""
    with pytest.raises(ConfigurationError, match="absolute"):
        DirectoryStore("shared")


@pytest.mark.parametrize("realm", ["", "a/b", "../up", "x" * 65, "a b"])
def test_a_realm_is_part_of_a_file_name(realm: str, tmp_path: Path) -> None:
    """One that could leave the folder is refused."""
    with pytest.raises(ConfigurationError, match="REALM"):
        DirectoryStore(tmp_path, realm=realm)


@pytest.mark.parametrize("url", ["memory:", "directory:///somewhere"])
def test_unknown_options_are_refused(url: str) -> None:
    """The error names the setting and the option."""
    with pytest.raises(ConfigurationError, match="speed") as caught:
        open_store(url, options={"speed": 3})
    assert caught.value.setting == "STORE_OPTIONS"


def test_an_unknown_scheme_lists_the_known() -> None:
    """The remedy names every scheme that can be used here."""
    with pytest.raises(ConfigurationError, match=r"directory:.*memory:.*zookeeper:"):
        open_store("oracle://h/x")


@pytest.mark.parametrize("url", ["", "directory", "/var/lib/app"])
def test_what_is_no_url_is_refused(url: str) -> None:
    """The error says how to write one, and names the setting that was asked about."""
    with pytest.raises(ConfigurationError) as caught:
        open_store(url, setting="TARGET")
    assert caught.value.setting == "TARGET"


class ThirdParty(MemoryStore):
    """A store that another package brings."""


def test_another_package_brings_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """A class in the entry-point group is opened by its scheme."""
    point = EntryPoint("third", f"{__name__}:ThirdParty", "flask_clustertoken.stores")
    monkeypatch.setattr(stores, "entry_points", lambda *, group: (point,))
    monkeypatch.setattr(EntryPoint, "load", lambda self: ThirdParty)
    monkeypatch.setattr(
        ThirdParty, "from_url", classmethod(lambda cls, url, **kw: cls(clock=kw["clock"]))
    )
    clock = ManualClock()
    store = open_store("third:anything", clock=clock)
    assert isinstance(store, ThirdParty)
    assert store.clock is clock
    assert "third" in schemes()


def test_what_a_store_is_its_class_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody else knows a scheme; what is no store's URL, or no such class, says nothing."""
    points = [
        EntryPoint(name, f"{__name__}:ThirdParty", "flask_clustertoken.stores")
        for name in ("third", "function")
    ]
    monkeypatch.setattr(stores, "entry_points", lambda *, group: points)
    monkeypatch.setattr(
        EntryPoint, "load", lambda self: ThirdParty if self.name == "third" else lambda: None
    )

    assert unshared("MEMORY:") == unshared("third:x") == "memory"
    others = ["directory:", "zookeeper://h/x", "function:x", "oracle:x", ""]
    assert [url for url in others if unshared(url)] == []
    assert home_of("Directory:///var/lib/app/shared/") == home_of("directory:/var/lib/app/x")
    assert home_of("directory:///var/lib/app/shared") == "/var/lib/app"
    assert [url for url in [*others, "memory:", "directory://"] if home_of(url)] == []


def test_a_folder_is_the_directory_stores_alone(tmp_path: Path) -> None:
    """And it is the store that knows what an operator should know of it; it makes nothing."""
    tmp_path.chmod(0o700)
    store = open_store(f"directory://{tmp_path}/shared")
    assert (store.host_folder, store.remarks()) == (f"{tmp_path}/shared", [])
    assert not (tmp_path / "shared").exists()
    (tmp_path / "shared").mkdir(mode=0o755)
    (remark,) = store.remarks()
    assert (remark.severity, remark.remedy) == ("warning", f"Run: chmod 700 {tmp_path}/shared")
    memory = open_store("memory:")
    assert (memory.host_folder, memory.remarks()) == ("", [])


def test_realms_do_not_meet(tmp_path: Path) -> None:
    """Two realms in one folder have a database and a counter each."""
    with (
        open_store(f"directory://{tmp_path}", realm="one") as one,
        open_store(f"directory://{tmp_path}", realm="two") as two,
    ):
        one.put("key", b"", None)
        assert two.get("key") is None
        assert one.root().epoch != two.root().epoch


@pytest.mark.parametrize("below", ["", "/below"])
def test_a_file_where_the_folder_should_be_is_a_wrong_setting(tmp_path: Path, below: str) -> None:
    """Said before anything is opened: no waiting would help."""
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigurationError, match="is not a folder"):
        open_store(f"directory://{tmp_path}/file{below}")
