"""A real Chromium that binds its logins, and two hosts of the example behind HTTPS for it.

What all of it takes was found out by trying (Chromium 156): a certificate that the browser truly
trusts, the new headless mode, keys in software, and the variation "for developers" of the feature,
which has no quota of signatures: with short bound lifetimes the quota is all that one would see.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.example.browser import FLAGS, Browser, find_browser
from tests.gunicorn.server import GunicornServer
from tests.rounds import FULL
from tests.servers.ports import spare_ports
from tests.waiting import wait_past, wait_until

LOGIN, BOUND = "__Host-clustertoken", "__Host-clustertoken-bound"

#: Seconds that a bound cookie lives here.
LIFETIME = 8

#: Seconds between the pages that a person opens; in the full run they do not wait.
PACE = 0.0 if FULL else 1.5

BINDING_FLAGS = [
    *(one for one in FLAGS if one not in ("--headless", "--disable-background-networking")),
    "--headless=new",
    "--enable-features=DeviceBoundSessions,PersistDeviceBoundSessions,"
    "EnableBoundSessionCredentialsSoftwareKeysForManualTesting",
]
LOCAL_STATE = {
    "browser.enabled_labs_experiments": [
        "enable-bound-session-credentials-software-keys-for-manual-testing",
        "enable-standard-device-bound-session-credentials@2",
        "enable-standard-device-bound-session-persistence@1",
    ]
}

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
worker_processes 1;
{user}
events {{}}
http {{
    log_format said '$request_method $uri $status skipped=$http_secure_session_skipped';
    access_log {folder}/access.log said;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream hosts {{ {hosts} }}
    server {{
        listen 127.0.0.1:{front} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        # (The example's own pages allow no scripts.)
        location = /page {{
            default_type text/html;
            return 200 "<!doctype html><title>A page</title>";
        }}
        location / {{
            proxy_pass http://hosts;
            proxy_set_header Host $http_host;
        }}
    }}
}}
"""


class Programs:
    """What has to be installed; a promised one that is missing is a failure."""

    def __init__(self) -> None:
        path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
        self.browser = find_browser()
        self.nginx = shutil.which("nginx", path=path)
        self.certutil = shutil.which("certutil")
        if not (self.browser and self.nginx and self.certutil):
            why = "chromium, chromedriver, nginx or certutil is not installed"
            if os.environ.get("CLUSTERTOKEN_TEST_SERVERS") == "required":
                pytest.fail(why)
            pytest.skip(why)


