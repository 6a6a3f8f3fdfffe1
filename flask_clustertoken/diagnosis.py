"""Diagnosis: what is wrong with settings, keys, store, clock and nodes, and what to do.

Looks only: nothing is created, and of the one entry that is written to ask for the store's
time nothing is left. What it says names keys by their fingerprints.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .clock import SKEW, Clock, SystemClock
from .errors import ClusterTokenError, ConfigurationError
from .keys import ADVISED_LENGTH, RING_KEY, KeyFile, fingerprint, ring_states
from .nodes import ListedNode, drift, library_version, present
from .notices import Notice
from .settings import PREFIX, Settings
from .stores import open_store
from .stores.base import FORMAT, ClusterStore

Level = Literal["ok", "warning", "problem"]

#: Seconds for one call to the store beyond which it is called slow.
SLOW = 0.5


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence on one subject; *remedy* says what to do about it."""

    level: Level
    about: str
    what: str
    remedy: str = ""


def diagnose(
    settings: Settings,
    *,
    instance_path: str = "",
    clock: Clock | None = None,
    production: bool = True,
) -> Iterator[Finding]:
    """Everything that can be said, in the order in which it should be put right. Never raises
    for what it looks at."""
    clock = clock or SystemClock()
    yield from look_at_settings(settings, production=production)
    path = secret_path(settings, instance_path)
    held: list[str] = []
    yield from _keys(settings, path, held)
    try:
        store = open_store(
            settings.store,
            realm=settings.realm,
            instance_path=instance_path,
            options=settings.store_options,
            clock=clock,
            setting=PREFIX + "STORE",
        )
    except ConfigurationError as error:
        yield Finding("problem", "store", f"{error.setting}: {error.problem}", error.remedy)
        return
    with store:
        if not held and store.shared:
            yield from _no_key(store, settings, path)
        yield from _store(store, settings, clock, held)


# -- settings --------------------------------------------------------------------------


def look_at_settings(settings: Settings, *, production: bool = True) -> Iterator[Finding]:
    """What is allowed and should be known, or is no good in production."""
    found = list(_doubts(settings, production))
    yield from found or [Finding("ok", "settings", "nothing to say against them")]


def _doubts(settings: Settings, production: bool) -> Iterator[Finding]:
    if settings.store.startswith("memory:"):
        yield Finding(
            "problem" if production else "warning",
            "settings",
            "STORE is memory: each process has its own logins and revocations, gone with it",
            f"Use {PREFIX}STORE = 'directory:' on one host, zookeeper://… on several.",
        )
    if not settings.cookie_secure:
        yield Finding(
            "warning",
            "settings",
            "COOKIE_SECURE is off: whoever listens on plain HTTP can use the login",
            f"Serve HTTPS and leave {PREFIX}COOKIE_SECURE at its default.",
        )
    if not settings.cookie_httponly:
        yield Finding(
            "warning",
            "settings",
            "COOKIE_HTTPONLY is off: a script on the page can read the login",
            f"Leave {PREFIX}COOKIE_HTTPONLY at its default.",
        )
    if settings.when_stale == "accept":
        yield Finding(
            "warning",
            "settings",
            "WHEN_STALE is accept: a node that is cut off goes on accepting revoked tokens",
            f"Leave {PREFIX}WHEN_STALE at 'refuse' where revoked must mean revoked.",
        )
    if settings.token_store == "cookie":
        yield Finding(
            "warning",
            "settings",
            "TOKEN_STORE is cookie: logins are not recorded, lists show API tokens only, and "
            "claims can be read by whoever has the cookie",
            "Revoke by token id, label or subject; or use TOKEN_STORE = 'session'.",
        )
    if settings.absolute_lifetime is None:
        yield Finding(
            "warning",
            "settings",
            "ABSOLUTE_LIFETIME is None: a login in use never ends",
            f"Set {PREFIX}ABSOLUTE_LIFETIME to the days after which people sign in again.",
        )


# -- keys ------------------------------------------------------------------------------


