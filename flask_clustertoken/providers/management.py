"""Management: a stream is found at the transmitter or made, as it shall be (SSF 1.0, 8.1)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from ..oidc import ProviderUnavailable, texts_in
from .events import ENDS
from .labels import digest
from .records import StreamRecord
from .transmitter import Transmitter
from .wanted import WantedStream

logger = logging.getLogger(__name__)

#: How a delivery is called, and how it was in RISC's and SSE's drafts.
METHODS = {
    "push": ("urn:ietf:rfc:8935", "https://schemas.openid.net/secevent/risc/delivery-method/push"),
    "poll": ("urn:ietf:rfc:8936", "https://schemas.openid.net/secevent/risc/delivery-method/poll"),
}


def ensure(
    transmitter: Transmitter,
    wanted: WantedStream,
    record: StreamRecord | None,
    *,
    newly: bool = True,
    making: Callable[[], None] = lambda: None,
) -> StreamRecord:
    """The stream that is wanted, made or changed where need be, and enabled.

    *newly*: it was not looked at before, so that the log says what it leaves out. *making* is
    called before another one than *record* is made.
    """
    known = wanted.stream_id or (record.stream_id if record is not None else "")
    there = transmitter.streams()
    found = next((one for one in there if one["stream_id"] == known), None) if known else None
    found = found or next((one for one in there if _fits(one, wanted)), None)
    with_what = digest(wanted.authorization) if wanted.authorization else ""
    if found is None:
        making()
        found, newly = transmitter.create(_body(wanted)), True
        logger.info("made the stream %s at %s", wanted.name, transmitter.issuer)
    elif not _is_right(found, wanted) or (record and record.pushed_with != with_what):
        found, newly = transmitter.update(str(found["stream_id"]), _body(wanted)), True
        logger.info("changed the stream %s at %s", wanted.name, transmitter.issuer)
    if newly:
        _name_missing(found, wanted)
        _name_subjects(found, wanted, transmitter)
    made = _record(found, with_what)
    if record is not None and record.stream_id == made.stream_id:
        made = replace(made, nonce=record.nonce)
    _enable(transmitter, made.stream_id)
    return made


def _delivery(stream: Mapping[str, Any]) -> Mapping[str, Any]:
    found = stream.get("delivery")
    return found if isinstance(found, Mapping) else {}


def _url(stream: Mapping[str, Any]) -> str:
    delivery = _delivery(stream)
    found = delivery.get("endpoint_url", delivery.get("url"))
    return found if isinstance(found, str) else ""


def _fits(stream: Mapping[str, Any], wanted: WantedStream) -> bool:
    delivery = _delivery(stream)
    method = delivery.get("method", delivery.get("delivery_method"))
    return method in METHODS[wanted.by] and (wanted.by == "poll" or _url(stream) == wanted.push_url)


def _is_right(stream: Mapping[str, Any], wanted: WantedStream) -> bool:
    needed = set(wanted.events)
    if isinstance(supported := stream.get("events_supported"), list):
        # (Some forget what they cannot tell of: asking for it once more changes nothing.)
        needed &= set(texts_in(supported))
    return _fits(stream, wanted) and needed <= set(texts_in(stream.get("events_requested")))


def _body(wanted: WantedStream) -> dict[str, Any]:
    delivery: dict[str, Any] = {"method": METHODS[wanted.by][0]}
    if wanted.by == "push":
        delivery["endpoint_url"] = wanted.push_url
        if wanted.authorization:
            delivery["authorization_header"] = wanted.authorization
    return {"delivery": delivery, "events_requested": sorted(wanted.events)}


def _record(stream: Mapping[str, Any], with_what: str) -> StreamRecord:
    audience = stream.get("aud")
    interval = stream.get("min_verification_interval")
    numbered = isinstance(interval, int | float) and not isinstance(interval, bool)
    return StreamRecord(
        str(stream["stream_id"]),
        (audience,) if isinstance(audience, str) else tuple(texts_in(audience)),
        _url(stream),
        interval=float(interval) if numbered and interval is not None else 0.0,
        pushed_with=with_what,
    )


def _name_missing(stream: Mapping[str, Any], wanted: WantedStream) -> None:
    """What ends logins and will not be told: whoever reads the log should know."""
    listed = stream.get("events_delivered")
    if not isinstance(listed, list):
        return
    missing = sorted((set(wanted.events) & ENDS) - set(texts_in(listed)))
    if missing:
        names = ", ".join(one.rpartition("/")[2] for one in missing)
        logger.warning("the stream %s will not tell of: %s", wanted.name, names)


def _name_subjects(
    stream: Mapping[str, Any], wanted: WantedStream, transmitter: Transmitter
) -> None:
    """A stream that tells of nobody answers every verification: it would look like peace."""
    if stream.get("default_subjects", transmitter.default_subjects) == "NONE":
        logger.warning(
            "the stream %s tells only of people that %s was told to add to it; let it tell of all "
            "of them (Keycloak: ssf.defaultSubjects=ALL at the client) or of whoever logs in "
            "(ssf.autoNotifyOnLogin=true)", wanted.name, transmitter.issuer
        )  # fmt: skip


def _enable(transmitter: Transmitter, stream_id: str) -> None:
    """A stream that was paused (Keycloak does that to one that nobody polled) goes on."""
    try:
        status = transmitter.status(stream_id)
    except ProviderUnavailable as error:
        logger.info("the status of the stream is not known: %s", error)
        return
    if status in ("paused", "disabled"):
        logger.warning("the stream at %s is %s; it is enabled again", transmitter.issuer, status)
        transmitter.set_status(stream_id, "enabled")
