/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * An ICMP error quotes the packet that it is about: one that a backend sent from the VIP to its client.
 * Turned round it names the flow, and so the bucket, as a packet of the client's would. Four bytes behind the
 * quoted headers are enough; RFC 792 promises eight. The quote may be cut short, so its lengths mean nothing.
 */
#ifndef EVENKEEL_QUOTE_H
#define EVENKEEL_QUOTE_H

#include "icmp.h"
#include "parse.h"
#include "vip.h"

#define OPTIONS_MASK 0x3c

static __always_inline bool turn_ipv4(struct cursor *cursor, struct packet *packet)
{
	const struct iphdr *ip = take(cursor, sizeof(*ip));
	__u32 options;

	if (!ip || ip->version != 4 || ip->ihl < 5 || ip->saddr != packet->destination.word[3])
		return false;
	packet->source = (struct address){{0, 0, 0, ip->daddr}};
	packet->protocol = ip->protocol;
	packet->is_fragment = ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET);
	options = ip->ihl * 4 - sizeof(*ip);
	SETTLE(options); /* else clang leaves out the mask, which the verifier needs */
	return skip(cursor, options & OPTIONS_MASK);
}

static __always_inline bool turn_ipv6(struct cursor *cursor, struct packet *packet)
{
	const struct ipv6hdr *ip = take(cursor, sizeof(*ip));
	struct address from;

	if (!ip || ip->version != 6)
		return false;
	from = ipv6_address(&ip->saddr);
	if (!same_address(&from, &packet->destination))
		return false;
	packet->source = ipv6_address(&ip->daddr);
	packet->protocol = ip->nexthdr;
	packet->is_fragment = false;
	return !is_extension(packet->protocol) || skip_extensions(cursor, packet, IP6_OFFSET) == PARSED;
}

/*
 * `packet` is the error and becomes a packet of the flow that it quotes, size and type of service its own;
 * false when it quotes none of TCP or UDP from the address that it was sent to. A quoted later fragment is
 * one.
 */
static __always_inline bool turn_quote(struct cursor *cursor, struct packet *packet)
{
	const __u32 *ports;

	if (packet->family == FAMILY_IP4 ? !turn_ipv4(cursor, packet) : !turn_ipv6(cursor, packet))
		return false;
	if (packet->protocol != IPPROTO_TCP && packet->protocol != IPPROTO_UDP)
		return false;
	if (packet->is_fragment)
		return true;
	ports = take(cursor, sizeof(*ports));
	if (!ports)
		return false;
	packet->ports = *ports >> 16 | *ports << 16;
	return true;
}

#endif
