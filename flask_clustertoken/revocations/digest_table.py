"""Digest table: a million 64-bit digests in 20 bytes each, read without a lock."""

from __future__ import annotations

from array import array
from bisect import bisect_left

#: Covers tokens whenever they were issued.
ALWAYS = 2**63 - 1
#: The end of what has none (as far as 32 bits of seconds go).
NEVER = 2**32 - 1

_SHARDS = 4096
_SHIFT = 64 - 12

_Columns = tuple["array[int]", "array[int]", "array[int]"]
_NONE: _Columns = (array("Q"), array("Q"), array("I"))


class DigestTable:
    """64-bit digest → (sequence, end), in 20 bytes an entry.

    4,096 sorted shards: at a million entries no step handles more than some 250 of them.
    A shard is replaced as a whole, so that readers need no lock.
    """

    def __init__(self) -> None:
        self._shards: list[_Columns] = [_NONE] * _SHARDS
        self._next = 0
        self._count = 0

    def __len__(self) -> int:
        return self._count

    def seq(self, key: int) -> int:
        """The sequence that stands at *key*, 0 where none does."""
        keys, seqs, _ = self._shards[key >> _SHIFT]
        at = bisect_left(keys, key)
        return seqs[at] if at < len(keys) and keys[at] == key else 0

    def learn(self, key: int, seq: int, until: int) -> None:
        """The later sequence and the later end win; nothing is ever taken back."""
        keys, seqs, untils = self._shards[key >> _SHIFT]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key:
            seqs, untils = seqs[:], untils[:]
            seqs[at] = max(seqs[at], seq)
            untils[at] = max(untils[at], until)
        else:
            keys, seqs, untils = keys[:], seqs[:], untils[:]
            keys.insert(at, key)
            seqs.insert(at, seq)
            untils.insert(at, until)
            self._count += 1
        self._shards[key >> _SHIFT] = (keys, seqs, untils)

    def settle(self, key: int, seq: int, until: int) -> None:
        """Give the entry made by exactly *seq* an end that it did not have."""
        keys, seqs, untils = self._shards[key >> _SHIFT]
        at = bisect_left(keys, key)
        if at < len(keys) and keys[at] == key and seqs[at] == seq and untils[at] == NEVER:
            untils = untils[:]
            untils[at] = until
            self._shards[key >> _SHIFT] = (keys, seqs, untils)

    def expire(self, now: float, shards: int = 64) -> int:
        """Drop what is over in the next few shards; returns how many entries went."""
        gone = 0
        for _ in range(shards):
            keys, seqs, untils = self._shards[self._next]
            over = [at for at, until in enumerate(untils) if until < now]
            if over:
                kept = [at for at, until in enumerate(untils) if until >= now]
                self._shards[self._next] = (
                    array("Q", [keys[at] for at in kept]),
                    array("Q", [seqs[at] for at in kept]),
                    array("I", [untils[at] for at in kept]),
                )
                gone += len(over)
            self._next = (self._next + 1) % _SHARDS
        self._count -= gone
        return gone
