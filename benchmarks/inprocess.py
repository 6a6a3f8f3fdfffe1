"""In process: what one request costs, beside the same request without any token.

``app.wsgi_app(environ, start_response)`` in a tight loop, with a fresh environ a request; the
answer is read and closed. All applications live in this one process.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from flask import Flask
from werkzeug.test import create_environ

from .apps import PEERS, ask_app, bound_credentials, check
from .measure import Compared, Work, compare
from .run import Result, Run, markdown_table
from .svg import bars

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse

TITLE = "A request in process"


def request(app: Flask, path: str, headers: dict[str, str], method: str = "GET") -> Work:
    """One request to *app*, over and over; raises if it is ever not answered by 200."""
    base = create_environ(path, "http://localhost", method=method, headers=headers)
    # Read on each call: an extension may have wrapped it.
    wsgi_app = app.wsgi_app

    def start_response(status: str, headers: Any, exc_info: Any = None) -> Any:
        if status[:3] != "200":
            raise RuntimeError(f"answered by {status}")

    start: StartResponse = start_response

    def work() -> None:
        environ = dict(base)
        environ["wsgi.input"] = io.BytesIO()
        answer = wsgi_app(environ, start)
        for _ in answer:
            pass
        answer.close()  # type: ignore[attr-defined]

    return work


def measure(run: Run) -> Result:
    run.say("starting Redis and ZooKeeper")
    run.publish_servers()
    works: dict[str, Work] = {}
    for name, peer in PEERS.items():
        run.say(f"logging in at {name}")
        app = peer.build()
        headers = check(ask_app(app)) or peer.sends
        works[name] = request(app, "/me", headers)
        if name == "ours-session-directory":
            # The cookie comes along, and the view does not look at it.
            works["ours-not-looked-at"] = request(app, "/public", check(ask_app(app)))
            works["ours-bound"] = request(app, "/me", bound_credentials(app))
    bare_work = works.pop("bare")
    rounds = run.rounds(300, 25)

    def tick(done: int) -> None:
        if done % 10 == 0:
            run.say(f"round {done} of {rounds}")

    bare, others = compare(bare_work, works, rounds=rounds, tick=tick)
    return {
        "rounds": rounds,
        "bare": bare.row(),
        "others": {name: others[name].row() for name in sorted(others, key=_by_cost(others))},
    }


def _by_cost(others: dict[str, Compared]) -> Any:
    return lambda name: others[name].ratio


def title_of(name: str) -> str:
    if name == "ours-bound":
        return "Flask-ClusterToken, session, directory, bound to a device"
    if name == "ours-not-looked-at":
        return "Flask-ClusterToken, a view that does not look"
    return PEERS[name].title


def table(result: Result) -> str:
    bare = result["bare"]
    rows = [
        [
            title_of(name),
            f"{one['ratio']:.2f} [{one['ratio_p10']:.2f} – {one['ratio_p90']:.2f}]",
            f"{one['over']:+.1f}",
            f"{one['median'] - bare['median']:+.1f}",
            _does(name),
        ]
        for name, one in result["others"].items()
    ]
    head = ["application", "ratio to bare [p10 – p90]", "over bare, quiet µs", "median µs", "does"]
    return (
        f"The bare request takes {bare['quiet']:.1f} µs quiet (tenth percentile of "
        f"{bare['blocks']} blocks), {bare['median']:.1f} µs in the median. "
        f"{result['rounds']} rounds.\n\n" + markdown_table(head, rows)
    )


def _does(name: str) -> str:
    if name == "ours-bound":
        return "the same, and compares a second cookie with the one seen last"
    if name == "ours-not-looked-at":
        return "nothing but make a handle"
    return PEERS[name].does


def plots(result: Result) -> dict[str, str]:
    rows = [
        (title_of(name), max(0.0, one["over"]), name.startswith("ours"))
        for name, one in result["others"].items()
    ]
    return {
        "in-process": bars(
            "What a request costs over the same one without a token (quiet µs)", rows, "µs"
        )
    }
