"""The feed's numbers: microseconds since 1970, or one more than the number before.

So numbers do not repeat when a backup is restored, and each tells the moment of its append: that
one, or a later one where the store's clock was set back or had run ahead. Only their order is
promised; the time in them is for retention.
"""

from __future__ import annotations

from typing import TypeAlias

#: A number of the feed; 0 stands before all of them.
Seq: TypeAlias = int

_A_SECOND = 1e6


def seq_at(time: float) -> Seq:
    """The number of what is appended at *time* (seconds since 1970) to a feed of before."""
    return int(time * _A_SECOND)


def time_of(seq: Seq) -> float:
    """Seconds since 1970: the append of number *seq* had begun by then."""
    return seq / _A_SECOND
