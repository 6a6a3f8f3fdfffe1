"""Audit: who did what to whom, one line for each act. No token and no key is ever in it.

Hears the core's events and knows no HTTP: whoever serves a request, or runs a command, says who
acts (:func:`done_by`). Others use :class:`AuditTrail`, and read what the store keeps of it with
:class:`KeptAudit`.
"""

from __future__ import annotations

from .actor import Actor as Actor
from .actor import address_of as address_of
from .actor import at_the_shell as at_the_shell
from .actor import done_by as done_by
from .actor import network_of as network_of
from .keeping import AuditPage as AuditPage
from .keeping import KeptAudit as KeptAudit
from .line import AuditLine as AuditLine
from .trail import AuditTrail as AuditTrail
from .trail import audit_log as audit_log
