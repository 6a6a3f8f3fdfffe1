"""Confirming: an answer that says "done" only once it is true on every node."""

from __future__ import annotations

import logging
from collections.abc import Callable
from math import ceil

from ..cluster import Revocation
from ..errors import NodesTooOld, StoreError
from .replies import RETRY_AFTER, Reply, problem, unavailable

logger = logging.getLogger("flask_clustertoken.gateway")


def confirmed(end: Callable[[], Revocation], timeout: float, done: Reply) -> Reply:
    """Call *end*, wait until its revocation is in force everywhere, and answer *done*.

    A 503 where the store is in trouble (whether it was done is unknown then), and where it is
    not in force everywhere after *timeout* seconds: it stands, and will be.
    """
    try:
        state = end().confirm(timeout)
    except (StoreError, NodesTooOld) as error:
        logger.warning("answered 503, the store could not do it: %s", error)
        return unavailable("The store could not do it, or did not say that it did. Ask again.")
    if state.in_force and not state.reservation:
        return done
    if state.in_force:
        said = f"It was recorded, and the store leaves something open: {state.reservation}."
    elif state.certain_in is None:
        said = "It was recorded, and a node that accepts tokens while stale has not answered."
    else:
        said = (
            f"It was recorded, and is in force everywhere in {ceil(state.certain_in)} s at the "
            "latest; not every node has answered yet."
        )
    return problem(503, "not_confirmed", said, ("Retry-After", str(RETRY_AFTER)))
