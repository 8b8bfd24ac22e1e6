"""Values of the domain: frozen, without I/O, the same words as design and docs."""
