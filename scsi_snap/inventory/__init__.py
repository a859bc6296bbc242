"""Floor 8: what exists. Records, the durable catalog, and what is built from them."""
