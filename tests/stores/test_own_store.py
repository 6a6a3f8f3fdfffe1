"""The store that docs/stores.rst shows keeps the contract: what is learnt from it is right."""

from __future__ import annotations

import runpy
from pathlib import Path

SHOWN = Path(__file__).parents[2] / "docs" / "examples" / "own_store.py"

# (Of the contract's tests one carries pytest.mark.processes.)
TestOneFileStore = runpy.run_path(str(SHOWN))["TestOneFileStore"]
