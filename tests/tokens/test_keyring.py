"""Keys: files hold them, the store says what they are for."""

from __future__ import annotations

import logging
import multiprocessing
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

import pytest

from flask_clustertoken.clock import ManualClock
from flask_clustertoken.errors import ConfigurationError, KeyMissing, StoreDamaged
from flask_clustertoken.tokens import (
    KeyFile,
    KeyRing,
    KeyState,
    Refusal,
    fingerprint,
    ring_bytes,
    ring_states,
)
from tests.waiting import wait_until

OLD, NEW = "o" * 40, "n" * 40


def ring(*keys: str, **states: KeyState) -> KeyRing:
    made = KeyRing(keys, clock=ManualClock())
    key = {"old": fingerprint(OLD), "new": fingerprint(NEW)}
    made.load_states(ring_bytes({key[name]: state for name, state in states.items()}))
    return made


def test_the_first_key_signs_without_any_mark() -> None:
    """Where the store says nothing, the order of the file does."""
    assert ring(NEW, OLD).signing()[0] == fingerprint(NEW)


def test_the_marked_key_signs() -> None:
    """The key marked ``signing`` signs, wherever it stands in the file."""
    assert ring(OLD, NEW, old="verifying", new="signing").signing() == (
        fingerprint(NEW),
        NEW.encode(),
    )


def test_a_staged_key_does_not_sign_but_verifies() -> None:
    """A key can be carried to all hosts before anything is signed with it."""
    made = ring(OLD, NEW, old="signing", new="staged")
    assert made.signing()[0] == fingerprint(OLD)
    assert made.verifying(fingerprint(NEW), "login") == NEW.encode()


@pytest.mark.parametrize(
    ("state", "kind", "refused"),
    [
        ("signing", "login", ""),
        ("verifying", "login", ""),
        ("api", "api", ""),
        ("api", "login", "invalid"),
        ("dropped", "login", "invalid"),
        ("dropped", "api", "invalid"),
    ],
)
def test_each_state_verifies_what_it_should(state: KeyState, kind: str, refused: str) -> None:
    """A retired key still verifies API tokens; a dropped one verifies nothing."""
    found = ring(OLD, old=state).verifying(fingerprint(OLD), kind)  # type: ignore[arg-type]
    assert (found.reason if isinstance(found, Refusal) else "") == refused


def test_a_signing_key_that_is_not_here_is_named() -> None:
    """The message says which key to copy, by its fingerprint, never the key."""
    with pytest.raises(KeyMissing, match=fingerprint(NEW)) as caught:
        ring(OLD, new="signing").signing()
    assert OLD not in str(caught.value)


def test_an_unknown_key_is_stale_and_read_again_once_a_second(tmp_path: Path) -> None:
    """A key that is not here may not have been copied yet: stale, and a look at most a second."""
    clock = ManualClock()
    file = KeyFile(tmp_path / "secret")
    file.path.write_text(OLD + "\n")
    made = KeyRing(file=file, clock=clock)
    found = made.verifying(fingerprint(NEW), "login")
    assert isinstance(found, Refusal)
    assert found.reason == "stale"
    file.path.write_text(f"{OLD}\n{NEW}\n")
    clock.advance(0.5)
    assert isinstance(made.verifying(fingerprint(NEW), "login"), Refusal)
    clock.advance(0.6)
    assert made.verifying(fingerprint(NEW), "login") == NEW.encode()


def test_the_generation_moves_with_the_keys_and_their_states(tmp_path: Path) -> None:
    """Whoever remembers a verified text can see that the keys changed."""
    file = KeyFile(tmp_path / "secret")
    file.path.write_text(OLD + "\n")
    made = KeyRing(file=file, clock=ManualClock())
    seen = [made.generation]
    file.append(NEW)
    made.reread()
    seen.append(made.generation)
    made.load_states(ring_bytes({fingerprint(NEW): "signing"}))
    seen.append(made.generation)
    made.load_states(ring_bytes({fingerprint(NEW): "signing"}))
    assert len(set(seen)) == 3
    assert made.generation == seen[-1]


def test_a_file_that_vanished_leaves_the_keys(tmp_path: Path) -> None:
    """An emptied or removed file does not take the keys from a running node."""
    file = KeyFile(tmp_path / "secret")
    file.path.write_text(OLD + "\n")
    made = KeyRing(file=file, clock=ManualClock())
    file.path.unlink()
    made.reread()
    assert made.held == [fingerprint(OLD)]


