"""Shared files: whole under their names, or not at all."""

from __future__ import annotations

import io
import random
import tracemalloc
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SKEW
from flask_clustertoken.errors import (
    FileChanged,
    FilesFull,
    StoreDamaged,
    StoreUnavailable,
    ValueTooLarge,
)
from flask_clustertoken.shared import SharedFiles, sweep_files
from flask_clustertoken.shared.fileinfo import PIECE
from flask_clustertoken.shared.pieces import AT_ONCE
from flask_clustertoken.shared.upload import GRACE, UPLOAD_LIFE
from flask_clustertoken.stores.base import Record
from flask_clustertoken.stores.directory import DirectoryStore
from tests.doubles import Cluster, store_of

SIZES = [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 5 * PIECE + 17]


def data(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)


def left_over(cluster: Cluster) -> list[str]:
    """Everything in the store that belongs to files, but for how much room they take."""
    areas = ("file/", "upload/", "unnamed/", "piece/")
    return [key for key in cluster.shelf.records if key.startswith(areas)]


def room(cluster: Cluster, deployment: str = "default") -> int:
    """Bytes that are counted; and counted rightly."""
    counted = int(cluster.shelf.records.get(f"room/{deployment}", Record(b"0", None)).value)
    pieces = [one for key, one in cluster.shelf.records.items() if key.startswith("piece/")]
    assert counted == sum(len(one.value) for one in pieces)
    return counted


