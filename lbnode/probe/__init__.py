"""Health probes: how a backend is asked whether it serves. Verdicts are drawn in `lbnode.core.health`."""
