"""From a flow to a backend in four pure steps: bucket, home, failover, alternates (design.md §3).

Beside them stand `admission`, which says whose flows a planned change would break, and `simulate`.

Every node, every Python and every run gives the same bytes. Nothing here does I/O or reads a clock or
randomness; the one file that is opened is this package's own shared library (`ring.fast`), which computes
exactly what `ring.reference` says, and the one module that prints is `ring.simulate.__main__`.
"""
