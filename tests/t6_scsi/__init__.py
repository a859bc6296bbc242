"""Floor 6: the command set, as bus traces."""
