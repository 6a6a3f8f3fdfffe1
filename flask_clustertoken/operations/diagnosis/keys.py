"""The keys of this host: whether they are there and safe, and go with what the store says."""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator
from pathlib import Path

from ...cluster import Node, seen_lately
from ...errors import ClusterTokenError, ConfigurationError
from ...settings import PREFIX, Settings
from ...stores.base import ClusterStore
from ...tokens import ADVISED_LENGTH, RING_KEY, KeyFile, fingerprint, ring_states
from .findings import Finding


def look_at_keys(settings: Settings, path: str) -> Generator[Finding, None, list[str]]:
    """The keys of this host; returns their fingerprints."""
    keys = settings.secret
    if path:
        try:
            keys = KeyFile(Path(path)).read()
        except ConfigurationError as error:
            yield Finding("problem", "keys", error.problem, error.remedy)
            return []
        if keys:
            yield from _rights(path)
    held = [fingerprint(one) for one in keys]
    for one in keys:
        if len(one) < ADVISED_LENGTH:
            yield Finding(
                "problem",
                "keys",
                f"key {fingerprint(one)} has fewer than {ADVISED_LENGTH} characters and could be "
                "guessed",
                "Make another one with 'keys stage', and sign with it.",
            )
    if held:
        yield Finding("ok", "keys", f"this host has {', '.join(held)}")
    return held


def _rights(path: str) -> Iterator[Finding]:
    about = os.stat(path)
    if about.st_mode & (stat.S_IROTH | stat.S_IWOTH):
        yield Finding(
            "problem",
            "keys",
            f"every user of this host can read or write {path}, and so make tokens for anybody",
            f"Run: chmod 600 {path} (and stage another key if somebody may have read it)",
        )
    elif about.st_mode & (stat.S_IRGRP | stat.S_IWGRP):
        yield Finding(
            "warning",
            "keys",
            f"the group of {path} can read or write it, and so make tokens for anybody",
            f"Run: chmod 600 {path}",
        )
    if not os.access(path, os.R_OK):
        yield Finding("problem", "keys", f"this user cannot read {path}", "Run it as the app's.")


def look_for_keys(store: ClusterStore, settings: Settings, path: str) -> Iterator[Finding]:
    """Where this host has none: whether that is as it should be."""
    if not path:
        yield Finding(
            "problem" if not store.embedded else "warning",
            "keys",
            "no key was named, so that there is none to look at",
            f"Name the app's key file with {PREFIX}SECRET_FILE.",
        )
    elif not store.embedded or settings.secret_file:
        yield Finding(
            "problem",
            "keys",
            f"there is no key, and {path} does not exist",
            "All hosts need the same one: copy the file from a host that has it, or set "
            f"{PREFIX}SECRET. If there is none yet: flask tokens keys stage",
        )
    elif _is_begun(store):
        yield Finding(
            "problem",
            "keys",
            f"the store is in use, and {path} does not exist: the next start would make another "
            "key, and everyone would have to sign in again",
            "Put the file back from a backup, or set the key that the app has.",
        )
    else:
        yield Finding("ok", "keys", f"there is none yet: the first start makes one in {path}")


def _is_begun(store: ClusterStore) -> bool:
    try:
        return store.begun()
    except ClusterTokenError:
        return False  # what is wrong with it is said next


def look_for_lost_keys(store: ClusterStore, held: list[str], live: list[Node]) -> Iterator[Finding]:
    """Keys that logins may name and no node has: kept in the store's states, or seen lately.

    The nodes were listed before: whoever left since has left its note before.
    """
    there = {*held, *(key_id for node in live for key_id in node.keys)}
    record = store.get(RING_KEY)
    states = ring_states(record.value if record is not None else None)
    for key_id in [one for one, state in states.items() if state in ("verifying", "api")]:
        if key_id not in there:
            yield Finding(
                "problem",
                "keys",
                f"key {key_id} is to verify tokens, and no node has it: they get 503",
                f"Put it back on every host; or, if it is lost: keys drop {key_id}",
            )
    lately = seen_lately(store)
    for key_id in sorted(lately.keys() - there - states.keys()):
        yield Finding(
            "warning",
            "keys",
            f"a node had key {key_id} within the last minutes, and none has it now: its logins "
            "get 503 for some ten minutes, then have to sign in again",
            "If SECRET was replaced, put the old key behind the new one; if it is made anew by "
            "each worker, make it once.",
        )


def look_at_ring(store: ClusterStore, held: list[str]) -> Iterator[Finding]:
    """Whether what the store says of the keys goes with those on this host."""
    record = store.get(RING_KEY)
    states = ring_states(record.value if record is not None else None)
    for key_id, state in states.items():
        if state == "signing" and key_id not in held:
            yield Finding(
                "problem",
                "keys",
                f"the signing key {key_id} is not on this host: tokens are refused here",
                "Copy the key file here from a host that has it.",
            )
        if state == "staged":
            yield Finding(
                "warning",
                "keys",
                f"key {key_id} is staged and does not sign yet",
                "Copy it to every host, then run 'keys sign'; or 'keys retire'.",
            )
        if state == "dropped" and key_id in held:
            yield Finding(
                "warning",
                "keys",
                f"key {key_id} was dropped and is still on this host",
                "It is of no use: take it out of the file or of SECRET.",
            )
