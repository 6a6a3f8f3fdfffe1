"""Texts: what the pages say, in the language of whoever reads them.

By gettext's catalogs, domain ``clustertoken``: ours, and before them the app's own, so that an
app changes a sentence or adds a language with a file. They are written in English, which needs no
catalog. With Flask-Babel in the app its language counts, else the browser's.
"""

from __future__ import annotations

import gettext
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

from flask import Flask, current_app, request

DOMAIN = "clustertoken"

#: The language that the texts are written in.
SOURCE = "en"

#: Our own catalogs.
FOLDER = Path(__file__).with_name("translations")

#: Languages that are written from right to left (an app may bring their catalogs).
RIGHT_TO_LEFT = frozenset({"ar", "dv", "fa", "he", "ku", "ps", "sd", "ug", "ur", "yi"})

#: A language as an argument: fixed, or asked for each request.
Language = str | Callable[[], str | None] | None


def N_(text: str) -> str:
    """*text*, marked to be translated where it is shown."""
    return text


class Catalog:
    """The texts of one *language*; in a template they are ``_`` and ``ngettext``."""

    def __init__(self, language: str, translations: gettext.NullTranslations) -> None:
        self.language = language
        self.direction = "rtl" if _main(language) in RIGHT_TO_LEFT else "ltr"
        self._translations = translations

    def gettext(self, text: str, **values: object) -> str:
        """*text* in this language, with *values* put in for ``%(name)s``."""
        found = self._translations.gettext(text)
        return found % values if values else found

    def ngettext(self, one: str, several: str, count: int, **values: object) -> str:
        """The form that goes with *count*, which it may name as ``%(count)s``."""
        found = self._translations.ngettext(one, several, count)
        return found % {"count": count, **values}


class Texts:
    """The catalogs of one app; *language* as in :data:`Language`."""

    def __init__(self, folders: Sequence[Path], language: Language = None) -> None:
        self._folders = [*folders, FOLDER]
        self._language = language
        self._catalog = lru_cache(64)(self._read)

    @classmethod
    def of(cls, app: Flask, language: Language = None) -> Texts:
        """The app's own catalogs first: those in the folders that Flask-Babel goes by."""
        named = app.config.get("BABEL_TRANSLATION_DIRECTORIES", "translations").split(";")
        return cls([Path(app.root_path, one) for one in named if one], language)

    def catalog(self) -> Catalog:
        """The one for the current request."""
        return self._catalog(self._wanted() or SOURCE)

    def languages(self) -> list[str]:
        """Those that there are, the one of the texts themselves first."""
        found = {path.parts[-3] for one in self._folders for path in one.glob(f"*/*/{DOMAIN}.mo")}
        return [SOURCE, *sorted(found - {SOURCE})]

    def _wanted(self) -> str | None:
        if self._language is not None:
            return self._language() if callable(self._language) else self._language
        if "babel" in current_app.extensions:
            from flask_babel import get_locale

            return str(get_locale() or "")
        # (Not best_match(): of "en-GB, de;q=0.5" it makes German, where English is offered.)
        offered = {one.replace("_", "-").lower(): one for one in self.languages()}
        for asked, quality in request.accept_languages:
            for one in (asked.lower(), _main(asked.lower())) if quality > 0 else ():
                if one in offered:
                    return offered[one]
        return SOURCE

    def _read(self, language: str) -> Catalog:
        spelled = language.replace("-", "_")
        tried = dict.fromkeys([spelled, _main(language)])
        if not all(one.replace("_", "").isalnum() for one in tried):
            tried = {}
        for name in tried:
            found = [
                one / name / "LC_MESSAGES" / f"{DOMAIN}.mo"
                for one in self._folders
                if (one / name / "LC_MESSAGES" / f"{DOMAIN}.mo").is_file()
            ]
            if found or name == SOURCE:
                return Catalog(name.replace("_", "-"), _chained(found))
        return Catalog(SOURCE, gettext.NullTranslations())


def _main(language: str) -> str:
    """``de`` of ``de-AT``."""
    return language.replace("-", "_").partition("_")[0]


def _chained(paths: Sequence[Path]) -> gettext.NullTranslations:
    """What the first one of *paths* lacks is looked for in the next."""
    chain: gettext.NullTranslations = gettext.NullTranslations()
    for path in reversed(paths):
        with path.open("rb") as file:
            catalog = gettext.GNUTranslations(file)
        catalog.add_fallback(chain)
        chain = catalog
    return chain
