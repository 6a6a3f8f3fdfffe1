"""A real nginx that caches, before an app whose files say ``public``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest
from flask import send_file

from flask_clustertoken import token_required
from tests.extension.parts import MakeApp, cookie, login_text
from tests.servers.ports import spare_ports
from tests.waiting import wait_until

from .site import serving

pytestmark = pytest.mark.processes

CONFIG = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
{user}
events {{}}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    proxy_cache_path {folder}/cache keys_zone=kept:1m;
    server {{
        listen 127.0.0.1:{front};
        location / {{
            proxy_pass http://127.0.0.1:{back};
            proxy_set_header Host $http_host;
            proxy_cache kept;
            add_header X-Cache $upstream_cache_status always;
        }}
    }}
}}
"""


@pytest.fixture
def nginx(tmp_path: Path) -> Iterator[tuple[int, int]]:
    """Its port, and the one that it passes requests on to."""
    # (Debian keeps it where an ordinary user's PATH does not look.)
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if program is None:
        if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
            pytest.fail("nginx is not installed")
        pytest.skip("nginx is not installed")
    front, back = spare_ports(2)
    user = "user root;" if sys.platform != "win32" and os.getuid() == 0 else ""
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(folder=tmp_path, user=user, front=front, back=back))
    process = subprocess.Popen([program, "-c", str(config), "-p", str(tmp_path)])
    try:
        yield front, back
    finally:
        process.terminate()
        process.wait(20)


def test_what_was_revoked_is_served_by_no_cache(
    make_app: MakeApp, nginx: tuple[int, int], tmp_path: Path
) -> None:
    """nginx keeps neither a protected file nor, by its own header, a protected page; what is for
    everybody, and what a view means for everybody, it keeps."""
    front, back = nginx
    (tmp_path / "report.txt").write_text("the report")
    app, tokens = make_app()
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600

    def report() -> object:
        return send_file(tmp_path / "report.txt")

    app.add_url_rule("/file", "file", token_required(report))
    app.add_url_rule(
        "/page", "page", token_required(lambda: ("the page", {"X-Accel-Expires": "3600"}))
    )
    app.add_url_rule("/meant", "meant", token_required(shared_cache=True)(report))
    app.add_url_rule("/everybody", "everybody", report)
    login = cookie(login_text(app))

    def get(path: str) -> tuple[int, str | None]:
        connection = HTTPConnection("127.0.0.1", front, timeout=10)
        try:
            connection.request("GET", path, headers=login)
            answer = connection.getresponse()
            answer.read()
            return answer.status, answer.getheader("X-Cache")
        finally:
            connection.close()

    def answers() -> bool:
        try:
            return get("/public")[0] == 200
        except OSError:
            return False

    with serving(app, back):
        wait_until(answers, 20)
        for path in ("/file", "/page", "/meant", "/everybody"):
            assert get(path) == (200, "MISS"), path
        assert get("/file") == get("/page") == (200, "MISS")
        assert get("/meant") == get("/everybody") == (200, "HIT")
        with app.app_context():
            tokens.revoke_all()
        assert get("/file") == get("/page") == (401, "MISS")
        assert get("/meant") == get("/everybody") == (200, "HIT")