class Stream(io.RawIOBase):
    """Gives *content* in parts of odd sizes; calls *at_end* before it says that it is over."""

    def __init__(self, content: bytes, at_end: Callable[[], object] = lambda: None) -> None:
        self._rest = io.BytesIO(content)
        self._at_end = at_end
        self._chance = random.Random(2)

    def read(self, size: int = -1) -> bytes:
        some = self._rest.read(self._chance.randrange(1, max(2, size)))
        if not some:
            self._at_end()
        return some


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("as_stream", [False, True], ids=["bytes", "stream"])
def test_what_one_server_stores_another_reads(cluster: Cluster, size: int, as_stream: bool) -> None:
    """The bytes, what is known of them, and that they are there."""
    one, two = (cluster.node().files("fonts") for _ in range(2))
    content = data(size)
    info = one.put("a b/Ü.woff2", Stream(content) if as_stream else content, "font/woff2")
    assert (info.key, info.size, info.content_type) == ("a b/Ü.woff2", size, "font/woff2")
    assert info.sha256 == sha256(content).hexdigest()
    assert info.stored_at == cluster.clock.time()
    assert two.stat("a b/Ü.woff2") == info
    assert list(two.keys()) == ["a b/Ü.woff2"]
    with two.open("a b/Ü.woff2") as opened:
        assert opened.info == info
        assert opened.read() == content
        assert opened.read() == b""
    pieces = [key for key in cluster.shelf.records if key.startswith("piece/")]
    assert len(pieces) == -(-size // PIECE)
    assert room(cluster) == size


def test_parts_of_a_file_are_read(cluster: Cluster) -> None:
    """From any place, of any length, forth and back; no piece is read that is not needed."""
    node = cluster.node()
    content = data(4 * PIECE + 100)
    node.files("a").put("k", content)
    chance = random.Random(3)
    opened = node.files("a").open("k")
    assert opened.seekable()
    for _ in range(100):
        start, length = chance.randrange(len(content) + 10), chance.randrange(PIECE + 10)
        opened.seek(start)
        assert opened.tell() == start
        assert opened.read(length) == content[start : start + length]
    assert opened.seek(-5, io.SEEK_END) == len(content) - 5
    assert opened.read() == content[-5:]
    with pytest.raises(ValueError, match="position"):
        opened.raw.seek(-1)
    before = store_of(node).calls["get_many"]
    opened = node.files("a").open("k")
    opened.seek(2 * PIECE)
    opened.read(10)
    assert store_of(node).calls["get_many"] - before == 2


def test_absence_is_an_answer(cluster: Cluster) -> None:
    """No file, nothing known of it, nothing to delete; and nothing to open."""
    files = cluster.node().files("a")
    assert files.stat("k") is None
    assert not files.delete("k")
    assert list(files.keys()) == []
    with pytest.raises(FileNotFoundError, match="'k'"):
        files.open("k")


def test_names_and_deployments_are_apart(cluster: Cluster) -> None:
    """However they are spelled, and also in what room they take."""
    node, qa = cluster.node(), cluster.node(DEPLOYMENT="qa")
    node.files("a").put("b/c", b"1")
    node.files("a/b").put("c", b"22")
    qa.files("a").put("b/c", b"333")
    assert node.files("a").open("b/c").read() == b"1"
    assert list(node.files("a").keys()) == ["b/c"]
    assert list(node.files("a/b").keys()) == ["c"]
    assert qa.files("a").open("b/c").read() == b"333"
    assert cluster.shelf.records["room/default"].value == b"3"
    assert cluster.shelf.records["room/qa"].value == b"3"


@pytest.mark.parametrize("key", ["../x", "/etc/passwd", ".", "a\x00b", "\n", "%2e%2e", "🙂" * 128])
def test_a_key_is_any_text_and_no_path(cluster: Cluster, key: str) -> None:
    """It comes back as it was given."""
    files = cluster.node().files("a")
    files.put(key, b"content")
    assert files.open(key).read() == b"content"
    assert list(files.keys()) == [key]
    assert files.delete(key)


@pytest.mark.parametrize("key", ["", "x" * 600, "🙂" * 129, "\ud800", None, 5, b"k"])
def test_what_is_no_key_is_said_at_once(cluster: Cluster, key: Any) -> None:
    """Before anything of the file is read."""
    files = cluster.node().files("a")
    read: list[int] = []
    stream = Stream(b"", lambda: read.append(1))
    for call in (lambda: files.put(key, stream), lambda: files.open(key), lambda: files.stat(key)):
        with pytest.raises((TypeError, ValueError), match="key of a shared file"):
            call()
    assert not read
    assert left_over(cluster) == []


@pytest.mark.parametrize("kind", ["", "text", "text/html\r\nX: y", "täxt/html", 5])
def test_a_content_type_is_one(cluster: Cluster, kind: Any) -> None:
    """It stands in a header of the answer."""
    files = cluster.node().files("a")
    if kind:
        with pytest.raises((TypeError, ValueError), match="content type"):
            files.put("k", b"", kind)
    assert files.put("logo.png", b"").content_type == "image/png"
    assert files.put("logo", b"").content_type == "application/octet-stream"


@pytest.mark.parametrize("key", ["data:te\nxt/html,x", f"data:{'a' * 300}/b,x"])
def test_a_key_that_gives_no_content_type_away_is_no_mistake(cluster: Cluster, key: str) -> None:
    """What is guessed of it may be nothing that a header can say: then nothing is guessed."""
    assert cluster.node().files("a").put(key, b"x").content_type == "application/octet-stream"


def test_a_file_is_replaced_as_a_whole(cluster: Cluster) -> None:
    """Until the new one is complete the name stands for the old one; who reads it reads on."""
    one, two = (cluster.node().files("a") for _ in range(2))
    old, new = data(3 * PIECE, 1), data(3 * PIECE, 2)
    one.put("k", old)
    reader = two.open("k")
    assert reader.read(10) == old[:10]

    def meanwhile() -> None:
        assert two.open("k").read() == old

    one.put("k", Stream(new, meanwhile))
    assert two.open("k").read() == new
    assert reader.read() == old[10:]


@pytest.mark.parametrize("how", ["replaced", "deleted"])
def test_a_reader_has_time_to_come_to_the_end(cluster: Cluster, how: str) -> None:
    """Five minutes after the file was replaced or deleted its pieces go, and a reader who is
    still at it is told so; it is never given bytes of two files."""
    one, two = cluster.node(), cluster.node()
    content = data(3 * PIECE)
    one.files("a").put("k", content)
    reader = two.files("a").open("k")
    assert reader.read(5) == content[:5]
    if how == "replaced":
        one.files("a").put("k", data(3 * PIECE, 2))
    else:
        assert one.files("a").delete("k")
        assert two.files("a").stat("k") is None
    cluster.clock.advance(GRACE + SKEW - 1)
    assert sweep_files(one.store, cluster.clock) == 0
    assert reader.read(PIECE) == content[5 : PIECE + 5]
    cluster.clock.advance(2)
    assert sweep_files(one.store, cluster.clock) == 1
    with pytest.raises(FileChanged, match="open it again"):
        reader.read()
    assert room(cluster) == (3 * PIECE if how == "replaced" else 0)


def test_a_file_ends_at_its_time(cluster: Cluster) -> None:
    """And its pieces are swept behind that, whoever was reading it."""
    node = cluster.node()
    files = node.files("a")
    files.put("k", data(PIECE + 1), ttl=60)
    reader = files.open("k")
    cluster.clock.advance(59.5)
    assert files.stat("k") is not None
    cluster.clock.advance(0.5)
    assert files.stat("k") is None
    assert list(files.keys()) == []
    assert len(reader.read()) == PIECE + 1
    assert sweep_files(node.store, cluster.clock) == 0
    cluster.clock.advance(GRACE + 2 * SKEW + 1)
    assert sweep_files(node.store, cluster.clock) == 1
    assert room(cluster) == 0


def test_a_file_that_would_have_ended_and_was_replaced_is_swept_once(cluster: Cluster) -> None:
    """Its pieces are counted back once, and the new file has no end."""
    node = cluster.node()
    files = node.files("a")
    files.put("k", data(PIECE), ttl=60)
    files.put("k", data(10))
    cluster.clock.advance(10_000)
    assert sweep_files(node.store, cluster.clock) == 1
    assert sweep_files(node.store, cluster.clock) == 0
    assert files.open("k").read() == data(10)
    assert room(cluster) == 10


class Interrupted(Exception):
    pass


@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt, StoreUnavailable])
@pytest.mark.parametrize("old", [False, True], ids=["new", "replacing"])
def test_a_stream_that_raises_leaves_nothing_behind(
    cluster: Cluster, error: type[BaseException], old: bool
) -> None:
    """Its own error comes out, and the old file stands."""
    files = cluster.node().files("a")
    if old:
        files.put("k", b"old")
    before = sorted(left_over(cluster))

    def fails() -> None:
        raise error("no more")

    with pytest.raises(error):
        files.put("k", Stream(data(2 * PIECE + 5), fails))
    assert sorted(left_over(cluster)) == before
    assert room(cluster) == len(b"old") * old


