"""How long a change takes: from the operator's call until every node's kernel sends by the new epoch."""
