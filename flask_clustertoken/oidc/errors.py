"""What goes wrong with an identity provider, drawn::

    ClusterTokenError
    └── ProviderError
        ├── ProviderUnavailable    unreachable, slower than its deadline, or answering garbage
        └── NotGenuine             a text that should be the provider's is not, or is not for us
            └── NotSigned          by no key that the provider lists

No message ever holds a token or a secret.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import ClusterTokenError


class ProviderError(ClusterTokenError):
    """The root of what is raised on purpose about an identity provider."""


class ProviderUnavailable(ProviderError):
    """It did not answer in time, or not as such a server answers. No reason to end a login."""


class NotGenuine(ProviderError):
    """A text that claims to be the provider's is not genuine, not for us, or over."""


class NotSigned(NotGenuine):
    """It has the form of a signed text, and none of the provider's keys has signed it."""


@dataclass(frozen=True, slots=True)
class Peer:
    """Whom we speak with: what messages call it, and the error that says it is unavailable."""

    name: str
    unavailable: type[ProviderUnavailable] = ProviderUnavailable

    def trouble(self, problem: str) -> ProviderUnavailable:
        """The error to raise; it says whose *problem* it is."""
        return self.unavailable(f"{self.name}: {problem}")

    def failed(self, what: str, error: Exception) -> ProviderUnavailable:
        """The error to raise where *what* failed; it names the kind of trouble, never a body."""
        return self.trouble(f"{what} failed ({type(error).__name__})")
