"""The fleet's memory: what nodes, agents and operators share, and what one daemon keeps on its own disk.

    tree           the port: records with versions, liveness, elections
    fleet          typed access over any tree; refuses another fleet's store
    records        which record lies where; a snapshot as a FleetView (pure)
    copy           the last view on the daemon's disk, for a start without the store

    zookeeper      the port over ZooKeeper: session, and who is told what
    client         kazoo's settings and errors
    mirror         a subtree kept by watches
    requests       single requests, awaited
    announcements  ephemeral records that come back
    election       kazoo's election, in a thread

    files          the port over a directory: the same for one machine
    directory      records, journal and sessions on the disk
    link           an open directory and its watches
    inotify        events of a directory
    candidate      elections by the leader's record

kazoo and inotify have no other users in evenkeel.
"""
