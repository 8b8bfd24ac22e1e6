"""The node daemon: the composition root where decisions meet the kernel, the store, the routers and the operators.

`daemon` owns the loop; each other module joins one decision of `lbnode.core` to one adapter.
"""
