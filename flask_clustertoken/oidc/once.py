"""Once: what records that a message of a provider's was obeyed, in the step that obeys it.

Recorded earlier, a failure in between would turn the provider's repetition into a replay and lose
what it asked for; recorded later, two nodes that get it at once would both obey it.
"""

from __future__ import annotations

from hashlib import sha256

from ..stores.base import Add, ClusterStore
from .claims import LEEWAY
from .errors import NotGenuine


class Once:
    """The message *text*, whose own id the record *key* stands for; remembered until *ends*.

    *ends* is wall-clock time: from then on the message is refused for its age. *source* begins
    the ids of the entries that it becomes.
    """

    def __init__(self, key: str, text: str, ends: float, *, source: str) -> None:
        self._digest = sha256(text.encode()).hexdigest()
        self._source = source
        #: To be made in the same step as what the message asks for: a
        #: :class:`~flask_clustertoken.errors.Conflict` says that it was obeyed before.
        self.record = Add(key, self._digest.encode(), ends + 2 * LEEWAY + 60.0)

    def entry_id(self, part: int = 0) -> str:
        """By the whole text: appending the same message again appends nothing."""
        return f"{self._source}-{self._digest[:48]}-{part}"

    def check_replay(self, store: ClusterStore) -> None:
        """After a conflict: the same message again is fine, another one of its id is not.

        Raises :class:`NotGenuine`.
        """
        record = store.get(self.record.key)
        if record is not None and record.value != self.record.value:
            raise NotGenuine("its id was used by another message")
