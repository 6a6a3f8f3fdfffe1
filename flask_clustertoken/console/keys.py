"""Keys: how far a rotation is, what is missing where, and its next step where that is safe."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Response, abort, request
from werkzeug.wrappers import Response as BaseResponse

from ..authority import TokenFilter
from ..cluster import Revocation
from ..operations import KeyStatus, Rotation, RotationRefused
from . import gate
from .people import counted_in

Said = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Key:
    """A key as the page shows it."""

    status: KeyStatus
    #: As the status has it; ``signing`` also where nothing is said and it is the one that signs.
    state: str
    #: Hosts on which a node lacks it.
    missing_on: tuple[str, ...]
    #: One's own login was signed with it.
    own: bool
    steps: tuple[str, ...]


def show() -> Response:
    authority = gate.authority()
    rotation = Rotation(authority)
    keys = [_key(one) for one in rotation.statuses(count=False)]
    under_way = [one.status.id for one in keys if one.status.state == "staged"]
    file = authority.keys.file
    return gate.show(
        "keys.html",
        keys=keys,
        nodes=len(rotation.live_nodes()),
        under_way=under_way,
        path="" if file is None else str(file.path),
        now=authority.clock.time(),
    )


def _key(status: KeyStatus) -> Key:
    hosts = dict.fromkeys(name.rpartition(":")[0] for name in status.lacking)
    own = gate.me().key_id == status.id
    gone = status.state == "dropped"
    # (A key that signs logins no more and is not needed by API tokens either is dropped by this.)
    offered = {
        "sign": not status.not_sign,
        "retire": not status.not_retire and status.state != "api" and not own,
        "end": _ends_logins(status) and not own,
        "drop": not status.not_drop and status.state in ("api", "dropped") and not gone,
    }
    steps = tuple(name for name, there in offered.items() if there)
    state = status.state
    if state == "unmarked" and status.here and status.id == gate.authority().keys.signing()[0]:
        state = "signing"
    return Key(status, state, tuple(hosts), own, steps)


def _ends_logins(status: KeyStatus) -> bool:
    """Whether it may be retired if its logins may end: nothing but they is in the way."""
    return bool(status.not_retire) and not status.not_drop and status.state == "verifying"


def ask() -> Response:
    """Before a step: what it does."""
    step, key_id = _wish(request.args)
    key = _offered(step, key_id)
    counted = None
    if step in ("retire", "end", "drop"):
        before, after = counted_in(request.args)
        wanted = TokenFilter(kinds=("api",), key_id=key_id)
        counted = gate.authority().selecting.count(wanted, after)
        count, after, share = before + counted.count, counted.after, counted.share
    else:
        count, after, share = 0, "", 1.0
    file = gate.authority().keys.file
    return gate.show(
        "step.html",
        step=step,
        key=key,
        count=count,
        after=after,
        share=share,
        path="" if file is None else str(file.path),
    )


def take() -> BaseResponse:
    """Take a step. What it needs was looked at before, and is looked at again by the step."""
    step, key_id = _wish(request.form)
    _offered(step, key_id)
    said = {"step": step, "key": key_id}
    return gate.to_work(
        gate.works().begin(f"key_{step}", gate.actor(), said=said, do=_doing(step, key_id))
    )


def _wish(values: Mapping[str, str]) -> tuple[str, str]:
    step, key_id = values.get("step", ""), values.get("key", "")
    if step not in _STEPS:
        abort(400, "There is no such step.")
    return step, key_id


def _offered(step: str, key_id: str) -> Key | None:
    """The key, where the step is one that the page offers; else why it is not."""
    if step == "stage":
        return None
    for status in Rotation(gate.authority()).statuses(count=False):
        if status.id == key_id:
            key = _key(status)
            if step in key.steps:
                return key
            why = {
                "sign": status.not_sign,
                "retire": status.not_retire,
                "end": status.not_drop,
                "drop": status.not_drop,
            }[step]
            raise RotationRefused(why or f"this is not what key {key_id} needs now")
    raise RotationRefused("no key has this fingerprint")


def _doing(step: str, key_id: str) -> Callable[[], tuple[Said, Revocation | None]]:
    authority = gate.authority()

    def do() -> tuple[Said, Revocation | None]:
        said = _STEPS[step](Rotation(authority), key_id)
        # Every node that has read to here knows the new states of the keys.
        return said, Revocation(authority.store.head(), authority.publisher)

    return do


def _stage(rotation: Rotation, _: str) -> Said:
    staged = rotation.stage()
    return {"key": staged.key_id, "path": staged.path, "hosts": list(staged.hosts)}


def _sign(rotation: Rotation, key_id: str) -> Said:
    return {"before": rotation.sign(key_id)}


def _retire(rotation: Rotation, key_id: str, *, force: bool = False) -> Said:
    retired = rotation.retire(key_id, force_logout=force)
    return {
        "state": retired.state,
        "api_tokens": retired.api_tokens,
        "removed_here": retired.removed_here,
    }


def _drop(rotation: Rotation, key_id: str) -> Said:
    dropped = rotation.drop(key_id)
    return {"api_tokens": dropped.api_tokens, "removed_here": dropped.removed_here}


_STEPS: Mapping[str, Callable[[Rotation, str], Said]] = {
    "stage": _stage,
    "sign": _sign,
    "retire": _retire,
    "end": lambda rotation, key_id: _retire(rotation, key_id, force=True),
    "drop": _drop,
}
