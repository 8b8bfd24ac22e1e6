/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Cursor parsers: each takes the headers of one layer off the cursor and says what became of the packet,
 * where PARSED means "go on". Nothing is read before its bounds were checked.
 */
#ifndef EVENKEEL_DECAP_PARSE_H
#define EVENKEEL_DECAP_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decap_gre.h"

#define PARSED	       DECAP_OUTCOME_COUNT
#define IP_IS_FRAGMENT 0x3fff /* of frag_off: more fragments, or not the first */

struct cursor {
	void *at;
	void *end;
	__u32 left; /* bytes that the layer above says are left; the frame may be longer (padding) */
};

/* The next `size` bytes, or NULL when the packet or the layer above ends before. */
static __always_inline void *take(struct cursor *cursor, __u32 size)
{
	void *header = cursor->at;

	if (cursor->left < size || header + size > cursor->end)
		return NULL;
	cursor->at = header + size;
	cursor->left -= size;
	return header;
}

/* A header says that `size` bytes follow it: believe it when they are there, and forget what comes after
 * them. */
static __always_inline bool narrow(struct cursor *cursor, __u32 size)
{
	if (size > cursor->left)
		return false;
	cursor->left = size;
	return true;
}

static __always_inline struct decap_address ipv4_address(__be32 address)
{
	return (struct decap_address){.word = {0, 0, 0, address}};
}

static __always_inline struct decap_address ipv6_address(const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;

	return (struct decap_address){.word = {word[0], word[1], word[2], word[3]}};
}

/* Only GRE towards `self` is ours; all else, and what is too short to tell, goes on as it came. */
static __always_inline enum decap_outcome parse_outer_ipv4(struct cursor *cursor, __be32 self,
							   struct tunnelled *packet)
{
	const struct iphdr *ip = take(cursor, sizeof(*ip));
	__u32 total;

	if (!ip || ip->protocol != IPPROTO_GRE || ip->daddr != self)
		return DECAP_untouched;
	if (ip->version != 4 || ip->ihl != 5 || (ip->frag_off & bpf_htons(IP_IS_FRAGMENT)))
		return DECAP_drop_outer;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip) || !narrow(cursor, total - sizeof(*ip)))
		return DECAP_drop_truncated;
	packet->source = ipv4_address(ip->saddr);
	packet->stamp = bpf_ntohs(ip->id);
	return PARSED;
}

static __always_inline enum decap_outcome parse_gre(struct cursor *cursor, struct tunnelled *packet)
{
	const struct gre_base *gre = take(cursor, sizeof(*gre));
	const __be32 *key;
	__u16 flags;

	if (!gre)
		return DECAP_drop_truncated;
	flags = bpf_ntohs(gre->flags);
	if (flags & GRE_REFUSED)
		return DECAP_drop_gre;
	packet->protocol = gre->protocol;
	packet->marked = flags & GRE_MARKED;
	packet->keyed = flags & GRE_KEYED;
	if (!packet->keyed)
		return PARSED;
	key = take(cursor, sizeof(*key));
	if (!key)
		return DECAP_drop_truncated;
	packet->key = bpf_ntohl(*key);
	return PARSED;
}

/* The destination port of TCP and UDP; other protocols have none. */
static __always_inline enum decap_outcome parse_ports(struct cursor *cursor, __u8 protocol,
						      struct tunnelled *packet)
{
	const __be16 *ports;

	if (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP)
		return PARSED;
	ports = take(cursor, 2 * sizeof(*ports));
	if (!ports)
		return DECAP_drop_truncated;
	packet->service.port = ports[1];
	packet->service.protocol = protocol;
	return PARSED;
}

static __always_inline enum decap_outcome parse_inner_ipv4(struct cursor *cursor, struct tunnelled *packet)
{
	const struct iphdr *ip = take(cursor, sizeof(*ip));
	__u32 header, total;

	if (!ip)
		return DECAP_drop_truncated;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header)
		return DECAP_drop_inner;
	if (!narrow(cursor, total - sizeof(*ip)))
		return DECAP_drop_truncated;
	packet->service.address = ipv4_address(ip->daddr);
	if (ip->frag_off & bpf_htons(IP_IS_FRAGMENT))
		return PARSED;
	cursor->at = (void *)ip + header; /* behind its options */
	barrier_var(cursor->at); /* else clang adds anew, and the verifier loses the checked bounds */
	cursor->left = total - header;
	return parse_ports(cursor, ip->protocol, packet);
}

static __always_inline enum decap_outcome parse_inner_ipv6(struct cursor *cursor, struct tunnelled *packet)
{
	const struct ipv6hdr *ip = take(cursor, sizeof(*ip));

	if (!ip)
		return DECAP_drop_truncated;
	if (ip->version != 6)
		return DECAP_drop_inner;
	if (!narrow(cursor, bpf_ntohs(ip->payload_len)))
		return DECAP_drop_truncated;
	packet->service.address = ipv6_address(&ip->daddr);
	return parse_ports(cursor, ip->nexthdr, packet);
}

static __always_inline enum decap_outcome parse_inner(struct cursor *cursor, struct tunnelled *packet)
{
	switch (packet->protocol) {
	case bpf_htons(ETH_P_IP):
		return parse_inner_ipv4(cursor, packet);
	case bpf_htons(ETH_P_IPV6):
		return parse_inner_ipv6(cursor, packet);
	default:
		return DECAP_drop_inner;
	}
}

#endif
