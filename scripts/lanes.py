"""Stages side by side: which begins when, and what is said of them meanwhile.

Some stages keep every processor busy, others wait for their servers most of the time. So one of
the first kind runs at a time, and beside it some of the second.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import one_stage
from one_stage import Result, Stage, Stopped, Way

#: Seconds between two lines that say how far the stages are.
SAID_EVERY = 60.0

#: Stages at once, unless it is said: one keeps the processors busy, the others mostly wait.
AT_ONCE = (os.cpu_count() or 1) + 1


def next_of(waiting: Sequence[Stage], running: Sequence[Stage], at_once: int) -> Stage | None:
    """The first of *waiting* that there is room for."""
    if len(running) >= at_once or any(one.alone for one in running):
        return None
    for stage in waiting:
        if stage.alone:
            if not running and all(one.alone for one in waiting):
                return stage
        elif not (stage.parallel and any(one.parallel for one in running)):
            return stage
    return None


class Lanes:
    """Runs stages, *at_once* of them at most; *ended* hears of each.

    *run* is what runs one stage, in a thread of its own.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        way: Way,
        at_once: int = AT_ONCE,
        *,
        ended: Callable[[Result], None] = lambda result: None,
        run: Callable[[Stage, Way], Result] = one_stage.run,
    ) -> None:
        self._waiting = list(stages)
        self._way = way
        self._at_once = at_once
        self._ended = ended
        self._run = run
        self._running: dict[str, Stage] = {}
        self._threads: list[threading.Thread] = []
        self._done: queue.SimpleQueue[Result] = queue.SimpleQueue()
        self._began = time.monotonic()

    def go(self) -> list[Result]:
        """How each stage ended, in the order in which they did.

        An interrupt ends all that run and is raised again once they have ended.
        """
        results = []
        try:
            while self._waiting or self._running:
                while stage := next_of(self._waiting, list(self._running.values()), self._at_once):
                    self._begin(stage)
                try:
                    result = self._done.get(timeout=SAID_EVERY)
                except queue.Empty:
                    self._say_how_far()
                    continue
                del self._running[result.stage]
                if self._way.apart:
                    self._show(result)
                results.append(result)
                self._ended(result)
        except BaseException:
            self._way.over.set()
            raise
        finally:
            for thread in self._threads:
                thread.join()
        return results

    def _begin(self, stage: Stage) -> None:
        self._waiting.remove(stage)
        self._running[stage.name] = stage
        if self._way.apart:
            beside = [name for name in self._running if name != stage.name]
            where = f" beside {', '.join(beside)}" if beside else ""
            if stage.alone:
                where = f" by itself: {stage.alone}"
            self._say(f"{stage.name} begins{where} (at most {self._way.limit(stage)} s)")
        thread = threading.Thread(target=self._run_one, args=(stage,), name=stage.name)
        self._threads.append(thread)
        thread.start()

    def _run_one(self, stage: Stage) -> None:
        result = Result(stage.name, "failed (stopped)", failed=1)
        try:
            result = self._run(stage, self._way)
        except Stopped:
            pass
        except Exception as error:
            result.outcome = f"failed ({error!r})"
        finally:
            self._done.put(result)

    def _say(self, text: str) -> None:
        print(f"... {time.monotonic() - self._began:4.0f} s: {text}", flush=True)

    def _say_how_far(self) -> None:
        if self._way.apart:
            self._say(", ".join(map(one_stage.so_far, self._running)))

    def _show(self, result: Result) -> None:
        """What a stage said, whole: in the order in which they end, none within another."""
        print(f"\n=== {result.stage}: {result.outcome}, {result.seconds:.0f} s", flush=True)
        with suppress(OSError):
            text = one_stage.log_of(result.stage).read_text(errors="replace")
            sys.stdout.write(text if result.ran else "")
            sys.stdout.flush()
