"""The faults that `make fuzz-faults` plants in an agent's program."""

from __future__ import annotations

from tests.fuzz.faults import Fault

AGENT = (
    Fault(
        "what names another backend is passed on twice", "agent", "decap_chance.h",
        "!second_chance || packet->flags & GRE_MARK || packet->stamp", "!second_chance || packet->stamp",
    ),
    Fault(
        "what names another backend goes unmarked", "agent", "decap.bpf.c",
        "outcome == DECAP_forwarded_named ||", "",
    ),
    Fault(
        "prefixes are no VIPs of an agent's", "agent", "decap_chance.h",
        "find_prefix(state, half, &inner->destination", "find_prefix(state, half, &inner->source",
    ),
    Fault(
        "strangers are passed on to the stack as they came", "agent", "decap.bpf.c",
        "return DECAP_drop_stranger;", "return DECAP_untouched;",
    ),
    Fault(
        "an address of IPv6 is the near member of IPv4 that has its words", "agent", "decap_member.h",
        "(one->family ^ other->family)", "0",
    ),
    Fault(
        "inner packets may be longer than the outer one", "agent", "cursor.h",
        "if (cursor->left < size || header + size > cursor->end)", "if (header + size > cursor->end)",
    ),
    Fault(
        "a length that just fits is too long", "agent", "cursor.h",
        "if (size > cursor->left || (__u64)", "if (size >= cursor->left || (__u64)",
    ),
    Fault(
        "outer fragments are taken", "agent", "decap_parse.h",
        "if (outer.is_fragment || !is_plain(&outer))", "if (!is_plain(&outer))",
    ),
    Fault(
        "IPv6 members are those of IPv4", "agent", "decap_parse.h",
        "(struct sender){outer.source, family}", "(struct sender){outer.source, FAMILY_IP4}",
    ),
    Fault(
        "the stamp is read from the flow label's start", "agent", "decap_parse.h", "flow_lbl[1])", "flow_lbl[0])",
    ),
    Fault(
        "GRE with a sequence number is taken", "agent", "decap_gre.h",
        "(0x8000 | 0x4000 | 0x1000 |", "(0x8000 | 0x4000 |",
    ),
    Fault(
        "the mark is another bit", "agent", "decap_gre.h",
        "#define GRE_MARK 0x0008", "#define GRE_MARK 0x0020",
    ),
    Fault(
        "the key is read as this host has it", "agent", "decap_parse.h",
        "packet->key = bpf_ntohl(*key);", "packet->key = *key;",
    ),
    Fault(
        "a keyed packet in sync is delivered at once", "agent", "decap_chance.h",
        "packet->flags & (GRE_KEY | GRE_MARK)", "packet->flags & GRE_MARK",
    ),
    Fault(
        "a sender's age is asked without wrapping around", "agent", "decap_chance.h",
        "return twice_ahead(world, packet) >= -2;",
        "return (packet->stamp & STAMP_NUMBER) + 1 >= (world->current & STAMP_NUMBER);",
    ),
    Fault(
        "new flows of a sender that is behind are kept", "agent", "decap_chance.h",
        "return twice_ahead(world, packet) >= -2;", "return true;",
    ),
    Fault(
        "a backend that has failed keeps new flows of a sender one epoch behind", "agent", "decap_chance.h",
        "return twice_ahead(world, packet) >= 0;", "return twice_ahead(world, packet) >= -2;",
    ),
    Fault(
        "a backend that has failed keeps no new flows", "agent", "decap_chance.h",
        "return twice_ahead(world, packet) >= 0;", "return false;",
    ),
    Fault(
        "new flows that were passed on once stay where they come to", "agent", "decap_chance.h",
        "packet->flags & GRE_SETTLED || takes_new(", "packet->flags & (GRE_SETTLED | GRE_MARK) || takes_new(",
    ),
    Fault(
        "a packet passed on along its list gets a new stamp", "agent", "decap_chance.h",
        "way->stamp = packet->stamp;", "",
    ),
    Fault(
        "an older list is added to again and again", "agent", "decap_chance.h",
        "packet->flags & GRE_SETTLED || twice_ahead(world, packet) >= 0", "twice_ahead(world, packet) >= 0",
    ),
    Fault(
        "a list that has begun anew is not added to", "agent", "decap_chance.h",
        "!list && !(packet->flags & GRE_MARK)", "!list || packet->flags & GRE_MARK",
    ),
    Fault(
        "a list does not begin anew but ends with one owner", "agent", "decap_chance.h",
        "!list && !(packet->flags & GRE_MARK)", "false",
    ),
    Fault(
        "a newer list is added to", "agent", "decap_chance.h",
        "|| twice_ahead(world, packet) >= 0)", "|| packet->stamp == (__u16)world->current)",
    ),
    Fault(
        "nobody is told that a list was added to", "agent", "decap_chance.h",
        "way->marks = bpf_htons(GRE_SETTLED);", "way->marks = 0;",
    ),
    Fault(
        "who is on an older list is added to it", "agent", "decap_chance.h",
        "owner == agent->self || is_listed(list, owner)", "owner == agent->self",
    ),
    Fault(
        "a list that was added to begins anew with all of mine", "agent", "decap_chance.h",
        "list &= (1ULL << ADDED_SHIFT) - 1;", "list |= 0;",
    ),
    Fault(
        "a list that was added to begins anew without my second alternate", "agent", "decap_chance.h",
        "packet->flags & GRE_SETTLED && !is_listed(list, agent->self)", "packet->flags & GRE_SETTLED",
    ),
    Fault(
        "any acknowledgement completes a handshake", "agent", "chance_socket.h",
        "tcp->flags & TCP_ACK && bpf_ntohl(tcp->ack_seq) == request->snt_isn + 1", "tcp->flags & TCP_ACK",
    ),
    Fault(
        "an ended flow is asked for too near a number", "agent", "chance_socket.h",
        "#define TIME_WAIT_REACH (1 << 20)", "#define TIME_WAIT_REACH (1 << 19)",
    ),
    Fault(
        "cookies are not looked at", "agent", "chance_socket.h",
        "return fits_cookie(ctx, socket, packet) ? DECAP_delivered_cookie : NOBODY;", "return NOBODY;",
    ),
    Fault(
        "source and destination port change places in the look-up", "agent", "chance_socket.h",
        "__be16 source = inner->ports, destination = inner->ports >> 16;",
        "__be16 source = inner->ports >> 16, destination = inner->ports;",
    ),
    Fault(
        "this backend asks itself", "agent", "chance_list.h", "if (id == self) {", "if (id == self + 1) {",
    ),
    Fault(
        "the same backend is named twice", "agent", "chance_list.h",
        "if (second == self || second == first)", "if (second == self)",
    ),
    Fault(
        "who was put off is forgotten", "agent", "chance_list.h",
        "key_of(put_off | list >>", "key_of(list >>",
    ),
    Fault(
        "places of the key overlap", "agent", "chance_list.h",
        "list >> ID_BITS << i * ID_BITS", "list >> ID_BITS",
    ),
    Fault(
        "a flow is reset whose holder cannot be asked", "agent", "chance_list.h",
        "if (is_lost)", "if (is_lost && last)",
    ),
    Fault(
        "one without the agent is asked before one that cannot be", "agent", "chance_list.h",
        "if (is_lost)", "if (is_lost && !last)",
    ),
    Fault(
        "an older epoch overrules the sender's", "agent", "decap_chance.h",
        "(is_lost && twice_ahead(world, packet) > 0)", "false",
    ),
    Fault(
        "a restarted packet is not marked", "agent", "decap.bpf.c",
        "packet->flags & GRE_MARK || outcome == DECAP_forwarded_restarted ||", "packet->flags & GRE_MARK ||",
    ),
    Fault(
        "a new flow that was passed on twice is not settled", "agent", "decap.bpf.c",
        "marks |= GRE_SETTLED;", "marks |= GRE_MARK;",
    ),
    Fault(
        "the source MAC's end is left behind", "agent", "decap.bpf.c",
        "*(__u32 *)(to + 8) = *(__u32 *)(from + 8);", "*(__u16 *)(to + 8) = *(__u16 *)(from + 8);",
    ),
    Fault(
        "too long for the next hop, and sent", "agent", "encap.h",
        "if (packet->size + ip_size(family) + GRE_SIZE + KEY_SIZE > way->tunnel->mtu)",
        "if (packet->size > way->tunnel->mtu)",
    ),
    Fault(
        "tags are lost at the end of the tunnel", "agent", "decap.bpf.c",
        "*(__u32 *)to = *(__u32 *)from;\n\t\tto", "to",
    ),
    Fault(
        "inner fragments of IPv6 are looked into", "agent", "extension.h",
        "packet->is_fragment = chain.is_fragment;", "",
    ),
    Fault(
        "later fragments are looked for by what they hold", "agent", "fragment.h",
        "packet->is_first ? packet->head_at : 0", "packet->head_at",
    ),
    Fault(
        "fragments of UDP are told apart too", "agent", "decap_parse.h",
        "|| packet->inner.protocol != IPPROTO_TCP)", ")",
    ),
    Fault(
        "hops from other backends are not counted", "agent", "decap.bpf.c",
        "if (kind == MEMBER_BACKEND)", "if (kind == MEMBER_NODE)",
    ),
    Fault(
        "errors are not asked for among the sockets", "agent", "decap_chance.h",
        "packet->inner.has_ports || turn_error(ctx, &packet->inner)", "packet->inner.has_ports",
    ),
    Fault(
        "a listener holds what an error quotes", "agent", "chance_socket.h",
        "socket->state == BPF_TCP_LISTEN || socket->state == BPF_TCP_TIME_WAIT", "socket->state == BPF_TCP_TIME_WAIT",
    ),
)  # fmt: skip