def certify(folder: Path, certutil: str) -> Path:
    """A certificate for localhost in *folder*; the home folder of browsers that trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(timezone.utc)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate = folder / "certificate.pem"
    certificate.write_bytes(made.public_bytes(Encoding.PEM))
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "key.pem").write_bytes(text)
    home = folder / "home"
    (home / ".pki" / "nssdb").mkdir(parents=True)
    database = f"sql:{home}/.pki/nssdb"
    subprocess.run([certutil, "-d", database, "-N", "--empty-password"], check=True)
    trust = ["-A", "-t", "C,,", "-n", "localhost", "-i", str(certificate)]
    subprocess.run([certutil, "-d", database, *trust], check=True)
    return home


class Site:
    """Two hosts of the example behind one nginx that speaks HTTPS."""

    def __init__(self, folder: Path, programs: Programs, hosts: list[GunicornServer]) -> None:
        self.folder = folder
        self.hosts = hosts
        self._programs = programs
        self.port = spare_ports(1)[0]
        self.url = f"https://localhost:{self.port}"
        assert programs.certutil is not None
        self.home = certify(folder, programs.certutil)

    @contextmanager
    def serving(self) -> Iterator[None]:
        hosts = " ".join(f"server 127.0.0.1:{one.port};" for one in self.hosts)
        user = "user root;" if sys.platform != "win32" and os.getuid() == 0 else ""
        config = self.folder / "nginx.conf"
        config.write_text(NGINX.format(folder=self.folder, user=user, front=self.port, hosts=hosts))
        program = self._programs.nginx
        process = subprocess.Popen([str(program), "-c", str(config), "-p", str(self.folder)])
        try:
            wait_until((self.folder / "nginx.pid").exists)
            yield
        finally:
            process.terminate()
            process.wait(20)

    @contextmanager
    def browser(self, profile: str) -> Iterator[BoundBrowser]:
        """A browser with that profile, which is kept."""
        assert self._programs.browser is not None
        folder = self.folder / f"profile-{profile}"
        folder.mkdir(exist_ok=True)
        with BoundBrowser(
            *self._programs.browser,
            flags=BINDING_FLAGS,
            profile=folder,
            local_state=LOCAL_STATE,
            home=self.home,
        ) as made:
            made.site = self
            yield made

    def count(self, line: str) -> int:
        """How often nginx has answered with a line that begins so."""
        lines = (self.folder / "access.log").read_text().splitlines()
        return sum(one.startswith(line) for one in lines)

    def by_script(self, cookies: Mapping[str, str]) -> set[tuple[int, str]]:
        """What a script with these cookies is answered, on each host, and why."""
        header = {"Cookie": "; ".join(f"{name}={value}" for name, value in cookies.items())}
        found = set()
        for host in self.hosts * 4:
            answer = host.ask("GET", "/api/me", headers=header)
            found.add((answer.status, answer.json.get("reason", "")))
        return found


class BoundBrowser(Browser):
    """A browser at one :class:`Site`."""

    site: Site

    def log_in(self, name: str) -> None:
        self.open(f"{self.site.url}/login")
        self.type("input[name=username]", name)
        self.type("input[name=password]", name)
        self.click("main button")
        wait_until(lambda: self.url == f"{self.site.url}/")
        wait_until(lambda: BOUND in self.cookies())

    def ask(self, count: int = 1) -> list[int]:
        """The scripts of a page ask ``/api/me`` so many times at once."""
        if self.url != f"{self.site.url}/page":
            self.open(f"{self.site.url}/page")
        return list(
            self.run(
                f"const done = arguments[0];"
                f"Promise.all(Array.from({{length: {count}}}, () => fetch('/api/me')))"
                f".then(all => done(all.map(one => one.status)), error => done([`${{error}}`]));"
            )
        )

    def me(self) -> str:
        """The page of ``/api/me``, opened as a person opens one."""
        self.open(f"{self.site.url}/api/me")
        return self.text()


@contextmanager
def site(folder: Path, settings: Mapping[str, Any]) -> Iterator[Site]:
    """The site on a store that *settings* name."""
    programs = Programs()
    given = {"COOKIE_SECURE": "true", "BOUND_LIFETIME": LIFETIME, **settings}
    with ExitStack() as stack:
        hosts = [
            stack.enter_context(GunicornServer(folder, workers=2, node=name, settings=given))
            for name in ("red", "blue")
        ]
        made = Site(folder, programs, hosts)
        stack.enter_context(made.serving())
        yield made


def visit(at: Site, *, one_clock: bool) -> None:
    """A person's way, and a thief's; *one_clock*: all servers go by the same."""
    with at.browser("alice") as browser:
        browser.log_in("alice")
        page = [browser.ask(12)]
        began, rounds = time.time(), 0
        while time.time() < began + 3 * LIFETIME:
            browser.open(f"{at.url}/devices" if rounds % 2 else f"{at.url}/")
            page.append(browser.ask(6))
            rounds += 1
            wait_past(began + rounds * PACE)
        assert {status for some in page for status in some} == {200}, page
        assert at.count("POST /dbsc/register 200") == 1
        assert at.count("POST /dbsc/refresh 200") >= 3

        stolen = browser.cookies()
        only = {LOGIN: stolen[LOGIN]}
        assert at.by_script(only) == {(401, "unproven")}
        assert at.by_script(stolen) == {(200, "")}
        with at.browser("thief") as thief:
            thief.open(f"{at.url}/public")
            thief.plant(LOGIN, stolen[LOGIN])
            assert thief.ask(4) == [401] * 4
            thief.open(f"{at.url}/devices")
            assert thief.url.startswith(f"{at.url}/login?")

        # (The browser itself sleeps meanwhile, and goes on behind it.)
        if one_clock:
            # (One host is asked until it says so, and then all: asking eight times costs as much.)
            header = {"Cookie": "; ".join(f"{name}={one}" for name, one in stolen.items())}
            ask = at.hosts[0].ask
            wait_until(lambda: ask("GET", "/api/me", headers=header).status == 401, LIFETIME + 20)
            wait_until(lambda: at.by_script(stolen) == {(401, "unproven")}, LIFETIME)
        else:
            wait_until(lambda: BOUND not in browser.cookies(), LIFETIME + 20)
        assert browser.ask(8) == [200] * 8

    for host in at.hosts:
        host.stop()
        host.start()

    with at.browser("alice") as browser:
        assert '"subject":"alice"' in browser.me().replace(" ", "")
        assert browser.ask(4) == [200] * 4
        assert at.count("POST /dbsc/register 200") == 1
        at.hosts[1].flask("tokens", "revoke-subject", "alice")
        wait_until(lambda: browser.ask(4) == [401] * 4, 30)

        # And after a new login it binds again.
        browser.log_in("alice")
        assert browser.ask(4) == [200] * 4
        # (It does so beside its requests, in its own time.)
        wait_until(lambda: at.count("POST /dbsc/register 200") == 2, 30)
