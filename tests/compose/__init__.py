"""The compose file for real: Docker's engine, images built from this clone, and a drill over the whole fleet."""
