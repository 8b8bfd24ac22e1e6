"""The drill of the store: a node and an agent, or everybody, cut off from the fleet's memory for any length of time."""
