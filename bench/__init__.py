"""Comparison with the nearest relatives, as ratios within one run (docs/testing.md, "Bench")."""
