"""The churn drill: thousands of connections always alive, while everything that can happen to a fleet happens.

wire       what clients ask of servers on the drill's port, and the bytes that come back (pure)
serving    the servers' side
life       which connections there are and how long they live, from a seed (pure)
flow       one connection, one socket, from its greeting to its last exchange
crowd      the client's process: so many connections always alive
crowd_process  that process, seen from the drill
schedule   what happens when, from a seed (pure)
stage      what happenings act upon: the lab, the fleet, the crowd
happenings what can happen, one function each; nodes, backends and the fleet's memory
watch      a process that reads the kernels' maps and nothing else: epochs, tables, packets by bucket
watch_process  that process, seen from the drill
evidence   which flows changed node or owner, and when every kernel had a change (pure)
verdict    which flows broke and which were named as victims before (pure)
report     what is told: JSON, exit status (pure)
screen     what a person sees
drill      puts it all together
"""
