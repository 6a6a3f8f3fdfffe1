"""The tests. ``scripts/run-tests`` runs them."""
