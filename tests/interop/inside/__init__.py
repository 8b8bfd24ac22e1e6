"""Tests that run in the guest, as root on Debian's stock kernel."""