def secret_path(settings: Settings, instance_path: str) -> str:
    """The key file that counts, or ``""`` where the keys stand in the settings."""
    if settings.secret:
        return ""
    return settings.secret_file or (
        os.path.join(instance_path, "token_secret") if instance_path else ""
    )


def _keys(settings: Settings, path: str, held: list[str]) -> Iterator[Finding]:
    """Findings on the keys of this host; their fingerprints are put into *held*."""
    keys = settings.secret
    if path:
        try:
            keys = KeyFile(Path(path)).read()
        except ConfigurationError as error:
            yield Finding("problem", "keys", error.problem, error.remedy)
            return
        if keys:
            yield from _rights(path)
    held += [fingerprint(one) for one in keys]
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


def _no_key(store: ClusterStore, settings: Settings, path: str) -> Iterator[Finding]:
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


# -- store -----------------------------------------------------------------------------


def _store(
    store: ClusterStore, settings: Settings, clock: Clock, held: list[str]
) -> Iterator[Finding]:
    folder = getattr(store, "path", "") if store.scheme == "directory" else ""
    if folder and not os.path.isdir(folder):
        yield Finding("warning", "store", f"{folder} is not there yet: the first start makes it")
        return
    if not store.shared:
        return
    if folder:
        yield from _folder_rights(folder)
    try:
        if not store.begun():
            yield Finding(
                "warning",
                "store",
                f"{store.url} can be reached and holds nothing of realm {settings.realm}",
                "The first start makes it. If there was one, look at STORE and REALM, and whether "
                "somebody deleted it, before you start the app.",
            )
            return
        start = clock.monotonic()
        root = store.root()
        # The position first: an entry that comes in between must not look like a loss.
        position = store.position() if store.embedded else 0
        head = store.head()
        took = clock.monotonic() - start
        if root.format > FORMAT:
            yield Finding(
                "problem",
                "store",
                f"it has form {root.format}, this version reads up to {FORMAT}",
                "Install the newer version here too.",
            )
            return
        yield Finding(
            "warning" if took > SLOW else "ok",
            "store",
            f"{store.url} answers in {took * 1000:.1f} ms, epoch {root.epoch}, number {head}",
            "It is slow: look at its load, disk and network." if took > SLOW else "",
        )
        yield from _state(root.state, root.moved_to)
        yield from _clocks(store, settings, clock, held)
        yield from _ring(store, held)
        yield from _feed(store)
        found = present(store)
        live = (one.node.seen for one in found if not one.silent)
        yield from _rolled_back(max([position, *live]), head)
        yield from _nodes(found, settings, held)
    except ConfigurationError as error:
        error = error.with_prefix(PREFIX)
        yield Finding("problem", "store", f"{error.setting}: {error.problem}", error.remedy)
    except ClusterTokenError as error:
        cause = error.__cause__
        why = f" ({type(cause).__name__})" if cause is not None else ""
        yield Finding(
            "problem",
            "store",
            f"{store.url} is in trouble: {error}{why}",
            "Is it running, and can this host and user reach it? Until it answers, nodes refuse "
            f"tokens {settings.max_staleness:g} s after their last contact.",
        )


def _folder_rights(folder: str) -> Iterator[Finding]:
    mode = os.stat(folder).st_mode
    if mode & (stat.S_IROTH | stat.S_IXOTH | stat.S_IWOTH):
        yield Finding(
            "warning",
            "store",
            f"every user of this host can look into {folder}",
            f"Run: chmod 700 {folder}",
        )
    for name in sorted(os.listdir(folder)):
        if ".damaged-" in name:
            yield Finding(
                "warning",
                "store",
                f"{name} was set aside because it could not be read",
                "Put a backup back if there is one (README.txt says how), or delete it.",
            )


def _state(state: str, moved_to: str) -> Iterator[Finding]:
    if state == "sealed":
        yield Finding(
            "problem",
            "store",
            f"it was sealed: its contents were moved to {moved_to}",
            f"Set {PREFIX}STORE to that on every host, and restart.",
        )
    elif state != "open":
        yield Finding(
            "problem", "store", "a migration into it was not finished", "Repeat 'migrate'."
        )


