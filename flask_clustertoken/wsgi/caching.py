"""What caches are told of an answer that depended on who asked.

A response that was made after a look at the token is one reader's. Flask had an advisory
(CVE-2023-30861) because a cookie that was only refreshed left without ``Vary``.
"""

from __future__ import annotations

import re
from functools import lru_cache

Headers = list[tuple[str, str]]

_READ = ("Cookie", "Authorization")
_VARY = ("Vary", ", ".join(_READ))
_PRIVATE = ("Cache-Control", "private")
_NO_STORE = ("Cache-Control", "no-store")

#: What shared caches alone go by, and rather than by ``Cache-Control``: Varnish and Fastly,
#: Akamai, nginx. (The fields of RFC 9213 are known by how their names end.)
_TO_SHARED_CACHES = frozenset({"surrogate-control", "edge-control", "x-accel-expires"})
_TARGETED = "-cache-control"
#: Directives that are said to shared caches, or that let them keep what is one reader's.
_SHARED = frozenset({"public", "s-maxage", "proxy-revalidate", "private"})

#: How the names end by which an app says something of caches itself.
_END = -len("cache-control")
_ON_CACHES = frozenset(
    name[_END:] for name in ("vary", "cache-control", _TARGETED, *_TO_SHARED_CACHES)
)


def for_one_reader(headers: Headers, set_cookie: str | None, demanded: bool = False) -> Headers:
    """*headers* with ``Vary``, and ``Cache-Control`` unless the app said something itself.

    Where a token was *demanded*, the app says nothing to shared caches: they would go on handing
    the answer out after the token was revoked. With a cookie nobody may keep the answer, whatever
    the app said.
    """
    for name, _ in headers:
        if _is_on_caches(name):
            return _considered(headers, set_cookie, demanded)
    if set_cookie is None:
        return [*headers, _VARY, _PRIVATE]
    return [*headers, _VARY, _NO_STORE, ("Set-Cookie", set_cookie)]


@lru_cache(maxsize=256)
def _is_on_caches(name: str) -> bool:
    """Asked of each header of each answer: an app has a few dozen names, and always the same."""
    return name[_END:].lower() in _ON_CACHES


def _considered(headers: Headers, set_cookie: str | None, demanded: bool) -> Headers:
    """The same where the app says something of caches itself."""
    names = {name.lower() for name, _ in headers}
    headers = _varied(headers) if "vary" in names else [*headers, _VARY]
    if set_cookie is not None or demanded:
        headers = [one for one in headers if not _is_to_shared_caches(one[0].lower())]
    if set_cookie is not None:
        kept = [one for one in headers if one[0].lower() != "cache-control"]
        return [*kept, _NO_STORE, ("Set-Cookie", set_cookie)]
    if "cache-control" not in names:
        return [*headers, _PRIVATE]
    return _kept_private(headers) if demanded else headers


def _is_to_shared_caches(name: str) -> bool:
    return name in _TO_SHARED_CACHES or name.endswith(_TARGETED)


def _kept_private(headers: Headers) -> Headers:
    """One ``Cache-Control`` that says what the app said to the reader's own browser."""
    said = ",".join(value for name, value in headers if name.lower() == "cache-control")
    kept = [one for one in _directives(said) if one.partition("=")[0].lower() not in _SHARED]
    if not any(one.lower() == "no-store" for one in kept):
        kept.insert(0, "private")
    others = [one for one in headers if one[0].lower() != "cache-control"]
    return [*others, ("Cache-Control", ", ".join(kept))]


def _directives(said: str) -> list[str]:
    """*said* at its commas, except those within quotes: ``private="set-cookie, x-name"``."""
    return [one.strip() for one in re.findall(r'(?:[^,"]|"[^"]*"?)+', said) if one.strip()]


def _varied(headers: Headers) -> Headers:
    """One ``Vary`` that names what the app named, and what we read."""
    there = [
        one.strip()
        for name, value in headers
        if name.lower() == "vary"
        for one in value.split(",")
        if one.strip()
    ]
    if "*" in there:
        return headers
    lowered = {one.lower() for one in there}
    wanted = there + [one for one in _READ if one.lower() not in lowered]
    kept = [one for one in headers if one[0].lower() != "vary"]
    return [*kept, ("Vary", ", ".join(wanted))]
