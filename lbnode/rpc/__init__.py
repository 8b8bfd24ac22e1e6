"""gRPC: the one owner of grpc. A node serves Status and Control; `lbctl` asks."""

import os

# Errors reach us as exceptions; grpc would print them as well.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
