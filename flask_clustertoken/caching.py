"""What caches are told of an answer that depended on who asked.

A response that was made after a look at the token is one reader's. Flask had an advisory
(CVE-2023-30861) because a cookie that was only refreshed left without ``Vary``.
"""

from __future__ import annotations

Headers = list[tuple[str, str]]

_READ = ("Cookie", "Authorization")
_VARY = ("Vary", ", ".join(_READ))
_PRIVATE = ("Cache-Control", "private")


def for_one_reader(headers: Headers, set_cookie: str | None) -> Headers:
    """*headers* with ``Vary``, and ``Cache-Control`` unless the app said something itself.

    With a cookie nobody may keep the answer, whatever the app said.
    """
    varies = has_a_say = False
    for name, _ in headers:
        lowered = name.lower()
        varies = varies or lowered == "vary"
        has_a_say = has_a_say or lowered == "cache-control"
    headers = _varied(headers) if varies else [*headers, _VARY]
    if set_cookie is not None:
        kept = [one for one in headers if one[0].lower() != "cache-control"]
        return [*kept, ("Cache-Control", "no-store"), ("Set-Cookie", set_cookie)]
    return headers if has_a_say else [*headers, _PRIVATE]


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
