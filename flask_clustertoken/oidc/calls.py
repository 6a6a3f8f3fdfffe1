"""Calls: JSON asked of a server, and JSON said to it, each with an end."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from dataclasses import dataclass
from http.cookiejar import DefaultCookiePolicy
from typing import Any

from .. import forks
from .errors import Peer
from .transport import Reach, equip


@dataclass(frozen=True, slots=True)
class Said:
    """What a server said: its status, and the JSON, ``None`` where there was none."""

    status: int
    data: Any


class Calls:
    """Speaks with one server. Safe for threads; opens nothing before its first call."""

    def __init__(self, peer: Peer, reach: Reach) -> None:
        self.peer = peer
        self._reach = reach
        self._session: Any = None
        _all.add(self)

    def forget(self) -> None:
        """In a fork's child: the parent's connections are not ours."""
        self._session = None

    def get(self, url: str, what: str) -> Mapping[str, Any]:
        """The JSON object at *url*. Raises the peer's
        :class:`~flask_clustertoken.oidc.ProviderUnavailable` for anything else; *what* names it."""
        answer = self.call("GET", url, what)
        if answer.status != 200 or not isinstance(answer.data, dict):
            raise self.peer.trouble(f"{what} was answered with {answer.status} and no JSON object")
        return answer.data

    def call(
        self,
        method: str,
        url: str,
        what: str,
        body: Any = None,
        *,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        auth: tuple[str, str] | None = None,
    ) -> Said:
        """Whatever *url* answers. Raises as :meth:`get` where nothing came in time."""
        from requests import RequestException

        try:
            answer = self._opened().request(
                method,
                url,
                json=body,
                data=form,
                headers=dict(headers or {}),
                # (Without one, requests would look for a password in a .netrc.)
                auth=auth or _as_it_is,
            )
        except (RequestException, ValueError) as error:
            raise self.peer.failed(what, error) from None
        try:
            said = answer.json()
        except ValueError:
            said = None
        return Said(answer.status_code, said)

    def _opened(self) -> Any:
        if self._session is None:
            import requests

            session = requests.Session()
            equip(session, self._reach)
            session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
            self._session = session
        return self._session


def _as_it_is(request: Any) -> Any:
    return request


_all: weakref.WeakSet[Calls] = weakref.WeakSet()


def _forget_all() -> None:
    for one in list(_all):
        one.forget()


forks.in_child("adapters", _forget_all)
