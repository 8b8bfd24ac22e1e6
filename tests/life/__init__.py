"""Packets counted one by one while the node's daemon is killed, restarted and upgraded: `make life`."""
