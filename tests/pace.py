"""How quick this machine is at the moment, for bounds that hold on a slow one as well."""

from __future__ import annotations

import subprocess
import sys
import time


def moments(count: int) -> float:
    """Seconds in which this machine, under the load of now, starts *count* interpreters.

    The unit of whatever a bound leaves to the machine, beside the seconds that are promised: some
    10 ms on a quick one at rest, and as many times more as everything else takes longer.
    """
    began = time.monotonic()
    for _ in range(3):
        subprocess.run([sys.executable, "-I", "-S", "-c", ""], check=True)
    return count * (time.monotonic() - began) / 3
