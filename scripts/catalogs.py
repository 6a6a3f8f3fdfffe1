"""Brings the catalogs of the pages up to date, and compiles them.

    python scripts/catalogs.py            after a text was changed: what is new stands in each .po
                                          without a translation; write it there, and run it again
    python scripts/catalogs.py --check    says what is missing or out of date; changes nothing

Needs Babel (in the extra ``test``). Texts are marked by ``_``, ``gettext``, ``ngettext`` and
``N_``, in Python and in templates. Entries are sorted and name no lines, so that two branches that
add some can be merged: take both, and run it.
"""

from __future__ import annotations

import io
import sys
from datetime import datetime, timezone
from pathlib import Path

from babel.messages.catalog import Catalog, Message
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

ROOM = Path(__file__).resolve().parent.parent / "flask_clustertoken" / "console"
FOLDER = ROOM / "translations"
DOMAIN = "clustertoken"

KEYWORDS = {"_": None, "N_": None, "gettext": None, "ngettext": (1, 2)}
METHODS = [("**.py", "python"), ("**/templates/**.html", "jinja2.ext:babel_extract")]
HEADER = "# The texts of the pages. `python scripts/catalogs.py` takes them from the code."


def texts() -> Catalog:
    """Every text that is marked."""
    found = Catalog(project="Flask-ClusterToken", charset="utf-8")
    for _, _, message, _, _ in extract_from_dir(str(ROOM), METHODS, keywords=KEYWORDS):
        found.add(message)
    return found


def paths() -> list[Path]:
    return sorted(FOLDER.glob(f"*/LC_MESSAGES/{DOMAIN}.po"))


def read(path: Path) -> Catalog:
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3], domain=DOMAIN)


def updated(path: Path, found: Catalog) -> Catalog:
    """The catalog at *path* with the texts of *found*, and no others."""
    before = read(path)
    after = Catalog(locale=path.parts[-3], domain=DOMAIN, charset="utf-8", header_comment=HEADER)
    for message in found:
        if message.id:
            old = before.get(message.id)
            flags = {"python-format"} & set(message.flags)
            after.add(message.id, old.string if old is not None else None, flags=flags)
    return after


def as_po(catalog: Catalog) -> bytes:
    written = io.BytesIO()
    write_po(written, catalog, no_location=True, sort_output=True, width=100, omit_header=True)
    head = [
        HEADER,
        'msgid ""',
        'msgstr ""',
        r'"Content-Type: text/plain; charset=utf-8\n"',
        rf'"Language: {catalog.locale}\n"',
        rf'"Plural-Forms: {catalog.plural_forms}\n"',
        "\n",
    ]
    return "\n".join(head).encode() + written.getvalue()


def as_mo(catalog: Catalog) -> bytes:
    written = io.BytesIO()
    compiled = read_po(io.BytesIO(as_po(catalog)), locale=catalog.locale)
    # (Or the file would be another one each minute.)
    compiled.creation_date = compiled.revision_date = datetime(2000, 1, 1, tzinfo=timezone.utc)
    write_mo(written, compiled)
    return written.getvalue()


def is_missing(message: Message) -> bool:
    strings = message.string if isinstance(message.string, (tuple, list)) else [message.string]
    return bool(message.id) and not all(strings)


def main(check: bool) -> int:
    found, problems = texts(), []
    for path in paths():
        catalog = updated(path, found)
        made = {path: as_po(catalog), path.with_suffix(".mo"): as_mo(catalog)}
        for file, content in made.items():
            if not file.exists() or file.read_bytes() != content:
                if check:
                    problems.append(f"{file} is out of date")
                else:
                    file.write_bytes(content)
        problems += [f"{path}: {one.id!r} is missing" for one in catalog if is_missing(one)]
    print("\n".join(problems) or "every text has its translation")
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv[1:]))
