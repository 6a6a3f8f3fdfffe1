"""Wanted: how a stream shall be, and whether that can be."""

from __future__ import annotations

import logging
from collections.abc import Collection
from dataclasses import dataclass, field

from ..errors import ConfigurationError
from ..oidc import in_clear

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class WantedStream:
    """A stream that an app asks for. Durations are seconds."""

    name: str
    by: str
    events: Collection[str]
    push_url: str = ""
    authorization: str = field(default="", repr=False)
    stream_id: str = ""
    poll_url: str = ""
    poll_every: float = 5.0
    verify_every: float = 300.0
    #: 0.0: by how often it is verified.
    silent_after: float = 0.0

    def check(self, *, managed: bool, audience: Collection[str]) -> None:
        """Raises :class:`~flask_clustertoken.errors.ConfigurationError`. *managed*: there are
        credentials."""
        if self.by not in ("poll", "push"):
            raise ConfigurationError(
                "delivery", f"{self.by!r} is unknown.", "Use 'poll' or 'push'."
            )
        if not managed and not audience:
            raise ConfigurationError(
                "audience",
                "it is missing, and without credentials nobody can ask whom the tokens are for.",
                "Write what the stream's configuration calls aud, or give credentials.",
            )
        if self.by == "poll" and not managed:
            raise ConfigurationError(
                "credentials", "nothing can be polled without.", "Give an access token."
            )
        if self.by == "push" and managed and not self.push_url:
            raise ConfigurationError(
                "push_url",
                "it is missing, and the stream is to be told where to send.",
                f"Write https://your.app/{self.name}/events.",
            )
        for argument, value in (("push_url", self.push_url), ("poll_url", self.poll_url)):
            if value and not value.startswith(("https://", "http://")):
                raise ConfigurationError(
                    argument, f"{value!r} is no URL.", "Write it whole, with https://."
                )
        if self.push_url and in_clear(self.push_url):
            logger.warning("events are pushed to %s without encryption", self.push_url)
        header = self.authorization
        if header != header.strip() or not header.isprintable() or not header.isascii():
            raise ConfigurationError(
                "push_authorization", "it is no header.", "Write 'Bearer <random text>'."
            )
