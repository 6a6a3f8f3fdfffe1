"""An authority of a test's own, and certificates that it signs."""

from __future__ import annotations

import subprocess
from pathlib import Path


class Authority:
    """Made in *folder*; what it signs lies there too, as ``<name>.pem`` and ``<name>.key``."""

    def __init__(self, folder: Path, name: str = "authority") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self.certificate = folder / f"{name}.pem"
        self._openssl(
            *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem"),
        )

    def signed(self, name: str, alternative: str) -> tuple[Path, Path]:
        """A certificate for *alternative* (``DNS:localhost``, ``IP:127.0.0.1``), and its key."""
        self._openssl(
            *("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}"),
            *("-keyout", f"{name}.key", "-out", f"{name}.csr"),
        )
        extension = self.folder / f"{name}.ext"
        extension.write_text(f"subjectAltName={alternative}\n")
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-days", "2", "-CAcreateserial"),
            *("-CA", f"{self.name}.pem", "-CAkey", f"{self.name}.key"),
            *("-extfile", extension.name, "-out", f"{name}.pem"),
        )
        return self.folder / f"{name}.pem", self.folder / f"{name}.key"

    def _openssl(self, *words: str) -> None:
        command = ["openssl", *words]
        subprocess.run(command, cwd=self.folder, check=True, capture_output=True, timeout=60)
