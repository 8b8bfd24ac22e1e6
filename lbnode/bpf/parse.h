/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a frame to a packet: IPv4 and IPv6 with all that may stand before the transport, the heads of TCP and
 * UDP. The same for the node, and for the backend inside and outside of the tunnel.
 */
#ifndef EVENKEEL_PARSE_H
#define EVENKEEL_PARSE_H

#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>

#include "extension.h"
#include "link.h"

#define IP_MORE_FRAGMENTS  0x2000
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP_IS_FRAGMENT	   (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)

static __always_inline enum fault parse_tcp(struct cursor *cursor, struct packet *packet)
{
	const struct tcp_head *tcp = take(cursor, TCP_SIZE);

	if (!tcp)
		return FAULT_TRUNCATED;
	packet->ports = *(const __u32 *)tcp;
	packet->has_ports = true;
	packet->tcp = tcp;
	packet->is_syn = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return PARSED;
}

static __always_inline enum fault parse_udp(struct cursor *cursor, struct packet *packet)
{
	const struct udphdr *udp = take(cursor, sizeof(*udp));

	if (!udp)
		return FAULT_TRUNCATED;
	packet->ports = *(const __u32 *)udp;
	packet->has_ports = true;
	return PARSED;
}

/* Other protocols show no ports. */
static __always_inline enum fault parse_transport(struct cursor *cursor, struct packet *packet)
{
	packet->transport = cursor->at;
	if (packet->is_fragment) {
		__u64 at = cursor->at - frame_start(cursor->ctx);

		SETTLE(at); /* else clang subtracts in 32 bits, what no pointer may be part of */
		packet->head_at = at;
		packet->left = cursor->left;
		return PARSED;
	}
	if (packet->protocol == IPPROTO_TCP)
		return parse_tcp(cursor, packet);
	if (packet->protocol == IPPROTO_UDP)
		return parse_udp(cursor, packet);
	return PARSED;
}

static __always_inline enum fault parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	const struct iphdr *ip = take(cursor, sizeof(*ip));
	__u32 header;

	if (!ip)
		return FAULT_CUT;
	header = ip->ihl * 4;
	packet->size = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || packet->size < header)
		return FAULT_MALFORMED;
	packet->ip = ip;
	packet->source = (struct address){{0, 0, 0, ip->saddr}};
	packet->destination = (struct address){{0, 0, 0, ip->daddr}};
	packet->protocol = ip->protocol;
	packet->dscp = ip->tos & 0xfc;
	packet->is_fragment = ip->frag_off & bpf_htons(IP_IS_FRAGMENT);
	if (packet->is_fragment) {
		packet->fragment_id = ip->id;
		packet->is_first = !(ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET));
	}
	if (!narrow(cursor, packet->size - sizeof(*ip)))
		return FAULT_TRUNCATED;
	/* Options are rare: let the processor guess where the ports are and not wait for the length. */
	if (header != sizeof(*ip))
		skip(cursor, header - sizeof(*ip));
	return parse_transport(cursor, packet);
}

static __always_inline struct address ipv6_address(const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;

	return (struct address){{word[0], word[1], word[2], word[3]}};
}

static __always_inline enum fault parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	const struct ipv6hdr *ip = take(cursor, sizeof(*ip));
	__u32 payload;

	if (!ip)
		return FAULT_CUT;
	if (ip->version != 6)
		return FAULT_MALFORMED;
	payload = bpf_ntohs(ip->payload_len);
	packet->ip = ip;
	packet->source = ipv6_address(&ip->saddr);
	packet->destination = ipv6_address(&ip->daddr);
	packet->protocol = ip->nexthdr;
	packet->dscp = (ip->priority << 4 | ip->flow_lbl[0] >> 4) & 0xfc;
	packet->size = sizeof(*ip) + payload;
	packet->is_fragment = false;
	if (!narrow(cursor, payload))
		return FAULT_TRUNCATED;
	if (is_extension(packet->protocol)) {
		enum fault fault = skip_extensions(cursor, packet, IP6_IS_FRAGMENT);

		if (fault != PARSED)
			return fault;
	}
	return parse_transport(cursor, packet);
}

/* `family` is a constant at every place of use: the compiler makes a straight run of each. */
static __always_inline enum fault parse_ip(struct cursor *cursor, __u8 family, struct packet *packet)
{
	packet->family = family;
	packet->hash = 0;
	packet->tcp = NULL;
	packet->ports = 0;
	packet->has_ports = false;
	packet->is_syn = false;
	return family == FAMILY_IP4 ? parse_ipv4(cursor, packet) : parse_ipv6(cursor, packet);
}

#endif
