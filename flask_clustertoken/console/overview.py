"""Overview: how the cluster is. The same findings as ``doctor``, and the nodes by their hosts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from flask import Response, current_app

from ..authority import TokenAuthority
from ..cluster import ListedNode, drift
from ..errors import KeyMissing, StoreError
from ..operations import Finding, diagnose, worst
from . import gate

#: The order in which findings are shown: what has to be done first.
_ORDER = {"problem": 0, "warning": 1, "ok": 2}


@dataclass(frozen=True, slots=True)
class HostNodes:
    """A host and its nodes."""

    name: str
    nodes: Sequence[ListedNode]

    @property
    def live(self) -> int:
        return sum(not one.silent for one in self.nodes)


def show() -> Response:
    authority = gate.authority()
    trouble = ""
    try:
        listed = authority.nodes()
        head = authority.runtime.used().head()
    except StoreError as error:
        listed, head, trouble = [], 0, str(error)
    found: list[Finding] = list(
        diagnose(
            authority.settings,
            instance_path=current_app.instance_path,
            clock=authority.clock,
            production=not (current_app.debug or current_app.testing),
            opened=authority.runtime.used(),
            read=_read(authority),
        )
    )
    hosts = [
        HostNodes(name, list(nodes)) for name, nodes in groupby(listed, lambda one: one.node.host)
    ]
    return gate.show(
        "overview.html",
        findings=sorted(found, key=lambda one: _ORDER[one.level]),
        level=worst(found),
        hosts=hosts,
        head=head,
        drift=drift([one.node for one in listed if not one.silent]),
        trouble=trouble,
        readiness=authority.readiness(),
        realm=authority.settings.realm,
        deployment=authority.settings.deployment,
        live=sum(host.live for host in hosts),
        signing=_signing(authority),
        locks=len(authority.locking.locks()) if not trouble else 0,
        recorded=authority.records_logins,
    )


def _read(authority: TokenAuthority) -> int:
    """Up to where this node has read and understood the feed."""
    view = authority.view
    return 0 if view is None or view.broken else view.applied


def _signing(authority: TokenAuthority) -> str:
    """The key that this node signs with; ``""``: it has not got it, as the findings say."""
    try:
        return authority.keys.signing()[0]
    except KeyMissing:
        return ""
