"""The lab: a real small internet in network namespaces on one machine.

    plan        what a lab consists of: names, addresses, segments (pure)
    wiring      the commands that build it: namespaces, bridges, veth pairs (pure)
    shell       runs commands, outside and inside a namespace
    processes   starts daemons in a namespace and finds them again
    record      what is kept on disk, so that any later command can work on the lab
    configs     the files that router and daemons read (pure)
    zookeeper   a real ZooKeeper server
    bird        a real BIRD router
    assembly    puts it all together ("up")
    teardown    takes it apart, whatever state it is in ("down")
    server      what runs on the backends: a web server and the drill's echo
    flows       the flow engine: hundreds of TCP connections, checked byte by byte
    carriers    which node carries which flow, from the nodes' own counters
    drill       makes nodes come and go while flows run, and reports what the flows saw
    churn       a drill in which nodes, backends and the fleet's memory change together (a package of its own)
    demo        all of it once, for a newcomer

The lab is a composition root of its own: it may use every part of the product, nothing of the product uses
it.
"""
