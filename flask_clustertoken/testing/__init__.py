"""Tests for those who write a cluster store of their own: :mod:`.contract`."""