def _rolled_back(known: int, head: int) -> Iterator[Finding]:
    """*known*: the highest number that a node, or the counter beside the database, has met."""
    if known > head:
        yield Finding(
            "problem",
            "store",
            f"it was rolled back: number {known} was there once, the store ends at {head}",
            "If a backup was restored on purpose, run: flask tokens restored",
        )


def _clocks(
    store: ClusterStore, settings: Settings, clock: Clock, held: list[str]
) -> Iterator[Finding]:
    apart = 0.0 if store.embedded else store.time() - clock.time()
    if abs(apart) > SKEW:
        yield Finding(
            "problem",
            "clock",
            f"this host's clock differs from the store's by {abs(apart):.0f} s; nodes with such a "
            "clock refuse every token",
            "Let NTP set the clocks of all hosts.",
        )
    elif abs(apart) > 2:
        yield Finding(
            "warning",
            "clock",
            f"this host's clock differs from the store's by {abs(apart):.1f} s "
            f"(up to {SKEW:.0f} s is tolerated)",
            "Let NTP set the clocks of all hosts.",
        )
    else:
        yield Finding("ok", "clock", "it agrees with the store's")


def _ring(store: ClusterStore, held: list[str]) -> Iterator[Finding]:
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


def _feed(store: ClusterStore) -> Iterator[Finding]:
    """Can this version read every entry? A node that cannot is stale for as long as it stands."""
    after, more, first, count = 0, True, "", 0
    while more:
        batch = store.read(after)
        after, more = batch.seq, batch.more
        for entry in batch.entries:
            try:
                Notice.decode(entry.body)
            except ValueError as error:
                first = first or f"number {entry.seq} ({error})"
                count += 1
    if count:
        others = f", and {count - 1} more" if count > 1 else ""
        yield Finding(
            "problem",
            "feed",
            f"this version cannot read entry {first}{others}: its nodes refuse every token",
            "Install the newer version here too. If there is none, others write into the store.",
        )


# -- nodes -----------------------------------------------------------------------------


def _nodes(found: list[ListedNode], settings: Settings, held: list[str]) -> Iterator[Finding]:
    live = [one.node for one in found if not one.silent]
    for one in found:
        if one.silent:
            yield Finding(
                "warning",
                "nodes",
                f"{one.node.name} has been silent for {one.quiet_for:.0f} s",
                "If its process is gone: nodes --remove; else see what keeps it from the store.",
            )
    hosts = {node.host for node in live}
    for host in settings.expected_nodes:
        if host not in hosts:
            yield Finding(
                "problem", "nodes", f"{host} is expected, and no node of it is alive",
                f"Start it, or take it out of {PREFIX}EXPECTED_NODES.",
            )  # fmt: skip
    if not live:
        yield Finding("warning", "nodes", "no node is running", "Start the app; then ask again.")
        return
    for difference in drift(live):
        yield Finding("problem", "nodes", str(difference), "Make the settings agree, and restart.")
    strangers = [node for node in live if held and not set(held) & set(node.keys)]
    if strangers:
        yield Finding(
            "problem",
            "keys",
            f"none of this host's keys is on {strangers[0].name}"
            + (f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""),
            "All hosts need the same keys: copy the file, or set SECRET alike.",
        )
    mine = library_version()
    for version in sorted({node.version for node in live} - {mine}):
        yield Finding("warning", "nodes", f"some run version {version}, this is {mine}")
    where = f"{len(hosts)} host{'s' if len(hosts) > 1 else ''}"
    yield Finding("ok", "nodes", f"{len(live)} alive on {where}")


def worst(findings: list[Finding]) -> Level:
    """The level of the whole: ``problem`` if there is one."""
    levels = {one.level for one in findings}
    return "problem" if "problem" in levels else "warning" if "warning" in levels else "ok"