def test_a_file_is_made_private_and_read_with_comments(tmp_path: Path) -> None:
    """A new file is 0600; comments, blank lines and doubled keys do not count."""
    file = KeyFile(tmp_path / "deep" / "secret")
    (key,) = file.create()
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600
    assert len(key) == 64
    file.path.write_text(f"# old first\n\n{OLD}\n{OLD}\n  {NEW}\n")
    assert file.read() == (OLD, NEW)
    file.append("x" * 40)
    assert file.read() == (OLD, NEW, "x" * 40)
    assert file.remove(fingerprint(OLD))
    assert not file.remove(fingerprint(OLD))
    assert file.read() == (NEW, "x" * 40)
    assert list(file.path.parent.iterdir()) == [file.path]


@pytest.mark.parametrize(
    "content",
    [
        b"short\n",
        b"\xff\xfe\x00k",
        b"\x7fELF\x01\x01\x01\x00\x00\x00\n",
        b"k" * 2000,
        b"0123456789abcdef\n" * 5000,
    ],
    ids=["short", "no-text", "binary", "absurd", "huge"],
)
def test_a_wrong_file_is_named_and_not_shown(tmp_path: Path, content: bytes) -> None:
    """A short key or a file that holds no keys stops the start, without showing what is in it."""
    file = KeyFile(tmp_path / "secret")
    file.path.write_bytes(content)
    with pytest.raises(ConfigurationError, match="SECRET_FILE") as caught:
        file.read()
    assert "short\n" not in str(caught.value)


def _create(path: str) -> tuple[str, ...]:
    return KeyFile(Path(path)).create()


def _all_alike(made: list[tuple[str, ...]], path: Path) -> None:
    assert len(set(made)) == 1
    assert len(made[0]) == 1
    assert made[0] == KeyFile(path).read()
    assert list(path.parent.iterdir()) == [path]


def test_threads_that_race_get_one_key(tmp_path: Path) -> None:
    """Of many threads that make the file at once, all get the one key that is in it."""
    path = tmp_path / "secret"
    with ThreadPoolExecutor(16) as pool:
        _all_alike(list(pool.map(_create, [str(path)] * 64)), path)


@pytest.mark.processes
def test_processes_that_race_get_one_key(tmp_path: Path) -> None:
    """Of many processes that start at once, all get the one key."""
    path = tmp_path / "secret"
    with multiprocessing.get_context("spawn").Pool(4) as pool:
        _all_alike(pool.map(_create, [str(path)] * 32), path)


def test_a_short_key_is_warned_about_by_its_fingerprint(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the fingerprint; neither log nor ``repr`` holds the key."""
    with caplog.at_level(logging.WARNING):
        made = KeyRing(("shortkey1",), clock=ManualClock())
    assert fingerprint("shortkey1") in caplog.text
    assert "shortkey1" not in caplog.text + repr(made)


@pytest.mark.parametrize("damaged", [b"{", b"[]", b"{}", b"1", b'{"states": 5}', b"\xff"])
def test_a_damaged_ring_is_trouble_and_not_no_states(damaged: bytes) -> None:
    """States that cannot be read are not taken for none: a dropped key would sign again."""
    with pytest.raises(StoreDamaged):
        ring_states(damaged)


def test_no_ring_is_no_states() -> None:
    """A store that says nothing of keys leaves the order of the file."""
    assert ring_states(None) == {}


@pytest.mark.parametrize("change", ["append", "remove"])
def test_a_changed_file_keeps_its_rights(tmp_path: Path, change: str) -> None:
    """Whoever could read the keys before (the app's group) can read them after."""
    file = KeyFile(tmp_path / "secret")
    file.path.write_text(f"{OLD}\n{NEW}\n")
    file.path.chmod(0o640)
    if change == "append":
        file.append("x" * 40)
    else:
        assert file.remove(fingerprint(NEW))
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o640


def test_a_file_whose_rights_were_put_right_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its content did not change since the reading that failed; its rights did."""
    file = KeyFile(tmp_path / "secret")
    file.path.write_text(OLD + "\n")
    made = KeyRing(file=file, clock=ManualClock())
    file.path.write_text(f"{OLD}\n{NEW}\n")

    def forbidden(*args: object, **kwargs: object) -> NoReturn:
        raise PermissionError(13, "no")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", forbidden)
        made.reread()
    wait_until(lambda: file.path.chmod(0o600) or file.stamp() != made._stamp)
    made.reread()
    assert made.held == [fingerprint(OLD), fingerprint(NEW)]


@pytest.mark.parametrize(
    "ring", [b'{"format": 2, "states": {}}', b'{"format": 1, "states": {"a": "frozen"}}']
)
def test_states_of_a_newer_form_are_not_half_read(ring: bytes) -> None:
    """A state that this version does not know may be one in which a key verifies nothing."""
    with pytest.raises(StoreDamaged):
        ring_states(ring)
