"""What this package raises."""


class RingError(ValueError):
    """An argument that no table can be built from; the message names it and its range."""
