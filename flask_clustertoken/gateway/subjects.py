"""Subjects: whom a subject identifier means (RFC 9493), by a mapping that the app names."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..errors import ConfigurationError
from ..tokens import validation
from .options import PREFIX

#: The formats that are read, and the members that each must have.
FORMATS: dict[str, tuple[str, ...]] = {
    "iss_sub": ("iss", "sub"),
    "email": ("email",),
    "opaque": ("id",),
}

#: Given a subject identifier, the app's subject: one, several, or ``None`` for nobody.
SubjectOf = Callable[[Mapping[str, str]], "str | Iterable[str] | None"]


class WrongSubject(ValueError):
    """What was sent is no subject identifier, or of a format that is not mapped."""


def checked(found: Any) -> dict[str, str]:
    """*found*, if it is a subject identifier. Raises :class:`WrongSubject`."""
    kind = found.get("format") if isinstance(found, dict) else None
    members = FORMATS.get(kind) if isinstance(kind, str) else None
    if members is None:
        raise WrongSubject(f"sub_id has a format: {', '.join(FORMATS)} are known.")
    # (RFC 9493, 3: a member that the format does not know is an error.)
    if set(found) != {"format", *members}:
        raise WrongSubject(f"sub_id of the format {kind} has {', '.join(members)}, and no more.")
    for one in members:
        try:
            validation.text(found[one], one)
        except (TypeError, ValueError) as error:
            raise WrongSubject(f"sub_id: {error}.") from None
    return dict(found)


def opaque_only(sub_id: Mapping[str, str]) -> str:
    """Where the app names no mapping: ``opaque`` is the app's own subject, and no more is known."""
    if sub_id["format"] != "opaque":
        raise WrongSubject(
            f"sub_id of the format {sub_id['format']} is not mapped to a subject here: "
            f"{PREFIX}SUBJECTS names the function that does."
        )
    return sub_id["id"]


def named(path: str) -> SubjectOf:
    """The function ``package.module:function``. Raises :class:`ConfigurationError`."""
    module, _, name = path.partition(":")
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigurationError(
            PREFIX + "SUBJECTS", f"{path!r} cannot be found: {error}.", "Correct it."
        ) from error
    if not callable(found):
        raise ConfigurationError(PREFIX + "SUBJECTS", f"{path!r} is no function.", "Correct it.")
    function: SubjectOf = found
    return function


def subjects_of(sub_id: Mapping[str, str], mapping: SubjectOf) -> list[str]:
    """The subjects that *mapping* names; none: nobody is known.

    Raises :class:`WrongSubject`, and whatever *mapping* raises.
    """
    found = mapping(sub_id)
    if found is None:
        return []
    several = [found] if isinstance(found, str) else list(found)
    return [validation.subject(one) for one in dict.fromkeys(several)]
