"""How keys are written: the same in a setting as in a file, so that both ways give one key.

A key by another way is another key as soon as one byte differs: a line's end that a mounted
secret brought along is enough, and then no node accepts what the other one signed.
"""

from __future__ import annotations

from typing import Any

from ..errors import ConfigurationError

#: Characters of a key: with fewer it could be guessed, with more it is another file.
LENGTH_LEAST = 8
LENGTH_LIMIT = 1024


def is_writable(key: str) -> bool:
    """Whether *key* could be a line of a key file; only what can be seen is sure to be meant."""
    return len(key) <= LENGTH_LIMIT and key.expandtabs().isprintable()


def one_or_many(setting: str, value: Any) -> Any:
    """What *setting* was given: bytes as text, and no text that may be one key or several.

    Raises :class:`ConfigurationError`, which never shows the value.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            # (Not decoded with replacements: that would throw half of the bits away.)
            raise ConfigurationError(
                setting,
                "it is bytes that are no text, which no key file could hold.",
                "Write them as text, for example with .hex().",
            ) from None
    if isinstance(value, str) and _is_row(value):
        raise ConfigurationError(
            setting,
            "it reads like several keys with commas between them, and would be taken for one.",
            'Write a list: ["one", "two"], in an environment variable too; a key with a comma in '
            "it is a list of one.",
        )
    return value


def _is_row(text: str) -> bool:
    """Whether each piece between commas could be a key. (A sentence with a comma is one key.)"""
    pieces = [one.strip() for one in text.split(",")]
    return len(pieces) > 1 and all(
        len(one) >= LENGTH_LEAST and len(one.split()) == 1 for one in pieces
    )


def checked(setting: str, found: tuple[str, ...]) -> tuple[str, ...]:
    """The keys that *setting* lists, read as the lines of a key file are.

    Raises :class:`ConfigurationError`, which never shows a key.
    """
    found = tuple(one.strip() for one in found)
    for one in found:
        if not is_writable(one):
            raise ConfigurationError(
                setting,
                "a key holds a line's end or another sign that cannot be seen, or is longer than "
                f"{LENGTH_LIMIT} characters: no key file could hold it.",
                'Write several keys as a list: ["one", "two"].',
            )
        if len(one) < LENGTH_LEAST:
            raise ConfigurationError(
                setting,
                f"a key is shorter than {LENGTH_LEAST} characters and could be guessed.",
                "Make one with: python -c 'import secrets; print(secrets.token_hex(32))'",
            )
    if len(set(found)) != len(found):
        raise ConfigurationError(setting, "the same key stands there twice.", "Remove one of them.")
    return found
