"""Catalogs: each text of the pages has its translation, and what is shipped is what was written."""

from __future__ import annotations

import gettext
import re
from pathlib import Path

import pytest

from scripts import catalogs


@pytest.mark.parametrize("path", catalogs.paths(), ids=lambda path: path.parts[-3])
def test_every_text_is_translated_and_compiled(path: Path) -> None:
    """``python scripts/catalogs.py`` would change nothing, and leaves nothing out."""
    catalog = catalogs.updated(path, catalogs.texts())

    assert [one.id for one in catalog if catalogs.is_missing(one)] == []
    assert path.read_bytes() == catalogs.as_po(catalog), "run `python scripts/catalogs.py`"
    assert path.with_suffix(".mo").read_bytes() == catalogs.as_mo(catalog)
    with path.with_suffix(".mo").open("rb") as file:
        compiled = gettext.GNUTranslations(file)
    for one in catalog:
        if one.id and isinstance(one.id, str):
            assert compiled.gettext(one.id) == one.string


@pytest.mark.parametrize("path", catalogs.paths(), ids=lambda path: path.parts[-3])
def test_translations_name_the_same_values(path: Path) -> None:
    """What a text has put in, its translation has too: else a page would be an error."""
    for one in catalogs.read(path):
        texts = one.id if isinstance(one.id, (tuple, list)) else [one.id]
        said = one.string if isinstance(one.string, (tuple, list)) else [one.string]
        named = {name for text in texts for name in re.findall(r"%\((\w+)\)", text)}
        for text in said if one.id else []:
            assert set(re.findall(r"%\((\w+)\)", text)) <= named, text
            assert not re.search(r"%(?![(])", text), text


def test_a_language_is_there_at_all() -> None:
    """German is; a test of no catalogs would pass for ever."""
    assert {path.parts[-3] for path in catalogs.paths()} >= {"de"}
