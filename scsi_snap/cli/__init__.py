"""Floor 11: the command line over the API. It holds no rules; one file a noun."""
