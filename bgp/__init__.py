"""What a node tells its routers.

Values and decisions are pure: `routes` (what is announced), `config` (ExaBGP's configuration as text),
`messages` (the lines between daemon and relay) and `session` (the state machine of the relay). Three modules
do I/O: `process` (the ExaBGP process), `speaker` (the daemon's side, the only owner of that process) and
`relay` (the script that ExaBGP runs, which outlives a dead daemon by at most `adopt_s`).
"""
