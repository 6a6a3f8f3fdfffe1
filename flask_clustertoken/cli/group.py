"""The door of a Flask app: ``flask tokens …``, with the app's own settings."""

from __future__ import annotations

import click
from flask import current_app
from flask.cli import with_appcontext

from ..errors import ConfigurationError
from ..extension import current_state
from .commands import add_all
from .context import Door
from .exit_codes import failure_of
from .output import InOrder


@click.group("tokens", cls=InOrder)
@click.pass_context
@with_appcontext
def tokens_group(ctx: click.Context) -> None:
    """Logins and API tokens: who has one, end it everywhere, and what the cluster does.

    Exit codes: 0 done, 1 something is not as it should be, 2 called wrongly, 3 the store is
    unreachable, 4 a setting is wrong.
    """
    state = current_state()
    try:
        state.given.check(current_app)
    except ConfigurationError as error:
        raise failure_of(error) from error
    ctx.obj = Door(
        settings=state.settings,
        instance_path=current_app.instance_path,
        clock=state.authority.clock,
        production=not (current_app.debug or current_app.testing),
    )


add_all(tokens_group)
