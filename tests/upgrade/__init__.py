"""A rolling upgrade from a version that is out there: its code, an app for both, and a crowd.

``before.zip`` is the package as it was before feed entries had a second form, so that old nodes
are old code and not new code that pretends. It was made with::

    git archive --format=zip -9 -o tests/upgrade/before.zip e2b12ff \\
        flask_clustertoken ':!flask_clustertoken/keycloak'
"""
