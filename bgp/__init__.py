"""What a node tells its routers.

Pure: `routes` (what is announced), `config` (ExaBGP's files as text), `messages` (the lines between daemon,
relay and ExaBGP), `reasons` (why a session is down) and `session` (the state machine of the relay).

I/O: `speaker` is the daemon's door; it owns the ExaBGP process (`process`), its files (`installation`) and
the connection to its relay (`link`). `relay` is the script that ExaBGP runs, which outlives a dead daemon by
at most `adopt_s` (docs/adr/0009).
"""
