"""Floor 11: HTTP and JSON over the control service. `client` alone is free of the web framework."""
