"""Moving house, cut off anywhere, suspended, or begun by two."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from flask_clustertoken.clock import ManualClock, SystemClock
from flask_clustertoken.errors import StoreNotOpen
from flask_clustertoken.operations import Migration, migrate
from flask_clustertoken.operations.migration import (
    LEASE,
    LEASE_FOR,
    MigrationIncomplete,
)
from tests.operations.houses import (
    Builder,
    Cut,
    Inhabitants,
    Killed,
    Suspended,
    both,
    directory_houses,
    memory_houses,
    snapshot,
)


@pytest.mark.processes
@both
def test_cut_off_anywhere_it_is_repeated(build: Builder, tmp_path: Path) -> None:
    """Killed before its n-th call, for each n, and repeated: the outcome is always the same."""
    for calls in range(10_000):
        clock = ManualClock()
        folder = tmp_path / str(calls)
        folder.mkdir()
        source, target = build(folder, clock)
        people = Inhabitants()
        people.move_in(source.authority())
        left = [calls]
        with source.open() as old, target.open() as new:
            try:
                migrate(Killed(old, left), Killed(new, left), clock=clock)  # type: ignore[arg-type]
            except Cut:
                # Never may the target be in use before the source is out of it.
                assert (
                    new.root().state != "open"
                    or old.root().epoch != new.root().epoch
                    or (old.root().state == "sealed")
                )
            else:
                assert calls > 20
                return
            if old.root().state == "open":
                people.busy(source.authority())
            clock.advance(LEASE_FOR + 1)
            migrate(old, new)
            again = migrate(old, new)
            assert again == Migration(old.url, new.url, repeated=True)
        people.check(target)


def test_two_processes_and_a_live_writer(tmp_path: Path) -> None:
    """Over real files, while another thread logs in and out: nothing is lost, nothing revives."""
    source, target = directory_houses(tmp_path, SystemClock())
    people = Inhabitants()
    people.move_in(source.authority())
    writing, sealed = threading.Event(), threading.Event()

    def live() -> None:
        authority = source.authority()
        try:
            while True:
                people.busy(authority)
                writing.set()
        except StoreNotOpen:
            # What was under way when the store was sealed was handed to nobody.
            sealed.set()
        finally:
            authority.close()

    thread = threading.Thread(target=live)
    thread.start()
    assert writing.wait(30)
    with source.open() as old, target.open() as new:
        migrate(old, new)
    thread.join(30)

    assert sealed.is_set()
    with source.open() as old, target.open() as new:
        assert snapshot(new)[0] == snapshot(old)[0]
    # The last moment may have been cut in two, so only what had come to its end is looked at.
    moved = target.authority(active=True)
    people.check_texts(moved)
    moved.close()


def test_two_migrations_do_not_mix(tmp_path: Path) -> None:
    """While one fills the target, another one is sent away."""
    source, target = memory_houses(tmp_path, ManualClock())
    Inhabitants().move_in(source.authority())
    met: list[int] = []

    def second(*_: object) -> None:
        if not met:
            met.append(1)
            with (
                source.open() as old,
                target.open() as new,
                pytest.raises(MigrationIncomplete, match="another migration"),
            ):
                migrate(old, new)

    with source.open() as old, target.open() as new:
        migrate(old, new, second)
    assert met


def test_who_was_suspended_writes_nothing_more(tmp_path: Path) -> None:
    """A migration that lost its lease stops: the target may be in use by now."""
    clock = ManualClock()
    source, target = memory_houses(tmp_path, clock)
    Inhabitants().move_in(source.authority())

    def sleep(what: str, *_: object) -> None:
        if what == "copying: records":
            clock.advance(LEASE_FOR + 1)

    with source.open() as old, target.open() as new:
        with pytest.raises(MigrationIncomplete, match="too long"):
            migrate(old, new, sleep)
        assert new.root().state == "preparing"


@both
def test_who_was_suspended_before_its_write_writes_nothing(build: Builder, tmp_path: Path) -> None:
    """It had looked whether it may; while it slept another one has begun, and may know better."""
    clock = ManualClock()
    source, target = build(tmp_path, clock)
    Inhabitants().move_in(source.authority())
    with source.open() as old, target.open() as new, target.open() as other:

        def sleep() -> None:
            clock.advance(LEASE_FOR + 1)
            assert other.add(LEASE, b"somebody else", clock.time() + LEASE_FOR)

        with pytest.raises(MigrationIncomplete, match="too long"):
            migrate(old, Suspended(new, sleep))  # type: ignore[arg-type]
        assert new.root().state == "preparing"
        assert [key for key, _ in new.scan("")] == [LEASE]
        assert new.get(LEASE).value == b"somebody else"  # type: ignore[union-attr]
