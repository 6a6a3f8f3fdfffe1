"""Pages: what the pages of this room have in common. A frame, a style, headers, a language.

A page is looked for as ``clustertoken/NAME``, which is the app's to have, and else is our own,
``clustertoken/default/NAME``: so an app's one extends ours and changes a block. The frame around
it is the app's ``clustertoken/base.html``, whatever *base* names, or ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flask import (
    Blueprint,
    Flask,
    Response,
    current_app,
    make_response,
    render_template,
    request,
    url_for,
)
from flask.typing import ResponseReturnValue

from ..clock import Clock
from ..errors import ConfigurationError
from ..extension import current_state, state_of
from .texts import Catalog, Language, Texts
from .words import away, device_words, last_used, machine, moment_words

if TYPE_CHECKING:
    from jinja2 import Template

#: Nothing but our own style sheet and script; forms go to this site, and nobody frames a page.
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

_STATIC = Path(__file__).with_name("static")


@dataclass(frozen=True, slots=True)
class Tab:
    """A link of the pages' own navigation: *text* is English, and translated when it is shown."""

    endpoint: str
    text: str
    #: The view's other endpoints: behind them this is the current page as well.
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Frame:
    """What a page's template finds as ``ct``."""

    base: Template
    language: str
    direction: str
    style: str
    script: str
    #: The address of the site's own first page.
    home: str
    tabs: Sequence[tuple[str, str, bool]]
    #: What the last act has done, in words; ``bad``: it was not done.
    note: str
    bad: bool


class Pages:
    """A blueprint *name* whose views show pages. Register it with :meth:`add_to`.

    *base* names a template of the app's to be the frame: it
    has the blocks ``title``, ``head`` and ``content``. *language* fixes the language, or is asked
    for it. *policy* is the Content-Security-Policy; ``None`` leaves it to the app.
    """

    def __init__(
        self,
        name: str,
        *,
        base: str = "",
        language: Language = None,
        policy: str | None = POLICY,
    ) -> None:
        self.name = name
        self.tabs: list[Tab] = []
        self._views: list[tuple[str, str, Callable[..., ResponseReturnValue], str, str]] = []
        self._base = base
        self._language = language
        self._policy = policy
        self.blueprint = Blueprint(
            name,
            __package__,
            template_folder="templates",
            static_folder="static",
            static_url_path="/static",
        )
        self.blueprint.after_request(self._with_headers)
        self._key = f"clustertoken_texts_{name}"

    def add_view(
        self,
        rule: str,
        name: str,
        view: Callable[..., ResponseReturnValue],
        method: str = "GET",
        below: str = "",
    ) -> None:
        """Add *view* as ``.name``. *below* is a path of its own, beside the blueprint's."""
        self._views.append((rule, name, view, method, below))

    def said(self, notes: Mapping[str, str]) -> str:
        """What ``?said=`` asks to be told, of *notes* (in English), in the reader's words."""
        note = notes.get(request.args.get("said", ""), "")
        return self.catalog.gettext(note) if note else ""

    def add_to(self, app: Flask, url_prefix: str) -> None:
        """Register the blueprint. :class:`ConfigurationError` for what is no path, or twice."""
        if not url_prefix.startswith("/") or url_prefix.endswith("/"):
            raise ConfigurationError(
                f"url_prefix={url_prefix!r}", "it is no path.", "Write one such as '/account'."
            )
        state_of(app)
        if self.name in app.blueprints:
            raise ConfigurationError("init_app", f"this app has the pages {self.name!r} already.")
        app.extensions[self._key] = Texts.of(app, self._language)
        app.register_blueprint(self.blueprint, url_prefix=url_prefix)
        for rule, name, view, method, below in self._views:
            path = f"{below or url_prefix}{rule}"
            app.add_url_rule(path, f"{self.name}.{name}", view, methods=[method])

    @property
    def catalog(self) -> Catalog:
        """The texts for the current request."""
        texts: Texts = current_app.extensions[self._key]
        return texts.catalog()

    def show(
        self,
        page: str,
        status: int = 200,
        *,
        note: str = "",
        bad: bool = False,
        **context: Any,
    ) -> Response:
        """The *page* (``devices/list.html``), with what its template is to know."""
        catalog = self.catalog
        names: list[str | Template] = [f"clustertoken/{page}", f"clustertoken/default/{page}"]
        told: dict[str, Any] = {
            "ct": self._frame(catalog, note, bad),
            "_": catalog.gettext,
            "gettext": catalog.gettext,
            "ngettext": catalog.ngettext,
            **_filters(catalog, current_state().authority.clock),
        }
        return make_response(render_template(names, **told, **context), status)

    def _frame(self, catalog: Catalog, note: str, bad: bool) -> Frame:
        ours: list[str | Template] = ["clustertoken/base.html", "clustertoken/default/base.html"]
        tabs = [
            (
                catalog.gettext(tab.text),
                url_for(f"{self.name}.{tab.endpoint}"),
                request.endpoint in {f"{self.name}.{one}" for one in (tab.endpoint, *tab.also)},
            )
            for tab in self.tabs
        ]
        return Frame(
            base=current_app.jinja_env.get_or_select_template(self._base or ours),
            language=catalog.language,
            direction=catalog.direction,
            style=self._file("clustertoken.css"),
            script=self._file("clustertoken.js"),
            home=f"{request.script_root}/",
            tabs=tabs,
            note=note,
            bad=bad,
        )

    def _file(self, name: str) -> str:
        return url_for(f"{self.name}.static", filename=name, v=_VERSIONS[name])

    def _with_headers(self, response: Response) -> Response:
        headers = response.headers
        headers["X-Content-Type-Options"] = "nosniff"
        if request.endpoint == f"{self.name}.static":
            return response
        if self._policy is not None:
            headers["Content-Security-Policy"] = self._policy
        # Not "no-referrer": with that browsers send "Origin: null" even to the same origin, and
        # whoever has to log in again would not come back to the page.
        headers["Referrer-Policy"] = "same-origin"
        headers["Cache-Control"] = "no-store"
        response.vary.add("Accept-Language")
        return response


def _filters(catalog: Catalog, clock: Clock) -> Mapping[str, Callable[..., str]]:
    """Functions of a template, in the words of its language."""
    now = clock.time()
    return {
        "away": lambda moment: away(moment, now, catalog),
        "device_words": lambda device: device_words(device, catalog),
        "machine": machine,
        "moment": moment_words,
        "used": lambda moment, apart: last_used(moment, now, apart, catalog),
    }


def _version(path: Path) -> str:
    """Of a file, for its address: a browser that keeps the old one asks for the new."""
    return sha256(path.read_bytes()).hexdigest()[:8]


_VERSIONS = {path.name: _version(path) for path in _STATIC.iterdir() if path.is_file()}
