"""Deadline: work whose caller gets an answer in time, whatever the work waits for.

A provider waits some seconds for us and asks once (Keycloak 5). A store or a key server that is
slow may take that long for one call, and a message needs several. So the answer is given up and
not the work: what it told us is done a little later. (Done twice, it is done once: see
:mod:`.once`.)
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from typing import TypeVar

from .errors import ProviderUnavailable

logger = logging.getLogger(__name__)

#: Seconds within which a message of a provider's is answered.
ANSWER_WITHIN = 3.5
#: Messages of one kind under way in one process: of those that a key at hand has signed, and of
#: those that nobody may have signed. Beyond that something is wrong with what they wait for.
MESSAGES_AT_ONCE = 64

Result = TypeVar("Result")


class AnswerDeadline:
    """Does work in a thread of its own and waits for it, but not for ever; so many at once."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(MESSAGES_AT_ONCE)
        self._pid = 0

    def within(self, seconds: float, work: Callable[[], Result]) -> Result:
        """What *work* returns or raises; :class:`ProviderUnavailable` where it takes too long."""
        if self._pid != os.getpid():
            # After a fork: what the parent had under way is not ours.
            self._places = threading.BoundedSemaphore(MESSAGES_AT_ONCE)
            self._pid = os.getpid()
        places = self._places
        if not places.acquire(blocking=False):
            raise ProviderUnavailable("too many messages are waiting for the store or for keys")
        results: list[Result] = []
        errors: list[Exception] = []
        given_up = threading.Event()

        def run() -> None:
            try:
                results.append(work())
            except Exception as error:
                errors.append(error)
                if given_up.is_set():
                    logger.warning("a message that took too long was not obeyed: %s", error)
            finally:
                places.release()

        thread = threading.Thread(target=run, name="clustertoken-message", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            places.release()
            raise ProviderUnavailable("no thread could be started") from error
        thread.join(seconds)
        if errors:
            raise errors[0]
        if results:
            return results[0]
        given_up.set()
        raise ProviderUnavailable("it takes too long, and goes on without an answer")
