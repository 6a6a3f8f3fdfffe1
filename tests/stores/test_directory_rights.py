"""Who may read and write the embedded store's files, and where they may lie."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from flask_clustertoken.errors import (
    ConfigurationError,
    StoreUnavailable,
)
from flask_clustertoken.stores.base import Put
from flask_clustertoken.stores.directory import DirectoryStore
from flask_clustertoken.stores.directory import folder as _folder
from flask_clustertoken.testing.contract import feed_of

from .folders import NOBODY, Open, as_nobody, entry, fill


def test_what_it_makes_is_for_its_owner_alone(open_: Open, folder: Path) -> None:
    """The folder has 0700, each file 0600, and a note says what they are."""
    fill(open_(), 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    made = {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}
    assert set(made.values()) == {0o600}
    note = (folder / "README.txt").read_text()
    for name in made.keys() - {"README.txt"}:
        assert name.replace("default", "<realm>") in note


def test_a_folder_that_everybody_may_write_is_refused(open_: Open, folder: Path) -> None:
    """Unless its sticky bit keeps others from replacing files."""
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(ConfigurationError, match="chmod 700"):
        open_().root()
    assert list(folder.iterdir()) == []
    folder.chmod(0o1777)
    open_().root()


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.sshfs", "glusterfs"])
def test_a_network_file_system_is_refused(
    open_: Open, folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the setting and the remedy; nothing is made there."""
    parent = str(folder.parent).replace(" ", "\\040")
    table = (
        "20 1 8:1 / / rw - ext4 /dev/sda1 rw\n"
        f"30 20 0:40 / {parent} rw,relatime shared:3 - {kind} server:/export rw\n"
        f"31 20 0:41 / {parent}x rw - ext4 /dev/sdb1 rw\n"
    )
    monkeypatch.setattr(_folder, "_mount_table", lambda: table)
    with pytest.raises(ConfigurationError, match="zookeeper://") as caught:
        open_().root()
    assert caught.value.setting == "STORE"
    assert kind in str(caught.value)
    assert not folder.exists()


def test_a_local_disk_above_a_network_one_is_fine(
    open_: Open, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mount that holds the folder decides, the later of two on one point."""
    table = (
        "20 1 0:9 / / rw - nfs server:/ rw\n"
        f"30 20 0:40 / {folder.parent} rw - cifs //server/share rw\n"
        f"31 30 8:2 / {folder.parent} rw - ext4 /dev/sda2 rw\n"
    )
    monkeypatch.setattr(_folder, "_mount_table", lambda: table)
    open_().root()


@pytest.mark.processes
def test_who_cannot_map_the_counter_does_not_open_the_store(open_to_all: Path) -> None:
    """The error names the file and the rights that are missing."""
    path = open_to_all / "shared"
    with DirectoryStore(path) as store:
        store.put("key", b"", None)
    for file in [path, *path.iterdir()]:
        file.chmod(0o755)

    def refused() -> bool:
        try:
            DirectoryStore(path, timeout=1).get("key")
        except StoreUnavailable as error:
            return "default.head" in str(error) and isinstance(error.__cause__, PermissionError)
        return False

    assert as_nobody(refused)


@pytest.mark.processes
def test_a_database_that_may_only_be_read_is_read(open_to_all: Path) -> None:
    """Writing raises; reading goes on where it can."""
    path = open_to_all / "shared"
    with DirectoryStore(path) as store:
        store.append([entry("a")], [Put("key", b"value", None)])
        if os.geteuid() == 0:
            os.chown(path, NOBODY, NOBODY)
            os.chown(path / "default.head", NOBODY, NOBODY)
        for file in path.glob("default.sqlite3*"):
            file.chmod(0o444)

        def read_only() -> bool:
            mine = DirectoryStore(path, timeout=1)
            found = mine.get("key")
            for write in (
                lambda: mine.put("x", b"", None),
                lambda: mine.append([entry("b")]),
            ):
                try:
                    write()
                except StoreUnavailable:
                    continue
                return False
            mine.close()
            return found is not None and found.value == b"value"

        assert as_nobody(read_only)
        assert [one.id for one in feed_of(store)] == ["a"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can meet a folder of somebody else")
def test_root_makes_nothing_in_somebody_elses_folder(open_: Open, folder: Path) -> None:
    """The app could not open what belongs to root; what is there already is used as it is."""
    folder.mkdir(mode=0o700)
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(StoreUnavailable, match="as root nothing is created"):
        open_().root()
    with pytest.raises(StoreUnavailable, match="as root nothing is created"):
        open_(folder / "below").root()
    assert list(folder.iterdir()) == []
    os.chown(folder, 0, 0)
    with open_() as store:
        store.put("key", b"", None)
    for path in [folder, *folder.iterdir()]:
        os.chown(path, NOBODY, NOBODY)
    with open_() as store:
        store.put("more", b"", None)
        assert {path.stat().st_uid for path in folder.iterdir()} == {NOBODY}
