"""Once: of all servers that ask for one slot of a task, one is told to run it.

What may happen in between, and what closes it:

- Two servers ask at the same moment: the store adds a record only where nothing lives, in one
  step. Whose it is stands in it, as a number that the caller has drawn.
- The answer is lost, or the write arrives later than the caller waited: the caller does not know.
  It keeps its number, asks again with the same one, and finds it there: ``True``, once.
- Somebody else of the same process asks meanwhile: the number that was kept is handed to one of
  them only, so that of two that ask again one is told ``True``.
- The process is killed after it was told: nobody runs the slot. (Who wants it run at least once
  notes what was *done*, under a lease.)
- A fork: the child knows nothing of the numbers that its parent has kept.
"""

from __future__ import annotations

import secrets
import weakref
from datetime import datetime, timezone
from typing import Any

from .. import forks
from ..errors import StoreError
from ..stores.base import ClusterStore
from ..tokens import WrongArgument
from .names import checked

#: Slots whose answers a process remembers to be lost.
_REMEMBERED = 1000

#: The numbers of those whose answers were lost, by store and key.
_unanswered: weakref.WeakKeyDictionary[ClusterStore, dict[str, str]] = weakref.WeakKeyDictionary()

forks.in_child("process", _unanswered.clear)


def slot_name(slot: Any) -> str:
    """*slot* as a text that is the same on every server: a moment is spelled in UTC."""
    if not isinstance(slot, datetime):
        return checked(slot, "a slot")
    if slot.utcoffset() is None:
        raise WrongArgument(
            "a slot is a datetime with its time zone: without one it is another moment on a "
            "server in another zone; write datetime.now(timezone.utc)"
        )
    return slot.astimezone(timezone.utc).isoformat()


def is_first(store: ClusterStore, key: str, ends: float) -> bool:
    """Whether *key*, which lives until *ends*, is ours; see the module's text.

    Raises a :class:`~flask_clustertoken.errors.StoreError` where that is not known; whoever asks
    again in this process is told what came of it.
    """
    kept = _unanswered.setdefault(store, {})
    mine = kept.pop(key, None) or secrets.token_hex(16)
    try:
        if store.add(key, mine.encode(), ends):
            return True
        found = store.get(key)
    except StoreError as error:
        try:
            found = store.get(key)
        except StoreError:
            found = None
        if found is None:
            # (It may not have arrived yet, so that absence says nothing.)
            while len(kept) >= _REMEMBERED:
                kept.pop(next(iter(kept)))
            kept[key] = mine
            raise error
    return found is not None and found.value == mine.encode()
