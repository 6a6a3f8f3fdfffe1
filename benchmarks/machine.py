"""What the figures were measured on."""

from __future__ import annotations

import os
import platform
import shutil
import sqlite3
import ssl
import subprocess
import sys
from contextlib import suppress
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = (
    "Flask-ClusterToken",
    "Flask",
    "Werkzeug",
    "itsdangerous",
    "gunicorn",
    "kazoo",
    "Flask-Login",
    "Flask-JWT-Extended",
    "PyJWT",
    "Flask-Session",
    "cachelib",
    "redis",
    "hiredis",
    "msgspec",
)


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _said_by(*command: str) -> str:
    """The first line that a program says of itself."""
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0].strip() if lines else ""


def describe() -> dict[str, str]:
    """Machine and versions, by name, as a reader wants to see them."""
    found = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{_processor()}, {os.cpu_count()} CPUs",
        "load before the run (1, 5, 15 min)": " ".join(f"{one:.1f}" for one in os.getloadavg()),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": sys.version.split()[0],
        "SQLite": sqlite3.sqlite_version,
        "OpenSSL": ssl.OPENSSL_VERSION,
        "wrk": _said_by("wrk", "-v").partition("Copyright")[0].strip(),
        "Redis server": _said_by("redis-server", "--version").partition("sha=")[0].strip(),
        "Java": _said_by("java", "-version"),
    }
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return {name: value for name, value in found.items() if value}
