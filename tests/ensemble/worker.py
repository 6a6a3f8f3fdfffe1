"""A worker process of the fault tests: one node that does what it is told and writes it down.

Started by :mod:`tests.ensemble.harness`. Commands come as lines of JSON on standard input, one
answer each goes to standard output. Meanwhile a thread validates every token that it was told
to watch, all the time. What is recorded goes to a file, in the words of
:mod:`tests.simulation.checker`; its time is the machine's monotonic clock, the same for all
processes. The clock's skew and the mutations exist here alone: shipped code has no switch.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, TextIO

from flask_clustertoken.authority import TokenAuthority
from flask_clustertoken.clock import SystemClock
from flask_clustertoken.errors import ClusterTokenError, NodesTooOld
from flask_clustertoken.settings import PREFIX, Settings
from flask_clustertoken.stores import open_store
from flask_clustertoken.tokens import Token
from tests.rounds import FULL

from .mutations import MUTATIONS

#: Seconds between two rounds over the watched tokens: three workers share one machine with the
#: servers, and what they look for lasts twenty times longer and more. Nobody waits for it.
ROUND = 0.004 if FULL else 0.05


def now() -> float:
    """True time: one clock for all processes of the machine, running while any is frozen."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


class SkewedClock(SystemClock):
    """A machine whose wall clock differs, and may be set."""

    def __init__(self, skew: float) -> None:
        self.skew = skew

    def time(self) -> float:  # type: ignore[override]
        return time.time() + self.skew


