"""Commands: all of them, in the order in which ``--help`` shows them."""

from __future__ import annotations

import click

from . import audit as audit
from . import cluster as cluster
from . import files as files
from . import keys as keys
from . import locks as locks
from . import schema as schema
from . import tasks as tasks
from . import tokens as tokens

COMMANDS: tuple[click.Command, ...] = (
    tokens.list_command,
    tokens.show_command,
    tokens.revoke_command,
    tokens.revoke_label_command,
    tokens.revoke_subject_command,
    tokens.revoke_all_command,
    tokens.not_before_command,
    locks.lock_command,
    locks.unlock_command,
    locks.locks_command,
    tokens.issue_api_command,
    files.files_group,
    tasks.once_command,
    cluster.nodes_command,
    keys.keys_group,
    audit.audit_command,
    cluster.doctor_command,
    cluster.purge_command,
    cluster.restored_command,
    cluster.migrate_command,
    schema.schema_command,
)


def add_all(group: click.Group) -> None:
    for command in COMMANDS:
        group.add_command(command)
