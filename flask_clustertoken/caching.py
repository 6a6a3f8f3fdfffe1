"""What caches are told of an answer that depended on who asked.

A response that was made after a look at the token is one reader's. Flask had an advisory
(CVE-2023-30861) because a cookie that was only refreshed left without ``Vary``.
"""

from __future__ import annotations

Headers = list[tuple[str, str]]

_READ = ("Cookie", "Authorization")
_VARY = ("Vary", ", ".join(_READ))
_PRIVATE = ("Cache-Control", "private")
_NO_STORE = ("Cache-Control", "no-store")
#: An app that sends one of these says something of caches itself.
_ON_CACHES = frozenset({"vary", "cache-control"})


def for_one_reader(headers: Headers, set_cookie: str | None) -> Headers:
    """*headers* with ``Vary``, and ``Cache-Control`` unless the app said something itself.

    With a cookie nobody may keep the answer, whatever the app said.
    """
    for name, _ in headers:
        if name.lower() in _ON_CACHES:
            return _considered(headers, set_cookie)
    if set_cookie is None:
        return [*headers, _VARY, _PRIVATE]
    return [*headers, _VARY, _NO_STORE, ("Set-Cookie", set_cookie)]


def _considered(headers: Headers, set_cookie: str | None) -> Headers:
    """The same where the app says something of caches itself."""
    names = {name.lower() for name, _ in headers}
    headers = _varied(headers) if "vary" in names else [*headers, _VARY]
    if set_cookie is not None:
        kept = [one for one in headers if one[0].lower() != "cache-control"]
        return [*kept, _NO_STORE, ("Set-Cookie", set_cookie)]
    return headers if "cache-control" in names else [*headers, _PRIVATE]


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
