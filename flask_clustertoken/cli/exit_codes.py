"""Failures: what a command says and with which code it ends when it could not do its part.

====  ====================================================================================
code  meaning
====  ====================================================================================
0     done
1     something is not as it should be: not found, refused, not confirmed in time, a finding
2     the command was called wrongly
3     the cluster store is not there, unreachable, damaged, sealed or not filled yet
4     a setting is wrong or missing, or a key is not here
====  ====================================================================================
"""

from __future__ import annotations

import click

from ..errors import ClusterTokenError, ConfigurationError, KeyMissing, StoreError
from ..settings import PREFIX

NOT_AS_IT_SHOULD_BE = 1
STORE = 3
CONFIGURATION = 4


class Failure(click.ClickException):
    """One clear sentence on stderr, and the code."""

    def __init__(self, message: str, exit_code: int = NOT_AS_IT_SHOULD_BE) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]


def failure_of(error: ClusterTokenError) -> Failure:
    """What *error* is to a command line."""
    if isinstance(error, ConfigurationError):
        # A store that is opened late names its settings without the prefix.
        error = error.with_prefix(PREFIX)
    if isinstance(error, ConfigurationError | KeyMissing):
        return Failure(_sentence(str(error)), CONFIGURATION)
    if isinstance(error, StoreError):
        cause = error.__cause__
        why = f" ({type(cause).__name__})" if cause is not None and not str(cause) else ""
        return Failure(_sentence(f"the cluster store: {error}{why}"), STORE)
    return Failure(_sentence(str(error)))


def _sentence(text: str) -> str:
    return text if text.endswith((".", "!", "?", ")")) else f"{text}."
