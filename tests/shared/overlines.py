"""What processes share over a store on a server, by lines that are slow, cut, or lose answers."""

from __future__ import annotations

import contextlib
import threading
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.errors import StoreUnavailable
from flask_clustertoken.shared import sweep_files
from flask_clustertoken.shared.fileinfo import PIECE
from flask_clustertoken.shared.upload import UPLOAD_LIFE
from flask_clustertoken.stores.base import ClusterStore, NewEntry
from tests.conftest import Tell
from tests.forked import Forked
from tests.rounds import rounds
from tests.waiting import wait_until

from .handover import handed_over
from .live import SharedDataContract, left_of_files
from .places import Endless, Lines, Place, asked, looking


class SharedDataOverLines(SharedDataContract):
    """The same over a store on a server. Whoever derives gives the fixture ``lines`` as well."""

    def test_never_two_hold_a_lease_that_are_cut_off(
        self, place: Place, node: TokenAuthority, lines: Lines, tmp_path: Path, tell: Tell
    ) -> None:
        """Whoever is cut off from the store holds it for its time, has lost it before another has
        it, and never has it again."""

        def mend(holders: Sequence[Forked]) -> None:
            assert [asked(one) for one in holders] == ["lost"] * len(holders)
            lines.all("heal")
            assert [asked(one) for one in holders] == ["lost"] * len(holders)

        acts = handed_over(lines.place, place, tmp_path, lambda _: lines.all("drop"), mend)
        tell(f"lease, holder cut off, {self.name}", leases=len(acts), acts=sum(acts), overlaps=0)

    def test_who_lost_the_answer_is_told_that_it_was_the_first(
        self, place: Place, node: TokenAuthority, lines: Lines, tell: Tell
    ) -> None:
        """It was written, and no answer came back: asking again tells so, once, and nobody else."""
        slots = rounds(1, 10)
        with looking(lines.place) as cut_off:
            asking = cut_off.shared("tasks")
            assert asking.once("task", "before")
            for slot in range(slots):
                lines.all("mute")
                with pytest.raises(StoreUnavailable):
                    asking.once("task", str(slot))
                assert not node.shared("tasks").once("task", str(slot)), "it did not arrive"
                lines.all("heal")
                again: list[bool] = []

                def told(slot: int = slot, again: list[bool] = again) -> bool:
                    with contextlib.suppress(StoreUnavailable):
                        again.append(asking.once("task", str(slot)))
                    return bool(again)

                wait_until(told, 60)
                assert again == [True]
                assert not asking.once("task", str(slot))
        tell(f"slots whose answer was lost, {self.name}", slots=slots, ran_once=slots)

    def test_an_upload_that_is_cut_off_leaves_the_old_file_whole(
        self, place: Place, node: TokenAuthority, lines: Lines
    ) -> None:
        """It is an error; and what there was of it is swept, not before its time."""
        node.files("a").put("k", b"old")
        with looking(lines.place) as cut_off, pytest.raises(StoreUnavailable):
            cut_off.files("a").put("k", Endless(3, lambda: lines.all("drop")))
        assert node.files("a").open("k").read() == b"old"
        later = ManualClock(node.clock.time() + UPLOAD_LIFE + SKEW + 10)
        sweep_files(node.store, later)
        assert [one.partition("/")[0] for one in left_of_files(node.store, "a")] == ["piece"]

    def test_an_upload_over_a_slow_line_holds_up_nobody(self, lines: Lines, tell: Tell) -> None:
        """While each piece takes a second and a half to arrive, the node vouches, and ends a
        login, as quickly as over the same line without an upload."""
        pieces, each = rounds(4, 170), 1.5
        lines.all("slow", PIECE / each)
        with looking(lines.place, file_limit=32 * 1024**2) as node:
            node.store.announce("node", b"")
            before = [beat(node.store) for _ in range(30)]
            stored: list[int] = []

            def upload() -> None:
                stored.append(node.files("slow").put("k", Endless(pieces)).size)

            uploading = threading.Thread(target=upload)
            uploading.start()
            during = []
            while uploading.is_alive():
                during.append(beat(node.store))
        assert stored == [pieces * PIECE]
        assert len(during) > pieces
        told: dict[str, str] = {}
        for number, what in enumerate(("vouch", "append")):
            usual, now = (at_any_moment([one[number] for one in some]) for some in (before, during))
            told[what] = f"{usual * 1000:.0f} ms, meanwhile {now * 1000:.0f} ms"
            assert now - usual < each / 4, told
        tell(f"upload of {stored[0] // 1024**2} MB over a slow line, {self.name}", **told)


def at_any_moment(seconds: Sequence[float]) -> float:
    """What a call takes that is under way at a moment picked at random (one that waits is one,
    and so are the hundred that are done in its time behind it)."""
    total, half = 0.0, sum(seconds) / 2
    for one in sorted(seconds):
        total += one
        if total >= half:
            return one
    raise AssertionError("no calls")


def beat(store: ClusterStore) -> tuple[float, float]:
    """Seconds that a vouch takes, and an append to the feed."""
    name = uuid.uuid4().hex
    moments = [store.clock.monotonic()]
    store.vouch("node", b"")
    moments.append(store.clock.monotonic())
    store.append([NewEntry(name, b"", store.clock.time())])
    return moments[1] - moments[0], store.clock.monotonic() - moments[1]