@pytest.mark.parametrize("wrong", ["text", io.StringIO("text"), io.StringIO(""), 5, None])
def test_text_is_no_file(cluster: Cluster, wrong: Any) -> None:
    """Bytes, or a stream of them."""
    with pytest.raises(TypeError, match="binary"):
        cluster.node().files("a").put("k", wrong)
    assert left_over(cluster) == []


def test_a_limit_that_is_known_at_the_end_only_leaves_nothing_behind(cluster: Cluster) -> None:
    """The error has both numbers, the setting and what to do; the old file stands."""
    files = cluster.node(FILE_LIMIT=2 * PIECE).files("a")
    files.put("k", data(2 * PIECE))
    before = sorted(left_over(cluster))
    with pytest.raises(ValueTooLarge, match=f"{2 * PIECE} are allowed.*CLUSTERTOKEN_FILE_LIMIT"):
        files.put("k", Stream(data(2 * PIECE + 1)))
    assert sorted(left_over(cluster)) == before
    assert files.open("k").read() == data(2 * PIECE)


def test_all_files_of_a_deployment_have_a_limit_together(cluster: Cluster) -> None:
    """What is over makes room where room is needed; what may still be read does not."""
    node = cluster.node(FILES_TOTAL=4 * PIECE)
    files = node.files("a")
    files.put("one", data(2 * PIECE))
    files.put("two", data(2 * PIECE))
    with pytest.raises(FilesFull, match="CLUSTERTOKEN_FILES_TOTAL") as caught:
        files.put("three", data(1))
    assert (caught.value.used, caught.value.limit) == (4 * PIECE, 4 * PIECE)
    assert files.delete("one")
    with pytest.raises(FilesFull):
        files.put("three", data(PIECE))
    cluster.clock.advance(GRACE + SKEW + 1)
    files.put("three", data(2 * PIECE))
    assert sorted(files.keys()) == ["three", "two"]
    assert room(cluster) == 4 * PIECE
    cluster.node(DEPLOYMENT="qa", FILES_TOTAL=PIECE).files("a").put("k", data(PIECE))


