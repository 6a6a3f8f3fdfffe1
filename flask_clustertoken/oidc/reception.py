"""Reception: a provider's message arrives. Its body is read, and it is answered in time."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol
from urllib.parse import parse_qs

from werkzeug.exceptions import RequestEntityTooLarge
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import get_input_stream

from .deadline import ANSWER_WITHIN, AnswerDeadline
from .jose import TEXT_LIMIT, SigningKeys


class Party(Protocol):
    """Who sends messages: its issuer, and the keys that sign them. Either may be fetched first."""

    @property
    def issuer(self) -> str: ...
    @property
    def keys(self) -> SigningKeys: ...


class Reception:
    """Where messages that anybody can post wait for the store or for keys.

    *context* is entered around what is done: receivers of an app's signals are called in there.
    """

    def __init__(self, context: Callable[[], AbstractContextManager[Any]]) -> None:
        self._context = context
        # Two, since anybody can send what looks signed: however many of those wait for keys, what
        # a key at hand has signed finds a place.
        self._known, self._strangers = AnswerDeadline(), AnswerDeadline()

    def in_time(self, text: str, keys: SigningKeys, work: Callable[[], None]) -> None:
        """Do *work* with the message *text*; what it raises is raised.

        :class:`~flask_clustertoken.oidc.ProviderUnavailable` where it takes longer than
        :data:`~flask_clustertoken.oidc.deadline.ANSWER_WITHIN` seconds: it goes on without us.
        """
        places = self._known if keys.signed_by_held(text) else self._strangers

        def in_context() -> None:
            with self._context():
                work()

        places.within(ANSWER_WITHIN, in_context)


def message_body(request: Request) -> str:
    """The request's body; 413 where it is longer than a signed text may be."""
    if request.content_length is not None:
        if request.content_length > TEXT_LIMIT:
            raise _TooLong
        # A hook of the app's may have read it; then Flask has kept it.
        raw = request.get_data()
    else:
        # (A body in chunks is cut off there without a word.)
        limited = get_input_stream(request.environ, max_content_length=TEXT_LIMIT + 1)
        raw = limited.read() or request.get_data()
    if len(raw) > TEXT_LIMIT:
        raise _TooLong
    return raw.decode("ascii", "replace").strip()


def form_field(request: Request, name: str) -> str | None:
    """The one field *name* of a form; ``None`` where there is none, or more than one."""
    body = message_body(request)
    if request.mimetype != "application/x-www-form-urlencoded":
        return None
    if not body:
        # A hook of the app's may have read it as a form.
        given = request.form.getlist(name)
        return given[0] if len(given) == 1 else None
    try:
        found = parse_qs(body, max_num_fields=10).get(name, [])
    except ValueError:
        return None
    return found[0] if len(found) == 1 else None


class _TooLong(RequestEntityTooLarge):
    """413, in the form of the other answers."""

    def get_response(self, environ: Any = None, scope: Any = None) -> Any:
        return Response(
            "longer than any message\n", 413, {"Cache-Control": "no-store"}, mimetype="text/plain"
        )
