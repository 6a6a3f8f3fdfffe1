"""Streams of a Flask app: they end with the token of the request that opened them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from flask import Flask, Response, stream_with_context

from flask_clustertoken import ClusterToken, current_token, token_required
from flask_clustertoken.authority import Watching
from flask_clustertoken.clock import SKEW, ManualClock
from flask_clustertoken.extension import end_event, state_of
from flask_clustertoken.tokens import Refusal
from tests.extension.parts import DAY, MakeApp, api_text, bearer, cookie, login_text
from tests.no_thread import no_thread


def by_hand(app: Flask) -> Watching:
    """What is open in *app*; the test does its steps."""
    watching = state_of(app).authority.watching
    watching.step_by_hand()
    return watching


def add_stream(app: Flask, tokens: ClusterToken) -> None:
    """A stream without an end."""

    @app.get("/stream")
    def stream() -> Response:
        def pieces() -> Iterator[str]:
            while True:
                yield "alice\n"

        return Response(tokens.while_valid(pieces(), end_event))


@contextmanager
def reading(app: Flask, headers: dict[str, str]) -> Iterator[Iterator[bytes]]:
    """The pieces of the stream, as they are asked for; closed in the end, as by a server."""
    with app.test_client().get("/stream", headers=headers) as answer:
        yield answer.iter_encoded()


def test_a_stream_ends_with_the_login_and_says_why(make_app: MakeApp) -> None:
    """Revoked while it runs: the piece that is asked for next is the last one."""
    app, tokens = make_app()
    add_stream(app, tokens)
    watching = by_hand(app)

    with reading(app, cookie(login_text(app))) as pieces:
        assert [next(pieces), next(pieces)] == [b"alice\n", b"alice\n"]
        with app.app_context():
            tokens.revoke_subject("alice")
        watching.step()

        assert list(pieces) == [b"event: end\ndata: revoked\n\n"]
    assert len(watching) == 0


def test_a_stream_with_its_requests_context_ends_alike(make_app: MakeApp) -> None:
    """``current_token`` stays the request's; whether it still holds is asked."""
    app, tokens = make_app()
    watching = by_hand(app)

    @app.get("/ours")
    def ours() -> Response:
        @stream_with_context
        def pieces() -> Iterator[str]:
            yield f"{current_token.subject} {current_token.still()}\n"
            tokens.revoke_subject("alice")
            yield f"{current_token.subject}\n"
            watching.step()
            yield f"{current_token.subject} {current_token.still()}\n"

        return Response(tokens.while_valid(pieces(), end_event))

    answer = app.test_client().get("/ours", headers=cookie(login_text(app)))

    assert answer.text == "alice True\nalice\nevent: end\ndata: revoked\n\n"


def test_an_api_tokens_stream_ends_with_it(make_app: MakeApp) -> None:
    """A program's, too, and only its own."""
    app, tokens = make_app()
    add_stream(app, tokens)
    watching = by_hand(app)
    with (
        reading(app, bearer(api_text(app))) as robots,
        reading(app, cookie(login_text(app))) as persons,
    ):
        assert [next(robots), next(persons)] == [b"alice\n", b"alice\n"]

        with app.app_context():
            tokens.revoke_subject("alice", kinds=("api",))
        watching.step()

        assert next(robots) == b"event: end\ndata: revoked\n\n"
        assert next(persons) == b"alice\n"


def test_where_nobody_is_logged_in_the_answer_is_401(make_app: MakeApp) -> None:
    """And none that begins and breaks off."""
    app, tokens = make_app()
    add_stream(app, tokens)

    assert app.test_client().get("/stream").status_code == 401
    assert len(by_hand(app)) == 0


def test_a_stream_is_for_its_reader_alone(make_app: MakeApp) -> None:
    """No cache keeps it: it depends on who asked."""
    app, tokens = make_app()
    add_stream(app, tokens)

    with app.test_client().get("/stream", headers=cookie(login_text(app))) as answer:
        assert answer.headers["Cache-Control"] == "private"
        assert "Cookie" in answer.headers["Vary"]


def test_the_renewal_by_the_streams_own_answer_counts(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """Also where no record tells of it: the watching begins before the answer does."""
    app, tokens = make_app(TOKEN_STORE="cookie", LIFETIME=1000, RENEW_AFTER=100)
    add_stream(app, tokens)
    watching = by_hand(app)
    text = login_text(app)
    clock.advance(600)

    with app.test_client().get("/stream", headers=cookie(text)) as answer:
        assert "Set-Cookie" in answer.headers
        pieces = answer.iter_encoded()
        clock.advance(500 + SKEW)
        watching.step()
        assert next(pieces) == b"alice\n"

        clock.advance(500)
        watching.step()
        assert next(pieces) == b"event: end\ndata: expired\n\n"


def test_a_stream_that_nobody_could_look_after_is_503(make_app: MakeApp) -> None:
    """The system gives no thread: it is refused, for it would outlive its login."""
    app, tokens = make_app()
    add_stream(app, tokens)
    headers = cookie(login_text(app))

    with no_thread("clustertoken-watching"):
        answer = app.test_client().get("/stream", headers=headers)

    assert answer.status_code == 503
    assert "Retry-After" in answer.headers
    with app.test_client().get("/stream", headers=headers) as answer:
        assert next(answer.iter_encoded()) == b"alice\n"


def test_answers_that_are_never_read_leave_nothing_behind(make_app: MakeApp) -> None:
    """An answer to HEAD has no body, and one whose client is gone is closed."""
    app, tokens = make_app()
    add_stream(app, tokens)
    watching = by_hand(app)
    headers = cookie(login_text(app))

    assert app.test_client().head("/stream", headers=headers).status_code == 200
    app.test_client().get("/stream", headers=headers).close()

    watching.step()
    assert len(watching) == 0


def test_watching_takes_the_current_token_or_one_at_hand(make_app: MakeApp) -> None:
    """Within the view, and later with the token that it took along."""
    app, tokens = make_app()
    watching = by_hand(app)
    told: list[Refusal] = []

    @app.get("/open")
    @token_required
    def opened() -> str:
        assert current_token.token is not None
        tokens.watching(current_token, told.append).open()
        tokens.watching(current_token.token, told.append).open()
        return "open"

    app.test_client().get("/open", headers=cookie(login_text(app)))
    assert len(watching) == 2
    with app.app_context():
        tokens.revoke_subject("alice")
    watching.step()

    assert [one.reason for one in told] == ["revoked", "revoked"]


def test_watching_nobody_is_an_error_that_says_what_to_do(make_app: MakeApp) -> None:
    """Or a socket that a stranger opened would never end."""
    app, tokens = make_app()

    with app.test_request_context(), pytest.raises(TypeError, match="@token_required"):
        tokens.watching(current_token)


def test_a_stream_goes_on_for_days_where_the_login_does(
    make_app: MakeApp, clock: ManualClock
) -> None:
    """An embedded store is vouched for by whoever looks: nobody else need send a request."""
    app, tokens = make_app(LIFETIME=30 * DAY)
    add_stream(app, tokens)
    watching = by_hand(app)

    with reading(app, cookie(login_text(app))) as pieces:
        for _ in range(5):
            clock.advance(DAY)
            watching.step()
            assert next(pieces) == b"alice\n"
