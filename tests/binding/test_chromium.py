"""A real Chromium over HTTPS, at two hosts with one folder."""

from __future__ import annotations

from pathlib import Path

import pytest

from .chromium import site, visit

pytestmark = [pytest.mark.browser, pytest.mark.gunicorn]


def test_a_bound_login_in_a_real_browser(tmp_path: Path) -> None:
    """It registers, works on, is worth nothing elsewhere, survives restarts, and ends at once."""
    with site(tmp_path, {}) as at:
        visit(at, one_clock=True)
