"""Reading the nodes' packet counters per bucket from their pinned maps."""
