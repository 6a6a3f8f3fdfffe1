"""The command line: one set of commands behind two doors.

``flask tokens …`` in a Flask app, ``python -m flask_clustertoken --store URL …`` elsewhere. A
command is no node: it follows the feed, judges no token and is not in the list of nodes.
"""
