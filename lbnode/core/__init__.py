"""Decisions of the control plane: functions of a `FleetView` and of `now`; no I/O, no clock, no randomness."""
