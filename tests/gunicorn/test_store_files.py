"""The embedded store's files are lost, replaced or damaged while gunicorn runs."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.waiting import holds_for, paced, wait_until

from .conftest import Serve
from .server import GunicornServer

pytestmark = pytest.mark.gunicorn

#: A replaced file is noticed within a second; what is sent in these seconds is watched.
WATCHED = 2.0


def files(shared: Path) -> Iterator[Path]:
    """The database and what SQLite keeps beside it; not the counter."""
    return shared.glob("default.sqlite3*")


def backup(shared: Path, copy: Path) -> None:
    """A copy as SQLite makes it, through a connection that only reads."""
    with (
        closing(sqlite3.connect(f"file:{shared}/default.sqlite3?mode=ro", uri=True)) as source,
        closing(sqlite3.connect(copy)) as target,
    ):
        source.backup(target)


def remove(shared: Path, spare: Path) -> None:
    for one in files(shared):
        one.unlink()


def replace_by_a_strangers(shared: Path, spare: Path) -> None:
    remove(shared, spare)
    shutil.copy(spare / "stranger.sqlite3", shared / "default.sqlite3")


def put_an_old_copy_back(shared: Path, spare: Path) -> None:
    remove(shared, spare)
    shutil.copy(spare / "old.sqlite3", shared / "default.sqlite3")


def overwrite(shared: Path, spare: Path) -> None:
    for one in files(shared):
        with one.open("r+b") as file:
            file.write(b"\xa5" * one.stat().st_size)


def overwrite_the_database_alone(shared: Path, spare: Path) -> None:
    with (shared / "default.sqlite3").open("r+b") as file:
        file.write(b"\xa5" * 4096)


def cut_off(shared: Path, spare: Path) -> None:
    for one in files(shared):
        if not one.name.endswith("-shm"):
            with one.open("r+b") as file:
                file.truncate(one.stat().st_size // 2)


def remove_everything(shared: Path, spare: Path) -> None:
    for one in shared.iterdir():
        one.unlink()


Fault = Callable[[Path, Path], None]

#: What is done to the files.
FAULTS: tuple[Fault, ...] = (
    remove,
    remove_everything,
    replace_by_a_strangers,
    put_an_old_copy_back,
    overwrite,
    overwrite_the_database_alone,
    cut_off,
)


def stranger(serve: Serve, spare: Path) -> None:
    """The database of a server of its own, with a login in it."""
    folder = spare / "stranger"
    folder.mkdir()
    with GunicornServer(folder, workers=1) as other:
        other.login()
        backup(other.shared, spare / "stranger.sqlite3")


#: With the token store ``cookie`` there is no record whose absence could save us.
CASES = [(fault, "session") for fault in FAULTS]
CASES += [(fault, "cookie") for fault in (remove, put_an_old_copy_back, overwrite)]


@pytest.mark.parametrize(
    ("fault", "token_store"), CASES, ids=[f"{fault.__name__}-{kind}" for fault, kind in CASES]
)
def test_no_fault_of_the_files_revives_a_revoked_token(
    serve: Serve, tmp_path: Path, fault: Fault, token_store: str
) -> None:
    """Not one revoked token is accepted, and the worst that others see is a 503."""
    spare = tmp_path / "spare"
    spare.mkdir()
    server = serve(workers=3, settings={"TOKEN_STORE": token_store})
    long_ago, lately, honest = server.login(), server.login(), server.login()
    assert server.ask("POST", "/logout", cookie=long_ago).status == 200
    if fault is replace_by_a_strangers:
        stranger(serve, spare)
    backup(server.shared, spare / "old.sqlite3")
    assert server.ask("POST", "/logout", cookie=lately).status == 200
    for _ in range(6):
        assert server.me(honest).status == 200

    fault(server.shared, spare)

    seen: set[int] = set()
    for _ in paced(WATCHED):
        for revoked in (long_ago, lately):
            answers = server.at_once(revoked, 6)
            assert {one.status for one in answers} <= {401, 503}, fault.__name__
        for path in ("/", "/devices", "/api/tokens", "/pages/sliding", "/readyz"):
            seen.add(server.ask("GET", path, cookie=honest).status)
        seen.add(server.me(honest).status)
    assert seen <= {200, 401, 503}, server.said()[-4000:]

    # The workers come to one answer, each in its own second (which is longer on a busy machine),
    # and none of them accepts what was revoked meanwhile.
    def agree() -> bool:
        for revoked in (long_ago, lately):
            answers = server.at_once(revoked, 6)
            assert {one.status for one in answers} <= {401, 503}, fault.__name__
        return len({one.status for one in server.at_once(honest, 12)}) == 1

    wait_until(agree, 10)
    # What is refused is refused after a restart, too.
    server.stop()
    server.start_unready()
    for revoked in (long_ago, lately):
        assert {one.status for one in server.at_once(revoked, 12)} <= {401, 503}
    if fault in (put_an_old_copy_back, replace_by_a_strangers):
        # Its numbers end below those that were seen here: somebody has to say that it is meant.
        server.flask("tokens", "restored", "--yes")
        wait_until(lambda: {one.status for one in server.at_once(honest, 12)} == {401})
    fresh = server.login()
    # (On a busy disk some worker may be stale for another moment.)
    wait_until(lambda: {one.status for one in server.at_once(fresh, 12)} == {200})


def test_after_a_restore_one_command_ends_the_refusal(serve: Serve, tmp_path: Path) -> None:
    """An old copy put back is refused until ``flask tokens restored`` was run; then one logs in."""
    spare = tmp_path / "spare"
    spare.mkdir()
    server = serve(workers=2)
    old = server.login()
    backup(server.shared, spare / "old.sqlite3")
    assert server.ask("POST", "/logout", cookie=old).status == 200
    put_an_old_copy_back(server.shared, spare)
    holds_for(lambda: {one.status for one in server.at_once(old, 8)} <= {401, 503}, 1.5)

    server.flask("tokens", "restored", "--yes")

    wait_until(lambda: {one.status for one in server.at_once(old, 8)} == {401})
    new = server.login()
    wait_until(lambda: {one.status for one in server.at_once(new, 8)} == {200})
    assert {one.status for one in server.at_once(old, 8)} == {401}


def test_a_vanished_folder_is_trouble_and_no_error(serve: Serve) -> None:
    """With the whole folder moved away nobody is let in, and nothing is a 500."""
    server = serve(workers=2)
    revoked, honest = server.login(), server.login()
    assert server.ask("POST", "/logout", cookie=revoked).status == 200
    server.shared.rename(server.shared.with_name("elsewhere"))
    for _ in paced(WATCHED):
        assert server.me(revoked).status in (401, 503)
        assert server.me(honest).status in (200, 503)
        assert server.ask("GET", "/", cookie=honest).status in (200, 503)
        assert server.ask("GET", "/public").status == 200
    assert "Traceback" not in server.said() or "StoreUnavailable" in server.said()

    server.shared.with_name("elsewhere").rename(server.shared)

    wait_until(lambda: {one.status for one in server.at_once(honest, 8)} == {200})
    assert {one.status for one in server.at_once(revoked, 8)} == {401}
