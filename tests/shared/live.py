"""What processes share over a store: the same tests for each kind of it, with its real server."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import tracemalloc
from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.errors import FilesFull, StoreDamaged, ValueTooLarge
from flask_clustertoken.operations import migrate
from flask_clustertoken.shared import sweep_files
from flask_clustertoken.shared.fileinfo import PIECE
from flask_clustertoken.shared.upload import GRACE, UPLOAD_LIFE
from flask_clustertoken.stores.base import ClusterStore
from tests.conftest import Tell
from tests.forked import Forked
from tests.rounds import FULL, rounds
from tests.waiting import holds_for

from .handover import handed_over
from .places import Endless, Place, asked, drained, fence, line, looking, tell_it, worker

#: Where files, and what belongs to them, stand in the store.
AREAS = ("file/", "upload/", "unnamed/", "piece/")


def left_of_files(store: ClusterStore, *names: str) -> list[str]:
    """What there is of files, but for those under *names*; what all of them take is right."""
    found = [(key, record) for area in AREAS for key, record in store.walk(area)]
    pieces = sum(len(record.value) for key, record in found if key.startswith("piece/"))
    room = store.get("room/default")
    assert (0 if room is None else int(room.value)) == pieces
    return [
        key for key, _ in found if not key.startswith(tuple(f"file/default:{n}/" for n in names))
    ]


class SharedDataContract:
    """Whoever derives gives the fixture ``place``, and says how the store is called."""

    name = ""

    @pytest.fixture
    def node(self, place: Place) -> Iterator[TokenAuthority]:
        with looking(place) as node:
            yield node

    # lists

    def test_updates_of_many_processes_lose_nothing(
        self, place: Place, node: TokenAuthority, tell: Tell
    ) -> None:
        """8 processes add to one list: every number of each is there once, in its order."""
        many, count = rounds(4, 8), rounds(25, 500)
        with contextlib.ExitStack() as stack:
            workers = [
                stack.enter_context(worker(place, "update", name, count)) for name in range(many)
            ]
            assert [line(one) for one in workers] == ["done"] * many
        found = node.shared("lists").get("all")
        tell(f"one list, {self.name}", processes=many, updates=many * count, there=len(found))
        assert len(found) == many * count
        for name in range(many):
            assert [number for who, number in found if who == name] == list(range(count))

    # tasks

    def test_a_slot_runs_once_whoever_is_killed(
        self, place: Place, node: TokenAuthority, tmp_path: Path, tell: Tell
    ) -> None:
        """Each of many slots ran once or, where its process was killed, not at all."""
        many, slots, killed = rounds(6, 50), rounds(60, 200), rounds(2, 10)
        log = tmp_path / "ran"
        with contextlib.ExitStack() as stack:
            workers = [stack.enter_context(worker(place, "once", log, slots)) for _ in range(many)]
            for one in workers:
                assert line(one) == "ready"
            for one in workers:
                tell_it(one)
            for one in workers[:killed]:
                one.send_signal(signal.SIGKILL)
            assert [line(one) for one in workers[killed:]] == ["done"] * (many - killed)
        ran = Counter(log.read_text().split())
        tell(
            f"slots, {self.name}",
            processes=many,
            killed=killed,
            slots=slots,
            ran=len(ran),
            ran_twice=sum(count > 1 for count in ran.values()),
        )
        assert set(ran.values()) == {1}
        assert slots - killed <= len(ran) <= slots

    def test_one_process_after_the_other_holds_the_lease(
        self, place: Place, node: TokenAuthority, tmp_path: Path
    ) -> None:
        """Who lets go is followed by whoever waits, under a higher fence; meanwhile by nobody."""
        with contextlib.ExitStack() as stack:
            with node.shared("tasks").lease("lease", 20.0) as lease:
                waits = worker(place, "hold", "lease", 20.0, tmp_path / "acts")
                other = stack.enter_context(waits)
                assert line(other) == "asks"
                assert lease.held
            assert fence(other) > lease.fence
            assert not node.shared("tasks").lease("lease", 20.0).take()

    @pytest.mark.parametrize("how", ["frozen", "killed"])
    def test_never_two_hold_a_lease(
        self, place: Place, node: TokenAuthority, tmp_path: Path, tell: Tell, how: str
    ) -> None:
        """Whoever is frozen has lost it before another has it, and says so as it wakes; who was
        killed holds up the others no longer than its lease and the clocks' difference."""
        number = signal.SIGSTOP if how == "frozen" else signal.SIGKILL

        def harm(holders: Sequence[Forked]) -> None:
            for one in holders:
                os.kill(one.pid, number)

        def mend(holders: Sequence[Forked]) -> None:
            for one in holders:
                os.kill(one.pid, signal.SIGCONT)
                assert asked(one) == "lost"

        acts = handed_over(place, place, tmp_path, harm, mend if how == "frozen" else None)
        tell(f"lease, holder {how}, {self.name}", leases=len(acts), acts=sum(acts), overlaps=0)

    # files

    def test_a_large_file_needs_the_memory_of_few_pieces(
        self, node: TokenAuthority, tell: Tell
    ) -> None:
        """Up and down, however large it is: of four at most; and it comes back whole."""
        pieces = rounds(16, 86)  # 3 MB, and 16 MB
        node.files("fonts").put("warm", b"x" * (PIECE + 1))
        node.files("fonts").open("warm").read()
        tracemalloc.start()
        try:
            info = node.files("fonts").put("large", Endless(pieces))
            up = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            whole = sha256()
            with node.files("fonts").open("large") as opened:
                while some := opened.read(PIECE // 3):
                    whole.update(some)
            down = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        tell(
            f"file of {info.size // 1024**2} MB, {self.name}",
            pieces_held_up=f"{up / PIECE:.1f}",
            pieces_held_down=f"{down / PIECE:.1f}",
        )
        assert info.size == pieces * PIECE
        assert whole.hexdigest() == info.sha256
        assert max(up, down) < 4 * PIECE, (up / PIECE, down / PIECE)

    def test_files_are_whole_whoever_is_killed(
        self, place: Place, node: TokenAuthority, tell: Tell
    ) -> None:
        """8 processes at once: some store, some are killed while they do, some read and delete,
        one sweeps. Every read is one whole version, and nothing is left over, to the byte."""
        kills, seconds, pause = rounds(8, 100), rounds(2, 60), 0 if FULL else 0.02
        began = node.clock.monotonic()
        with contextlib.ExitStack() as stack:
            sweeper = stack.enter_context(worker(place, "sweep"))
            assert line(sweeper) == "sweeping"
            steady = [stack.enter_context(worker(place, "store", seed, pause)) for seed in range(2)]
            for one in steady:
                assert line(one) == "stored"
                stack.enter_context(drained(one))
            readers = [stack.enter_context(worker(place, "read", seed)) for seed in range(3)]
            for number in range(0, kills, 2):
                with contextlib.ExitStack() as soon:
                    both = (number, number + 1)
                    doomed = [soon.enter_context(worker(place, "store", 9 + n)) for n in both]
                    for one in doomed:
                        assert line(one) == "stored"
            left = node.clock.monotonic() - began
            holds_for(lambda: all(one.poll() is None for one in readers), seconds - left)
            told = [asked(one) for one in readers]
        reads = sum(int(one.removeprefix("read ")) for one in told)
        under_way = sum(1 for _ in node.store.walk("upload/"))
        later = ManualClock(node.clock.time() + UPLOAD_LIFE + GRACE + 2 * SKEW + 10)
        while sweep_files(node.store, later):
            pass
        tell(
            f"files, {self.name}",
            processes=8,
            seconds=f"{node.clock.monotonic() - began:.0f}",
            killed=kills,
            left_in_the_middle=under_way,
            reads=reads,
            not_whole=0,
        )
        assert reads > 0
        assert under_way > 0, "nobody was killed in the middle of an upload"
        kept = sum(info.size for info in node.files("many").infos())
        assert sum(len(record.value) for _, record in node.store.walk("piece/")) == kept
        assert not [one for one in left_of_files(node.store, "many") if "piece/" not in one]

    def test_a_flipped_byte_is_never_given(self, node: TokenAuthority) -> None:
        """Also where the store itself has it so: what comes before it is given, then an error."""
        content = os.urandom(2 * PIECE + 10)
        files = node.files("fonts")
        files.put("f", content)
        key, record = next(one for one in node.store.walk("piece/") if one[0].endswith("/1"))
        flipped = bytearray(record.value)
        flipped[1000] ^= 1
        node.store.put(key, bytes(flipped), record.expires_at)
        opened = files.open("f")
        assert opened.read(PIECE) == content[:PIECE]
        with pytest.raises(StoreDamaged, match="piece 2 of 3"):
            opened.read(1)
        opened = files.open("f")
        opened.seek(2 * PIECE)
        assert opened.read() == content[2 * PIECE :]

    def test_bad_input_is_an_error_and_leaves_nothing_behind(
        self, place: Place, node: TokenAuthority
    ) -> None:
        """Keys that are none, streams that raise, and sizes that turn out too large at the end;
        what looks like a path is a key, and comes back as it was given."""
        chance = random.Random(1)
        faces = "".join(chr(chance.randrange(0x1F300, 0x1FAFF)) for _ in range(128))
        signs = "".join(chance.choices([chr(one) for one in range(1, 48)], k=512))
        odd = ["../x", "/etc/passwd", ".", "..", "a\x00b", faces, signs, "a b%2f", "=", "%"]
        for key in odd:
            node.files("odd").put(key, key.encode())
            assert node.shared(key).once(key, key)
            node.shared("odd").update(key, lambda _, key=key: key)  # type: ignore[misc]
            assert node.shared("odd").once(key, key)
            assert not node.shared("odd").once(key, key)
            with node.shared("odd").lease(key, 20) as lease:
                assert lease.held
        for key in odd:
            assert node.files("odd").open(key).read() == key.encode()
            assert node.shared("odd").get(key) == key
        assert sorted(node.files("odd").keys()) == sorted(odd)
        assert sorted(node.shared("odd").keys()) == sorted(odd)
        before = left_of_files(node.store, "odd")

        files = node.files("few")
        for wrong in ("", "x" * 600, "🙂" * 512, "\ud800", None, 5):
            bad: Any = wrong
            for call in (
                lambda bad=bad: files.put(bad, b""),
                lambda bad=bad: files.open(bad),
                lambda bad=bad: node.files(bad),
                lambda bad=bad: node.shared("few").update(bad, lambda _: 1),
                lambda bad=bad: node.shared("few").once(bad, "1"),
                lambda bad=bad: node.shared("few").once("k", bad),
                lambda bad=bad: node.shared("few").lease(bad, 20),
            ):
                with pytest.raises((TypeError, ValueError)):
                    call()

        with pytest.raises(ZeroDivisionError):
            files.put("k", Endless(2, lambda: 1 / 0))
        with looking(place, file_limit=2 * PIECE, files_total=4 * PIECE) as small:
            with pytest.raises(ValueTooLarge, match="FILE_LIMIT"):
                small.files("few").put("k", Endless(3))
            small.files("odd").put("kept", Endless(2))
            with pytest.raises(FilesFull, match="FILES_TOTAL"):
                small.files("few").put("k", Endless(2))
        assert len(left_of_files(node.store, "odd")) == len(before) + 2
        assert list(files.keys()) == []

    def test_what_servers_share_moves_house(self, place: Place, node: TokenAuthority) -> None:
        """Files, lists, slots and leases come along, through this store and into it."""
        content = os.urandom(6 * PIECE + 1)
        node.files("fonts").put("f", content)
        node.shared("lists").update("k", lambda found: [*found, 1], [])
        assert node.shared("tasks").once("backup", "1")
        lease = node.shared("tasks").lease("index", 20)
        assert lease.take()
        with looking(Place(place.url, f"{place.realm}-moved")) as after:
            migrate(node.store, after.store)
            assert after.files("fonts").open("f").read() == content
            assert after.shared("lists").get("k") == [1]
            assert not after.shared("tasks").once("backup", "1")
            assert not after.shared("tasks").lease("index", 20).take()
            assert after.store.get("room/default") == node.store.get("room/default")
