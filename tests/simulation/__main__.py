"""Run one schedule again and say what happened.

``python -m tests.simulation SEED [--restores] [--asks] [--locks] [-v]``
"""

from __future__ import annotations

import sys

from .test_simulation import ACTIONS
from .world import World, problems

if __name__ == "__main__":
    World.restores = "--restores" in sys.argv
    World.asks = "--asks" in sys.argv
    World.locks = "--locks" in sys.argv
    world = World(int(sys.argv[1]))
    world.run(ACTIONS)
    if "-v" in sys.argv:
        for event in world.history:
            print(event)
    for problem in problems(world):
        print(problem)