def test_a_killed_uploads_pieces_are_swept(cluster: Cluster) -> None:
    """Not before a quarter of an hour without a sign of life; the old file stands throughout."""
    node = cluster.node()
    files = node.files("a")
    files.put("k", b"old")
    _killed_under_way(node, 3)
    assert room(cluster) == 3 * PIECE + 3
    cluster.clock.advance(UPLOAD_LIFE + SKEW)
    assert sweep_files(node.store, cluster.clock) == 0
    cluster.clock.advance(1)
    assert sweep_files(node.store, cluster.clock) == 1
    assert files.open("k").read() == b"old"
    assert room(cluster) == 3


def _killed_under_way(node: TokenAuthority, pieces: int) -> None:
    """An upload gets so far and no further, and cannot clean up behind itself."""
    store = store_of(node)

    def dies() -> None:
        store.cut()
        raise SystemExit

    with pytest.raises(SystemExit):
        node.files("a").put("k", Stream(data(pieces * PIECE), dies))
    store.heal()


def test_an_upload_that_goes_on_is_left_alone(cluster: Cluster) -> None:
    """However long it takes: each piece is a sign of life."""
    node, other = cluster.node(), cluster.node()
    content = data(6 * PIECE)

    class Slow(io.RawIOBase):
        def __init__(self) -> None:
            self._rest = io.BytesIO(content)

        def read(self, size: int = -1) -> bytes:
            cluster.clock.advance(UPLOAD_LIFE - 1)
            sweep_files(other.store, cluster.clock)
            return self._rest.read(size)

    files = node.files("a")
    files.put("k", Slow())
    assert files.open("k").read() == content


@pytest.mark.parametrize("when", ["a piece", "the naming"])
def test_an_upload_that_was_swept_leaves_nothing_behind(cluster: Cluster, when: str) -> None:
    """Its process was frozen for longer than it may be, and goes on: an error, and no orphan."""
    node, other = cluster.node(), cluster.node()
    files = node.files("a")
    files.put("k", b"old")

    def frozen() -> None:
        cluster.clock.advance(UPLOAD_LIFE + SKEW + 1)
        assert sweep_files(other.store, cluster.clock) == 1

    if when == "a piece":

        class Woken(io.RawIOBase):
            parts = iter([data(PIECE), None, data(PIECE), b""])

            def read(self, size: int = -1) -> bytes:
                part = next(self.parts)
                if part is None:
                    frozen()
                    part = next(self.parts)
                return part or b""

        stream: Any = Woken()
    else:
        stream = Stream(data(PIECE), frozen)
    with pytest.raises(StoreUnavailable, match="swept up"):
        files.put("k", stream)
    assert files.open("k").read() == b"old"
    assert room(cluster) == 3
    assert not [key for key in left_over(cluster) if key.startswith(("upload/", "unnamed/"))]


@pytest.mark.parametrize("flipped", [0, PIECE - 1, PIECE, 2 * PIECE + 7])
def test_a_flipped_byte_is_never_given(cluster: Cluster, flipped: int) -> None:
    """The pieces before it are; at its own there is an error that names file and piece."""
    files = cluster.node().files("a")
    content = data(2 * PIECE + 10)
    files.put("k", content)
    number = flipped // PIECE
    (key,) = [one for one in cluster.shelf.records if one.endswith(f"/{number}") and "piece" in one]
    raw = bytearray(cluster.shelf.records[key].value)
    raw[flipped % PIECE] ^= 1
    cluster.shelf.records[key] = Record(bytes(raw), None)
    reader = files.open("k")
    assert reader.read(number * PIECE) == content[: number * PIECE]
    with pytest.raises(StoreDamaged, match=f"piece {number + 1} of 3 .*'k' is not what"):
        reader.read(1)


