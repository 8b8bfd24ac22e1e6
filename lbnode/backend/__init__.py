"""The agent on a backend's machine: VIPs on lo, decapsulation, MSS clamp, membership (`lbbackend`)."""
