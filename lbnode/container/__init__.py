"""What runs as process 1 of a container: finds out who the container is, then keeps daemon and service running.

    python -m lbnode.container node
    python -m lbnode.container backend -- nginx -g 'daemon off;'

Standard library only, because it stays in memory beside the daemon, and nothing of the rest of the project: it starts
the commands that operators start. docs/adr/0024 says why it is as it is.
"""
