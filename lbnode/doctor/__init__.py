"""`lbctl doctor`: is this machine, or this fleet, as evenkeel needs it?

`facts` are what was found, as values; `checks` are pure functions from facts to findings; `gather` looks at the real
thing and is the only part that does I/O. Nothing here repairs anything, and looking changes nothing that lasts.
"""
