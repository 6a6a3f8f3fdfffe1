"""``python -m flask_clustertoken``: the command line for apps that are not Flask apps."""

from __future__ import annotations

from .cli.program import main

if __name__ == "__main__":
    main()
