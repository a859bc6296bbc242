"""Floor 10: every verb once, whoever calls it."""
