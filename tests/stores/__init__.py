"""The cluster stores, each put through the same contract."""
