"""The faults that `make fuzz-faults` plants in a node's program."""

from __future__ import annotations

from tests.fuzz.faults import Fault

NODE = (
    Fault(
        "a frame that ends exactly with its header is taken for truncated", "node", "cursor.h",
        "header + size > cursor->end)", "header + size >= cursor->end)",
    ),
    Fault(
        "the TCP header's length is not asked of the IP header", "node", "cursor.h",
        "if (cursor->left < size || header + size > cursor->end)", "if (header + size > cursor->end)",
    ),
    Fault(
        "a UDP header may end one byte late", "node", "parse.h",
        "take(cursor, sizeof(*udp))", "take(cursor, sizeof(*udp) - 1)",
    ),
    Fault(
        "SYN with ACK opens a flow", "node", "parse.h",
        "(tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN", "(tcp->flags & TCP_SYN) == TCP_SYN",
    ),
    Fault("header lengths below five words pass", "node", "parse.h", "header < sizeof(*ip) ||", "header < 16 ||"),
    Fault(
        "a later fragment is none", "node", "parse.h",
        "#define IP_FRAGMENT_OFFSET 0x1fff", "#define IP_FRAGMENT_OFFSET 0x0fff",
    ),
    Fault(
        "the more-fragments flag is don't-fragment", "node", "parse.h",
        "#define IP_MORE_FRAGMENTS  0x2000", "#define IP_MORE_FRAGMENTS  0x4000",
    ),
    Fault(
        "the length stays in network order", "node", "parse.h",
        "packet->size = bpf_ntohs(ip->tot_len);", "packet->size = ip->tot_len;",
    ),
    Fault(
        "ECN goes out with the DSCP", "node", "parse.h",
        "packet->dscp = ip->tos & 0xfc;", "packet->dscp = ip->tos & 0xfe;",
    ),
    Fault(
        "IP options are taken for the ports", "node", "parse.h",
        "skip(cursor, header - sizeof(*ip));", "skip(cursor, 0);",
    ),
    Fault(
        "frames for other MACs are taken", "node", "forward.h", "return !own ||", "return own ||",
    ),
    Fault(
        "authentication headers are counted in eights", "node", "extension.h",
        "(header->size + 2) * 4", "(header->size + 1) * 8",
    ),
    Fault(
        "a seventh extension header is walked", "node", "extension.h",
        "#define EXTENSIONS_MAX 6", "#define EXTENSIONS_MAX 7",
    ),
    Fault(
        "an atomic fragment is one", "node", "extension.h",
        "#define IP6_IS_FRAGMENT 0xfff9", "#define IP6_IS_FRAGMENT 0xffff",
    ),
    Fault(
        "the traffic class is read a bit off", "node", "parse.h",
        "ip->priority << 4 | ip->flow_lbl[0] >> 4", "ip->priority << 4 | ip->flow_lbl[0] >> 5",
    ),
    Fault(
        "tags stay before what is pushed", "node", "encap.h", "(int)before - (int)", "ETH_HLEN - (int)",
    ),
    Fault(
        "one word of an IPv6 source is not hashed", "node", "hash.h",
        "pool->key[2] * from[1] +", "",
    ),
    Fault(
        "only two outer sources are used", "node", "forward.h",
        "bucket & state->control.source_mask[which] & (SOURCE_PLACES - 1)", "bucket & 1",
    ),
    Fault("the outer packet lives too short", "node", "encap.h", "outer->ttl = HOPS;", "outer->ttl = 63;"),
    Fault("the outer IPv6 packet lives too short", "node", "encap.h", "outer->hops = HOPS;", "outer->hops = 63;"),
    Fault(
        "an outer IPv6 packet is as long as with its header", "node", "encap.h",
        "WRITE(outer->size, bpf_htons(packet->size + GRE_SIZE + key_size));",
        "WRITE(outer->size, bpf_htons(packet->size + 40 + GRE_SIZE + key_size));",
    ),
    Fault(
        "the outer traffic class is four bits off", "node", "encap.h",
        "(__u64)(packet->dscp & 0xf) << 60", "(__u64)(packet->dscp & 0xf) << 56",
    ),
    Fault(
        "half of an outer IPv6 source is the other half", "node", "encap.h",
        "WRITE(outer->source[1], from[1]);", "WRITE(outer->source[1], from[0]);",
    ),
    Fault(
        "no stamp in the flow label", "node", "encap.h", "WRITE(outer->label, bpf_htons(way->stamp));", "",
    ),
    Fault(
        "IPv6 sources are spread as IPv4's are", "node", "forward.h",
        "bucket & state->control.source_mask[which] &", "bucket & state->control.source_mask[0] &",
    ),
    Fault(
        "IPv6 tunnels are looked for among IPv4's", "node", "table.h",
        "current & CURRENT_TUNNEL_IPV6 ? TUNNELS_IPV6 : 0", "0",
    ),
    Fault(
        "the outer checksum forgets its carries", "node", "encap.h",
        "return ~sum_of(sum_of(sum));", "return ~sum;",
    ),
    Fault(
        "the outer packet may be fragmented", "node", "encap.h",
        "WRITE(outer->fragment, bpf_htons(0x4000));", "WRITE(outer->fragment, 0);",
    ),
    Fault("no stamp", "node", "forward.h", "way->stamp = current;", "way->stamp = 0;"),
    Fault(
        "the stamp is not in network order", "node", "encap.h",
        "__be16 id = bpf_htons(way->stamp);", "__be16 id = way->stamp;",
    ),
    Fault(
        "alternates change places in the key", "node", "table.h",
        "(__u32)bucket.first << 16 | bucket.second", "(__u32)bucket.second << 16 | bucket.first",
    ),
    Fault(
        "SYNs carry a key", "node", "table.h", "!bucket.first || is_syn ||", "!bucket.first ||",
    ),
    Fault(
        "backends without agent get a key", "node", "table.h",
        "|| !(tunnel->flags & TUNNEL_AGENT))", "|| !tunnel->flags)",
    ),
    Fault(
        "what just fits the next hop is too big", "node", "encap.h",
        "GRE_SIZE + KEY_SIZE > way->tunnel->mtu", "GRE_SIZE + KEY_SIZE >= way->tunnel->mtu",
    ),
    Fault(
        "a keyed packet is counted as keyless", "node", "encap.h",
        "return key_size ? OUTCOME_forwarded_keyed : OUTCOME_forwarded;", "return OUTCOME_forwarded;",
    ),
    Fault(
        "bytes of a VIP are not counted", "node", "node.bpf.c",
        "count(counts, vip->row, bytes);", "count(counts, vip->row, 0);",
    ),
    Fault(
        "redirected to the wrong interface", "node", "forward.h",
        "bpf_redirect(ifindex, 0)", "bpf_redirect(ifindex + 1, 0)",
    ),
    Fault(
        "one bit of the ports is not hashed", "node", "hash.h",
        "vip->ports * packet->ports", "vip->ports * (packet->ports & 0x7fffffff)",
    ),
    Fault(
        "SipHash with a rotation off by one", "node", "hash.h",
        "sip->v3 = rotate(sip->v3, 21) ^ sip->v0;", "sip->v3 = rotate(sip->v3, 20) ^ sip->v0;",
    ),
    Fault(
        "wrong ports pass where they should not", "node", "treat.h",
        "ours->flags & VIP_WRONG_PASS ?", "ours->flags | VIP_WRONG_PASS ?",
    ),
    Fault(
        "the last port of a range is not its", "node", "prefix.h",
        "key <= stretch->last", "key < stretch->last",
    ),
    Fault(
        "shorter prefixes are not looked for", "node", "prefix.h",
        "for (int i = 0; i < PREFIX_LENGTHS &&", "for (int i = 0; i < 1 &&",
    ),
    Fault(
        "addresses of shorter prefixes are nobody's", "node", "prefix.h",
        "return length[1].key && find_longest", "return !length[1].key && find_longest",
    ),
    Fault(
        "the destination in a prefix is not hashed", "node", "prefix.h",
        "pool->key[8] * to->word[3];", "0;",
    ),
    Fault(
        "ids of every configuration are read", "node", "quic.h",
        "id->first >> QUIC_CONFIG_SHIFT != config", "id->first >> QUIC_CONFIG_SHIFT == 7",
    ),
    Fault(
        "clients' own ids are followed", "node", "quic.h",
        "return type == QUIC_V1_HANDSHAKE;", "return type <= QUIC_V1_HANDSHAKE;",
    ),
    Fault("who is no member is sent to", "node", "quic.h", "return place && ", "return place || "),
    Fault(
        "a connection id may reach beyond the packet", "node", "quic.h",
        "< head->id_size)", "< 0)",
    ),
    Fault(
        "flows of a failed second alternate stay with it", "node", "flow.h",
        "!(unfit & BUCKET_SECOND_FAILED)", "!(unfit & BUCKET_FIRST_FAILED)",
    ),
    Fault(
        "a flow that begins anew is still the old one", "node", "flow.h",
        "bpf_map_delete_elem(&flows, flow);", "",
    ),
    Fault(
        "the IP length does not end a first fragment", "node", "fragment.h",
        "(packet->is_first && packet->left < size)", "(packet->is_first && !packet->left)",
    ),
    Fault(
        "fragments of other protocols' packets are taken for each other", "node", "fragment.h",
        "packet->protocol, packet->family};", "0, packet->family};",
    ),
    Fault(
        "a later fragment opens a flow like its first", "node", "fragment.h",
        "packet->is_syn = packet->protocol", "packet->is_syn = packet->is_first && packet->protocol",
    ),
    Fault(
        "IPv6 fragments are told apart by half of their number", "node", "extension.h",
        "chain->id = header->id;", "chain->id = header->id & 0xffff;",
    ),
    Fault(
        "fragments of UDP are flows of their own", "node", "flow.h", "is_portless ? 0 :", "is_portless && 0 ? 0 :",
    ),
    Fault(
        "an echo reply's checksum is the request's", "node", "echo.h", "icmp->checksum = fold(sum);", "(void)sum;",
    ),
    Fault(
        "an echo reply keeps options and extension headers", "node", "echo.h",
        "turn_link(ctx, header - size)", "turn_link(ctx, 0)",
    ),
    Fault("the loopback address is answered", "node", "answer.h", "bpf_ntohl(word[3]) <= 1", "!word[3]"),
    Fault("an answer leaves without its tags", "node", "answer.h", "LINK_MAX - 2 * ETH_ALEN", "4"),
    Fault(
        "the checksum of ICMPv6 counts only the message", "node", "too_big.h",
        "answer->source.word[i] + answer->destination.word[i]", "answer->source.word[i]",
    ),
    Fault(
        "later fragments are told their size", "node", "too_big.h",
        "|| !(ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET))", "|| true",
    ),
    Fault(
        "the size told to senders does not count the key", "node", "encap.h",
        "way->tunnel->mtu - (ip_size(way->family) + GRE_SIZE + KEY_SIZE)",
        "way->tunnel->mtu - (ip_size(way->family) + GRE_SIZE)",
    ),
    Fault(
        "an error's quote is not turned round", "node", "quote.h", "*ports >> 16 | *ports << 16", "*ports",
    ),
    Fault(
        "an error may quote another address's packet", "node", "quote.h",
        "if (!same_address(&from, &packet->destination))", "if (!from.word[0])",
    ),
    Fault(
        "the quoted header's options are taken for the ports", "node", "quote.h",
        "skip(cursor, options & OPTIONS_MASK)", "skip(cursor, 0)",
    ),
)  # fmt: skip
