"""Device: what a login is made on, in words that its user knows, as far as the browser says so.

Read by ua-parser, whose lists follow the browsers. It comes with the extra ``console``; without it
every device is unknown, since a short list of our own would soon name the wrong ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from ..tokens import DEVICE_LIMIT

#: Characters of a ``User-Agent`` beyond which nothing is read: whoever sends it chooses it, and
#: some hundred patterns are tried on it.
AGENT_LIMIT = 400

#: What ua-parser tells apart and people do not.
_BROWSERS = {
    "Chrome Mobile": "Chrome",
    "Chrome Mobile iOS": "Chrome",
    "Chrome Mobile WebView": "Chrome",
    "HeadlessChrome": "Chrome",
    "Edge Mobile": "Edge",
    "Firefox Mobile": "Firefox",
    "Firefox iOS": "Firefox",
    "Mobile Safari": "Safari",
    "Mobile Safari UI/WKWebView": "Safari",
    "Opera Mobile": "Opera",
}
_SYSTEMS = {"Mac OS X": "macOS", "Chrome OS": "ChromeOS"}


def device_of(environ: Mapping[str, Any]) -> str:
    """``Firefox on Windows``, by the request's ``User-Agent``; ``""`` where that says nothing."""
    return _named(environ.get("HTTP_USER_AGENT", "")[:AGENT_LIMIT])


@lru_cache(1024)
def _named(agent: str) -> str:
    if not agent:
        return ""
    try:
        from ua_parser import parse_os, parse_user_agent
    except ImportError:
        return ""
    browser, system = parse_user_agent(agent), parse_os(agent)
    program = "" if browser is None else _BROWSERS.get(browser.family, browser.family)
    place = "" if system is None else _SYSTEMS.get(system.family, system.family)
    if place == "iOS":
        place = "iPad" if "iPad" in agent else "iPhone"
    words = " on ".join(one for one in (program, place) if one)
    # (Some names are cut out of what was sent.)
    return "".join(filter(str.isprintable, words))[:DEVICE_LIMIT]
