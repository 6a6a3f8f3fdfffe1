"""Words: times and devices as people say them."""

from __future__ import annotations

from datetime import datetime, timezone

from .texts import Catalog

DAY = 86_400

HOUR = 3600
_MINUTE = 60

#: What a device's name ends with, where it was read off its ``User-Agent``: only those are taken
#: apart to be translated, since an app may call a device what it likes.
_SYSTEMS = frozenset(
    {
        *("Android", "ChromeOS", "Debian", "Fedora", "FreeBSD", "HarmonyOS", "KaiOS", "Linux"),
        *("OpenBSD", "Ubuntu", "Windows", "iPad", "iPhone", "macOS"),
    }
)


def device_words(device: str, catalog: Catalog) -> str:
    """What a login was made on: ``Firefox on Windows``."""
    if not device:
        return catalog.gettext("Unknown device")
    browser, on, system = device.rpartition(" on ")
    if on and system in _SYSTEMS:
        return catalog.gettext("%(browser)s on %(system)s", browser=browser, system=system)
    return device


def away(moment: float, now: float, catalog: Catalog) -> str:
    """How far *moment* is from *now*: ``3 days ago``, ``in 2 hours``, ``just now``."""
    ngettext, apart = catalog.ngettext, abs(moment - now)
    if moment <= now:
        if apart >= DAY:
            return ngettext("%(count)s day ago", "%(count)s days ago", int(apart // DAY))
        if apart >= HOUR:
            return ngettext("%(count)s hour ago", "%(count)s hours ago", int(apart // HOUR))
        if apart >= _MINUTE:
            return ngettext("%(count)s minute ago", "%(count)s minutes ago", int(apart // _MINUTE))
        return catalog.gettext("just now")
    # (What lasts a week, and began a moment ago, ends in a week.)
    apart += _MINUTE
    if apart >= DAY:
        return ngettext("in %(count)s day", "in %(count)s days", int(apart // DAY))
    if apart >= HOUR:
        return ngettext("in %(count)s hour", "in %(count)s hours", int(apart // HOUR))
    return ngettext("in %(count)s minute", "in %(count)s minutes", max(1, int(apart // _MINUTE)))


def last_used(noted: float, now: float, apart: float, catalog: Catalog) -> str:
    """When something was last used that is *noted* every *apart* seconds at most.

    It may have been used until *apart* seconds later, so nothing finer is said.
    """
    if now - noted > apart:
        return away(noted, now, catalog)
    hours = max(1, round(apart / HOUR))
    if hours <= 48:
        return catalog.ngettext("within the last hour", "within the last %(count)s hours", hours)
    days = round(apart / DAY)
    return catalog.ngettext("within the last day", "within the last %(count)s days", days)


def machine(moment: float) -> str:
    """For the attribute ``datetime`` of ``<time>``; ``""`` for what no calendar has a day for."""
    day = _day(moment)
    return day.isoformat(timespec="seconds") if day else ""


def moment_words(moment: float) -> str:
    """A time that every language reads, in UTC; a script shows it in the reader's own zone.

    What no calendar has a day for is its seconds since 1970.
    """
    day = _day(moment)
    return f"{day:%Y-%m-%d %H:%M} UTC" if day else f"{moment:.0f}"


def _day(moment: float) -> datetime | None:
    # (A record may say what it likes: milliseconds where seconds were meant are the year 58000.)
    try:
        return datetime.fromtimestamp(moment, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return None
