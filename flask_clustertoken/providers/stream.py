"""Stream: one node of the cluster looks after it: sets it up, polls it, asks whether it lives.

A step function. What may happen in between, and what closes it:

- Two nodes look after it at once (the lease of one ended while it was frozen): each event counts
  once all the same, since its id is recorded where it is acted on; see :mod:`.acting`.
- The node is killed between acting and acknowledging: the transmitter gives the event out again,
  and the next node finds that it was done, and acknowledges it.
- The node that has the lease cannot reach the transmitter, and another one could: after some
  failures it lets another one try.
- An event cannot be judged now (the store, or keys): it is neither acknowledged nor refused, and
  comes again.
- The app fails at an event (its ``find_subject`` raises): that one comes again and again, and holds
  up no other: the round is none that failed.
- The node is killed between making the stream and keeping its record: until the next node finds
  it nobody knows whom events are for, and those that are pushed are put off.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from ..authority import TokenAuthority
from ..backoff import Backoff, share
from ..cluster import Source
from ..errors import ClusterTokenError, NodesTooOld, StoreError
from ..oidc import ProviderUnavailable
from ..stores import Lease
from .management import ensure
from .receiving import Receiving
from .records import StreamRecord, StreamRecords
from .sets import BadSet
from .transmitter import StreamGone, Transmitter
from .wanted import WantedStream

logger = logging.getLogger(__name__)

#: Seconds of the lease, and between two looks of the nodes that do not have it.
LEASE, LOOK_EVERY = 45.0, 15.0

#: Seconds between two looks at the stream's set-up and status.
CHECK_EVERY = 600.0

#: Seconds to wait after a failure, at first and at most; how many in a row let another node try,
#: and for how long.
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
FAILURES, STAND_BACK = 4, 60.0

#: Events that one poll takes at most: their texts have to fit into one answer. And how many more,
#: where so many are in the way that the app fails at.
MOST_AT_ONCE, MOST_IN_THE_WAY = 32, 512

#: Verifications that may fail to come before a stream counts as silent.
MISSED = 3


#: Tells of a stream that fell silent for so many seconds, or (``None``) was heard again.
TellSilence = Callable[[float | None], None]


class Stream:
    """One process's part in one stream. Not for several threads at once."""

    def __init__(
        self,
        authority: TokenAuthority,
        transmitter: Transmitter,
        records: StreamRecords,
        receiving: Receiving,
        wanted: WantedStream,
        tell_silence: TellSilence,
    ) -> None:
        self._authority, self._clock = authority, authority.clock
        self._transmitter = transmitter
        self._records = records
        self._receiving = receiving
        self._wanted = wanted
        self._tell_silence = tell_silence
        self._lease = Lease(
            authority.store, f"{records.root}/lease", margin=0.0, clock=authority.clock
        )
        self._backoff = Backoff(FIRST_PAUSE, LONGEST_PAUSE)
        self._failures = 0
        self._stand_back_until = self._check_at = self._verify_at = float("-inf")
        self._most = MOST_AT_ONCE
        #: The ids of events of the last poll at which the app failed, and how many were asked for
        #: because of them.
        self._failing: set[str] = set()
        self._more = 0
        self._acks: list[str] = []
        self._errors: dict[str, dict[str, str]] = {}
        #: The ids that the last poll has acknowledged or refused.
        self._said: set[str] = set()
        #: What :meth:`~flask_clustertoken.ClusterToken.readiness` says of it; ``""``: it is heard.
        self.silence = ""
        #: Why the last round did not do what it should; and why a verification was not asked for.
        self.trouble = self._unverified = ""

    # -- one round -----------------------------------------------------------------------

    def step(self) -> float:
        """Do what is due; returns the seconds after which to call again. Never raises."""
        try:
            before = self._notice()
            if not self._is_mine():
                return share(LOOK_EVERY, 0.5)
            pause = self._work(before)
        except (StoreError, NodesTooOld, ProviderUnavailable) as error:
            return self._failed(error)
        except Exception as error:
            # A thread that died would be a stream that is silent without a word.
            logger.exception("the stream %s failed; it goes on", self._wanted.name)
            return self._failed(error)
        self._backoff.reset()
        self._failures, self.trouble = 0, ""
        return pause

    def leave(self) -> None:
        """This process goes: another one may have the lease at once."""
        if self._lease.held:
            self._lease.give()

    def _notice(self) -> Source | None:
        """What is said of the stream; and whether it has just fallen silent, or is heard again."""
        said, now = self._records.source(), self._clock.time()
        silent = said is not None and said.is_silent(now)
        if said is not None and silent and not self.silence:
            seconds = said.silent_for(now)
            logger.error(
                "the stream %s of %s has been silent for %.0f s: log-outs there may not arrive",
                said.name, said.url, seconds,
            )  # fmt: skip
            self._tell_silence(seconds)
        if self.silence and not silent:
            logger.warning("the stream %s is heard again", self._wanted.name)
            self._tell_silence(None)
        self.silence = (
            f"{said.name} ({said.url}) was not heard for {said.silent_for(now):.0f} s"
            if said is not None and silent
            else ""
        )
        return said

    def _is_mine(self) -> bool:
        if self._lease.left > LEASE / 2:
            return True
        if self._lease.held and self._lease.hold(LEASE):
            return True
        if self._clock.monotonic() < self._stand_back_until:
            return False
        if self._authority.store.peek(self._lease.key) is not None:
            return False
        # (Who had it may have left it half done.)
        self._check_at = float("-inf")
        return self._lease.take(LEASE)

    def _failed(self, error: Exception) -> float:
        self._failures += 1
        if str(error) != self.trouble:
            logger.warning("the stream %s: %s", self._wanted.name, error)
        self.trouble = str(error)
        held = self._lease.held
        if held:
            self._say(self._last_said())
        if held and self._failures >= FAILURES and not isinstance(error, StoreError):
            self._failures = 0
            self._stand_back_until = self._clock.monotonic() + share(STAND_BACK, 0.5)
            self._lease.give()
        return self._backoff.next()

    def _last_said(self) -> Source | None:
        try:
            return self._records.source()
        except StoreError:
            return None

    def _say(self, before: Source | None) -> None:
        try:
            self._records.tell(
                silent_after=self._silent_after(), trouble=self.trouble, before=before
            )
        except ClusterTokenError as error:
            logger.info("nothing could be said of the stream %s: %s", self._wanted.name, error)

    def _silent_after(self) -> float:
        if self._wanted.silent_after:
            return self._wanted.silent_after
        record = self._records.stream()
        if record is None or not self._verifies(record):
            return 0.0
        return MISSED * self._every(record)

    # -- the work of whoever has the lease --------------------------------------------------

    def _work(self, before: Source | None) -> float:
        record = self._set_up()
        self._verify(record)
        self.trouble = self._unverified or (
            f"this app fails at {len(self._failing)} of its events, which come again and again"
            if self._failing
            else ""
        )
        self._say(before)
        if self._wanted.by == "poll":
            return 0.0 if self._poll(record) else self._wanted.poll_every
        return LOOK_EVERY

    def _set_up(self) -> StreamRecord | None:
        now = self._clock.monotonic()
        record = self._records.stream(newly=now >= self._check_at)
        if now < self._check_at:
            return record
        if self._transmitter.can_manage:
            newly = self._check_at == float("-inf")
            known = record

            def making() -> None:
                # Killed behind this, we leave nobody whom events are for: what the new stream
                # pushes meanwhile is put off, and not refused as somebody else's.
                if known is not None:
                    self._records.keep(replace(known, audience=()))

            record = ensure(self._transmitter, self._wanted, known, newly=newly, making=making)
            self._records.keep(record)
        elif record is None and (self._wanted.poll_url or self._wanted.stream_id):
            record = StreamRecord(self._wanted.stream_id, (), self._wanted.poll_url)
            self._records.keep(record)
        self._check_at = now + share(CHECK_EVERY, 0.5)
        return record

    def _verifies(self, record: StreamRecord) -> bool:
        return bool(record.stream_id) and self._transmitter.can_verify

    def _every(self, record: StreamRecord) -> float:
        return max(self._wanted.verify_every, record.interval)

    def _verify(self, record: StreamRecord | None) -> None:
        """Ask for a verification event, where one is due."""
        now = self._clock.monotonic()
        if record is None or now < self._verify_at or not self._verifies(record):
            return
        self._verify_at = now + self._every(record)
        try:
            self._transmitter.verify(record.stream_id, f"{record.nonce}.{int(self._clock.time())}")
        except StreamGone:
            self._check_at = float("-inf")
            raise
        except ProviderUnavailable as error:
            # (Too often, perhaps: what there is to poll is polled all the same.)
            logger.warning("the stream %s was not verified: %s", self._wanted.name, error)
            self._unverified = str(error)
        else:
            self._unverified = ""

    # -- polling -----------------------------------------------------------------------------

    def _poll(self, record: StreamRecord | None) -> bool:
        """One poll; whether to poll again at once."""
        url = self._wanted.poll_url or (record.poll_url if record is not None else "")
        if not url:
            raise self._transmitter.peer.trouble("its stream says no address to poll")
        acks, errors = list(self._acks), dict(self._errors)
        try:
            polled = self._transmitter.poll(
                url, most=self._most + self._more, ack=acks, errors=errors
            )
        except StreamGone:
            self._check_at = float("-inf")
            raise
        except ProviderUnavailable:
            # Perhaps it was more than one answer can hold.
            self._most, self._more = max(1, self._most // 2), self._more // 2
            raise
        self._most = min(MOST_AT_ONCE, self._most * 2)
        self._acks, self._errors = [], {}
        newly = polled.sets.keys() - self._said
        self._said = {*acks, *errors}
        failing: set[str] = set()
        put_off: Exception | None = None
        for jti, text in polled.sets.items():
            try:
                self._take(jti, text)
            except (StoreError, NodesTooOld, ProviderUnavailable) as error:
                put_off = error
            except Exception:
                failing.add(jti)
                if jti not in self._failing:
                    logger.exception("an event of %s failed, and comes again", self._wanted.name)
        self._failing, self._more = failing, min(len(failing), MOST_IN_THE_WAY)
        if put_off is not None:
            raise put_off
        # (A transmitter that gives out again what was acknowledged must not be asked in a circle,
        # nor for what comes again anyhow.)
        return bool(newly - failing)

    def _take(self, jti: str, text: str) -> None:
        try:
            token = self._receiving.receive(text)
            if token.id != jti:
                raise BadSet("invalid_request", "it has another jti than it is listed under")
        except BadSet as error:
            logger.warning("a polled event was refused with %s: %s", error.code, error)
            self._errors[jti] = {"err": error.code, "description": str(error)}
        else:
            self._acks.append(jti)