class Watch:
    """Validates its tokens all the time; writes the last acceptance before each refusal."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._last: dict[str, dict[str, Any] | None] = {}
        self._texts: dict[str, str] = {}
        self.count = 0
        self._over = threading.Event()
        threading.Thread(target=self._run, daemon=True).start()

    def add(self, token: str, text: str) -> None:
        self._texts[token] = text

    def drop(self, tokens: list[str]) -> None:
        for token in tokens:
            self._texts.pop(token, None)
            self._flush(token)

    def _run(self) -> None:
        while not self._over.wait(ROUND):
            for token, text in list(self._texts.items()):
                self._one(token, text)

    def stop(self) -> None:
        self._over.set()

    def _one(self, token: str, text: str) -> None:
        begin = now()
        found = self._worker.authority.authenticate(text)
        end = now()
        self.count += 1
        event = self._worker.validated(token, begin, end, found)
        if isinstance(found, Token):
            last = self._last.get(token)
            if last is None:
                self._worker.record(event)
            self._last[token] = event
        else:
            self._flush(token)
            self._worker.record_once(event)

    def _flush(self, token: str) -> None:
        last = self._last.get(token)
        if last is not None:
            self._worker.record(last)
            self._last[token] = None

    def flush(self) -> None:
        for token in list(self._last):
            self._flush(token)


class Worker:
    """One node and its commands."""

    def __init__(self, arguments: argparse.Namespace, history: TextIO) -> None:
        self.name: str = arguments.name
        self._history = history
        self._lock = threading.Lock()
        self._said: set[tuple[str, str]] = set()
        self.clock = clock = SkewedClock(arguments.skew)
        self.settings = Settings.from_mapping(
            {
                PREFIX + "STORE": arguments.store,
                PREFIX + "SECRET": "the same key on all workers of the tests",
                PREFIX + "TOKEN_STORE": arguments.token_store,
                PREFIX + "MAX_STALENESS": arguments.max_staleness,
                PREFIX + "LIFETIME": 3600,
                PREFIX + "RENEW_AFTER": 1,
            }
        )
        store = open_store(
            arguments.store,
            clock=clock,
            timeout=arguments.timeout,
            options=(
                json.loads(arguments.options)
                if arguments.options
                else {"session_timeout": arguments.session_timeout}
            ),
        )
        self.authority = TokenAuthority(self.settings, clock=clock, store=store)
        if arguments.mutation:
            MUTATIONS[arguments.mutation](self.authority)
        self.watch = Watch(self)

    def record(self, event: dict[str, Any]) -> None:
        with self._lock:
            self._history.write(json.dumps(event) + "\n")
            self._history.flush()

    def record_once(self, event: dict[str, Any]) -> None:
        """A refusal is written once a token and reason."""
        key = (event["token"], event["reason"])
        if key not in self._said:
            self._said.add(key)
            self.record(event)

    def validated(self, token: str, begin: float, end: float, found: Any) -> dict[str, Any]:
        return {
            "type": "validated",
            "node": self.name,
            "token": token,
            "begin": begin,
            "end": end,
            "accepted": isinstance(found, Token),
            "reason": "" if isinstance(found, Token) else found.reason,
            "from_view": not found and found.detail == "a revocation covers it",
            "max_staleness": self.settings.max_staleness,
            "accepts_when_stale": False,
        }

    # commands

    def ready(self) -> dict[str, Any]:
        readiness = self.authority.readiness()
        return {"fresh": readiness.fresh, "trouble": readiness.trouble, "count": self.watch.count}

    def issue(self, subject: str, labels: list[str]) -> dict[str, Any]:
        since = self.authority.begin()
        since_read = now()
        begin = now()
        issued = self.authority.issue_login(subject, since=since, labels=labels)
        self.record(
            {
                "type": "issued",
                "token": issued.token.id,
                "subject": subject,
                "labels": labels,
                "kind": "login",
                "since_read": since_read,
                "begin": begin,
                "end": now(),
            }
        )
        return {"token": issued.token.id, "text": issued.text}

    def add(self, token: str, text: str) -> dict[str, Any]:
        self.watch.add(token, text)
        return {}

    def drop(self, tokens: list[str]) -> dict[str, Any]:
        self.watch.drop(tokens)
        return {}

    def validate(self, token: str, text: str) -> dict[str, Any]:
        begin = now()
        found = self.authority.authenticate(text)
        event = self.validated(token, begin, now(), found)
        self.record(event)
        return {"accepted": event["accepted"], "reason": event["reason"]}

    def revoke(self, what: str, target: str, confirm: float | None = None) -> dict[str, Any]:
        authority = self.authority
        asked: Callable[[], Any] = {
            "id": lambda: authority.revoke_ids([target]),
            "label": lambda: authority.revoke_labels([target]),
            "subject": lambda: authority.revoke_subject(target),
            "realm": lambda: authority.revoke_all(),
        }[what]
        begin = now()
        revocation = asked()
        acknowledged = now()
        self.record(
            {
                "type": "revoked",
                "rev": revocation.seq,
                "what": what,
                "target": target,
                "kinds": ["login"],
                "begin": begin,
                "acknowledged": acknowledged,
                "remembered_for": 3600.0,
            }
        )
        answer = {"rev": revocation.seq, "took": acknowledged - begin}
        if confirm is not None:
            told = revocation.confirm(confirm)
            if told.in_force:
                self.record({"type": "confirmed", "rev": revocation.seq, "at": now()})
            answer |= {
                "in_force": told.in_force,
                "silent": [one.node.pid for one in told.silent],
                "certain_in": told.certain_in,
                "elapsed": told.elapsed,
            }
        return answer

    def lock(self, subject: str) -> dict[str, Any]:
        try:
            return {"rev": self.authority.locking.lock(subject=subject).seq}
        except NodesTooOld as error:
            return {"too_old": list(error.nodes)}

    def session(self) -> dict[str, Any]:
        """The ZooKeeper session of this worker, for the test to end it from elsewhere."""
        opened = next(iter(self.authority.store._opened.values()))  # type: ignore[attr-defined]
        # None between two sessions: an error to whoever asks, who asks again.
        session_id, password = opened.line._zk.client_id
        return {"id": session_id, "password": password.hex()}

    def jump(self, seconds: float) -> dict[str, Any]:
        """Somebody sets this machine's clock: from now on it is so much ahead, or behind."""
        self.clock.skew = seconds
        return {}

    def flush(self) -> dict[str, Any]:
        self.watch.flush()
        self.record({"type": "watched", "count": self.watch.count})
        return {"count": self.watch.count}

    def close(self) -> dict[str, Any]:
        self.watch.stop()
        self.authority.close()
        return {}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--name", required=True)
    parser.add_argument("--store", required=True)
    parser.add_argument("--history", required=True)
    parser.add_argument("--skew", type=float, default=0.0)
    parser.add_argument("--max-staleness", type=float, default=3.0)
    parser.add_argument("--timeout", type=float, default=2.0)
    parser.add_argument("--session-timeout", type=float, default=4.0)
    parser.add_argument("--options", help="of another store than ZooKeeper, as JSON")
    parser.add_argument("--token-store", default="session")
    parser.add_argument("--mutation", default="")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    with open(arguments.history, "a", encoding="utf-8") as history:
        worker = Worker(arguments, history)
        for line in sys.stdin:
            command = json.loads(line)
            try:
                answer = getattr(worker, command.pop("do"))(**command)
            except (ClusterTokenError, LookupError, TypeError, AttributeError) as error:
                answer = {"error": f"{type(error).__name__}: {error}"}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
