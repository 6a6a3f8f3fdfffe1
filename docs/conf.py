"""How Sphinx makes the docs: ``make docs``, or ``sphinx-build -W docs build/docs``."""

from __future__ import annotations

from importlib.metadata import version as installed_version

project = "Flask-ClusterToken"
author = "the Flask-ClusterToken authors"
project_copyright = f"2026 {author}"
release = version = installed_version("Flask-ClusterToken")

# No intersphinx: the docs are built without a network.
extensions = ["sphinx.ext.autodoc", "sphinx.ext.viewcode", "myst_parser"]
source_suffix = {".rst": "restructuredtext", ".md": "markdown"}
# What was measured is included by the pages that show it.
exclude_patterns = ["examples/README*", "performance/*", "soak.md"]

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
maximum_signature_line_length = 88
autodoc_preserve_defaults = True

# The contents in index.rst name each page of the whole book, also those still to be written.
suppress_warnings = ["toc.not_readable"]

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["docs.css"]
html_title = f"{project} {release}"
html_show_sourcelink = False
html_copy_source = False
pygments_style = "default"
pygments_dark_style = "monokai"