def test_a_name_whose_record_was_changed_is_damaged_and_can_be_replaced(cluster: Cluster) -> None:
    """A byte in what is known of the file is found out as well; storing it anew mends it."""
    files = cluster.node().files("a")
    files.put("k", b"content")
    (key,) = [one for one in cluster.shelf.records if one.startswith("file/")]
    raw = cluster.shelf.records[key].value
    for at in range(0, len(raw), 7):
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        cluster.shelf.records[key] = Record(changed, None)
        with pytest.raises(StoreDamaged, match="store it again"):
            files.open("k")
    files.put("k", b"mended")
    assert files.open("k").read() == b"mended"


def test_a_missing_piece_is_damage(cluster: Cluster) -> None:
    """The name still stands for the file: so it is no change of it."""
    files = cluster.node().files("a")
    files.put("k", data(PIECE + 1))
    for key in [one for one in cluster.shelf.records if one.startswith("piece/")]:
        del cluster.shelf.records[key]
    with pytest.raises(StoreDamaged, match=r"piece 1 of 2 .* is missing"):
        files.open("k").read()


def test_of_two_that_store_one_name_the_last_one_wins(cluster: Cluster) -> None:
    """And the pieces of the other go; between its read and its step the name may also go."""
    node, other = cluster.node(), cluster.node()
    first, second = data(PIECE, 1), data(PIECE, 2)
    node.files("a").put("k", b"old")
    store = store_of(node)
    happens: list[Callable[[], object]] = [
        lambda: other.files("a").put("k", second),
        lambda: other.files("a").delete("k"),
    ]
    for one in happens:

        def at_the_end(one: Callable[[], object] = one) -> None:
            def before_the_step() -> None:
                one()

            store.before["append"] = before_the_step

        node.files("a").put("k", Stream(first, at_the_end))
        assert other.files("a").open("k").read() == first
    cluster.clock.advance(GRACE + SKEW + 1)
    sweep_files(node.store, cluster.clock)
    assert room(cluster) == len(first)


def test_a_naming_whose_answer_is_lost_is_known_to_be_done(cluster: Cluster) -> None:
    """The upload's own note tells: where it is gone, the name stands for the new file."""
    node = cluster.node()
    store = store_of(node)

    def lost() -> None:
        raise StoreUnavailable("no answer")

    def at_the_end() -> None:
        store.after["append"] = lost

    info = node.files("a").put("k", Stream(data(PIECE), at_the_end))
    assert node.files("a").stat("k") == info
    assert room(cluster) == PIECE
    assert not [key for key in left_over(cluster) if key.startswith(("upload/", "unnamed/"))]


@pytest.mark.parametrize("done", [True, False], ids=["done", "not done"])
def test_a_naming_whose_process_was_frozen_is_done_only_if_the_name_says_so(
    cluster: Cluster, done: bool
) -> None:
    """The upload's note may have been swept meanwhile: that it is gone tells nothing then."""
    node, other = cluster.node(), cluster.node()
    files = node.files("a")
    files.put("k", b"old")
    store = store_of(node)

    def frozen() -> None:
        cluster.clock.advance(UPLOAD_LIFE + SKEW + 1)
        sweep_files(other.store, cluster.clock)
        raise StoreUnavailable("no answer")

    def at_the_end() -> None:
        (store.after if done else store.before)["append"] = frozen

    stream = Stream(data(PIECE), at_the_end)
    if done:
        info = files.put("k", stream)
        assert files.stat("k") == info
    else:
        with pytest.raises(StoreUnavailable, match="no answer"):
            files.put("k", stream)
        assert files.open("k").read() == b"old"
        assert room(cluster) == 3
    assert not [key for key in left_over(cluster) if key.startswith("upload/")]


def test_a_frozen_upload_whose_name_is_damaged_is_not_known_to_be_done(cluster: Cluster) -> None:
    """What cannot be read is not taken for ours: the lost answer is what the caller hears of."""
    node, other = cluster.node(), cluster.node()
    files = node.files("a")
    files.put("k", b"old")
    store = store_of(node)

    def frozen() -> None:
        (key,) = [one for one in cluster.shelf.records if one.startswith("file/")]
        cluster.shelf.records[key] = Record(b"1 is no digest", None)
        cluster.clock.advance(UPLOAD_LIFE + SKEW + 1)
        sweep_files(other.store, cluster.clock)
        raise StoreUnavailable("no answer")

    def at_the_end() -> None:
        store.before["append"] = frozen

    with pytest.raises(StoreUnavailable, match="no answer"):
        files.put("k", Stream(data(PIECE), at_the_end))


