"""The command line: ``flask tokens …`` and ``python -m flask_clustertoken …``.

Imports operations and the core, and the extension only in the group that hangs on an app.
Others use ``tokens_group`` of :mod:`.group`, and ``main`` of :mod:`.program`.
"""
