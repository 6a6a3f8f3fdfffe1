"""Trail: what was revoked, and who did what to whom, as it comes."""

from __future__ import annotations

from flask import Response, abort, request

from ..audit import AuditLine, KeptAudit
from . import gate

#: Seconds after which a page that follows asks again.
FOLLOW = 5

#: Beyond every number of the feed, which are microseconds since 1970; stores take it as a number.
NO_NUMBER = 10**18


def show() -> Response:
    """The audit trail, as far as the store keeps it."""
    authority = gate.authority()
    subject, event = request.args.get("subject", ""), request.args.get("event", "")

    def wanted(line: AuditLine) -> bool:
        if event and line.event != event:
            return False
        return not subject or subject == line.actor or subject in line.subjects

    kept = KeptAudit(authority.store, authority.clock)
    try:
        page = kept.page(wanted, request.args.get("before", ""))
    except ValueError as error:
        abort(400, f"{error}.")
    return gate.show(
        "audit.html",
        found=page,
        subject=subject,
        event=event,
        kept=authority.settings.audit == "store",
        follow=FOLLOW if "follow" in request.args and "before" not in request.args else 0,
    )


def revocations() -> Response:
    """What the feed holds, which every node follows."""
    authority = gate.authority()
    try:
        before = max(0, int(request.args.get("before", "0")))
    except ValueError:
        before = NO_NUMBER
    if before >= NO_NUMBER:
        abort(400, "This is no number of a revocation.")
    return gate.show(
        "revocations.html",
        found=authority.history.newest(before),
        follow=FOLLOW if "follow" in request.args and not before else 0,
    )