def test_a_cut_line_leaves_the_old_file_whole(cluster: Cluster) -> None:
    """Trouble is raised, never taken for absence; what is left over is swept later."""
    node = cluster.node()
    files = node.files("a")
    files.put("k", b"old")
    store = store_of(node)
    with pytest.raises(StoreUnavailable):
        files.put("k", Stream(data(2 * PIECE), store.cut))
    for call in (lambda: files.open("k"), lambda: files.stat("k"), lambda: files.delete("k")):
        with pytest.raises(StoreUnavailable):
            call()
    store.heal()
    assert files.open("k").read() == b"old"
    cluster.clock.advance(UPLOAD_LIFE + SKEW + 1)
    assert sweep_files(node.store, cluster.clock) == 1
    assert room(cluster) == 3


def test_two_sweeps_at_once_count_once(cluster: Cluster) -> None:
    """Between the deletion of the pieces and of the note another one may do the same."""
    one, two = cluster.node(), cluster.node()
    files = one.files("a")
    files.put("k", data((AT_ONCE + 2) * PIECE))
    files.put("other", b"stays")
    files.delete("k")
    cluster.clock.advance(GRACE + SKEW + 1)
    store_of(one).before["append"] = lambda: sweep_files(two.store, cluster.clock)
    sweep_files(one.store, cluster.clock)
    assert room(cluster) == len(b"stays")


def test_a_sweep_ends_where_it_is_late(cluster: Cluster) -> None:
    """The next one goes on: the follower must not lose its lease to this."""
    node = cluster.node()
    for key in "abc":
        node.files("a").put(key, b"x")
        node.files("a").delete(key)
    cluster.clock.advance(GRACE + SKEW + 1)
    answers = iter([False, True])
    assert sweep_files(node.store, cluster.clock, late=lambda: next(answers)) == 1
    assert sweep_files(node.store, cluster.clock) == 2


def test_a_file_of_many_pieces_needs_memory_for_few(tmp_path: Path) -> None:
    """16 MB up and down: never more than four pieces at once, whatever the file's size."""
    pieces = 16 * 1024 * 1024 // PIECE + 1

    class Endless(io.RawIOBase):
        def __init__(self) -> None:
            self._left = pieces * PIECE
            self._block = bytes(range(256)) * 32

        def read(self, size: int = -1) -> bytes:
            some = self._block[: min(size, self._left)]
            self._left -= len(some)
            return some

    with DirectoryStore(tmp_path / "shared") as store:
        files = SharedFiles(lambda: store, store.clock, "default", "a", limit=10**9, total=None)
        files.put("warm", data(PIECE + 1))
        files.open("warm").read()
        tracemalloc.start()
        try:
            info = files.put("k", Endless())
            up = tracemalloc.get_traced_memory()[1]
            tracemalloc.reset_peak()
            whole = sha256()
            with files.open("k") as opened:
                while some := opened.read(PIECE // 3):
                    whole.update(some)
            down = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert info.size == pieces * PIECE
    assert whole.hexdigest() == info.sha256
    # (A third of a piece for what other things in this process come to meanwhile.)
    assert up < 4 * PIECE + PIECE // 3
    assert down < 4 * PIECE


def test_housekeeping_sweeps_files(cluster: Cluster) -> None:
    """By the elected node, beside its other chores."""
    node: TokenAuthority = cluster.node()
    node.follower()
    node.files("a").put("k", data(PIECE))
    node.files("a").delete("k")
    assert room(cluster) == PIECE
    for _ in range(200):
        cluster.clock.advance(5)
        cluster.step()
    assert room(cluster) == 0


def test_progress_is_told(cluster: Cluster) -> None:
    """How many bytes have come, piece by piece."""
    told: list[int] = []
    cluster.node().files("a").put("k", data(2 * PIECE + 1), progress=told.append)
    assert told == [PIECE, 2 * PIECE, 2 * PIECE + 1]
