/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Parsers of what comes out of a tunnel: each takes the headers of one layer off the span and says what
 * became of the packet, where DECAP_PARSED means "go on". Nothing is read before its bounds were checked, and
 * no layer reaches beyond what the layer around it says that there is.
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
#include "decap_layout.h"

#define DECAP_PARSED   DECAP_OUTCOME_COUNT
#define IP_IS_FRAGMENT (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)
#define FAMILY_IP6     6

struct span {
	void *at;
	void *end;
	__u32 left; /* bytes that the layer above says are left; the frame may be longer (padding) */
};

/* The next `size` bytes, or NULL when the packet or the layer above ends before. */
static __always_inline void *take_from(struct span *span, __u32 size)
{
	void *header = span->at;

	if (span->left < size || header + size > span->end)
		return NULL;
	span->at = header + size;
	span->left -= size;
	return header;
}

/* A header says that `size` bytes follow it: believe it when they are there, and forget what comes after
 * them. */
static __always_inline bool narrow(struct span *span, __u32 size)
{
	if (size > span->left)
		return false;
	span->left = size;
	return true;
}

static __always_inline struct address ipv4_address(__be32 address)
{
	return (struct address){.word = {0, 0, 0, address}};
}

static __always_inline struct address ipv6_address(const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;

	return (struct address){.word = {word[0], word[1], word[2], word[3]}};
}

/* Only GRE towards `self` is ours; all else, and what is too short to tell, goes on as it came. */
static __always_inline enum decap_outcome parse_outer_ipv4(struct span *span, __be32 self,
							   struct tunnelled *packet)
{
	const struct iphdr *ip = take_from(span, sizeof(*ip));
	__u32 total;

	if (!ip || ip->protocol != IPPROTO_GRE || ip->daddr != self)
		return DECAP_untouched;
	if (ip->version != 4 || ip->ihl != 5 || (ip->frag_off & bpf_htons(IP_IS_FRAGMENT)))
		return DECAP_drop_outer;
	total = bpf_ntohs(ip->tot_len);
	if (total < sizeof(*ip) || !narrow(span, total - sizeof(*ip)))
		return DECAP_drop_truncated;
	packet->sender = ip->saddr;
	packet->stamp = bpf_ntohs(ip->id);
	return DECAP_PARSED;
}

static __always_inline enum decap_outcome parse_gre(struct span *span, struct tunnelled *packet)
{
	const struct gre_base *gre = take_from(span, sizeof(*gre));
	const __be32 *key;
	__u16 flags;

	if (!gre)
		return DECAP_drop_truncated;
	flags = bpf_ntohs(gre->flags);
	if (flags & GRE_REFUSED)
		return DECAP_drop_gre;
	packet->protocol = gre->protocol;
	packet->is_marked = flags & GRE_MARK;
	packet->is_settled = flags & GRE_SETTLED;
	packet->is_keyed = flags & GRE_KEY;
	packet->outer_size = OUTER_SIZE;
	packet->key = 0;
	if (!packet->is_keyed)
		return DECAP_PARSED;
	key = take_from(span, sizeof(*key));
	if (!key)
		return DECAP_drop_truncated;
	packet->key = bpf_ntohl(*key);
	packet->outer_size = OUTER_SIZE + KEY_SIZE;
	return DECAP_PARSED;
}

/* What the flow is known by; protocols other than TCP and UDP have no ports. */
static __always_inline enum decap_outcome parse_transport_of(struct span *span, struct tunnelled *packet)
{
	struct packet *inner = &packet->inner;

	if (inner->protocol == IPPROTO_TCP) {
		const struct tcp_head *tcp = take_from(span, TCP_SIZE);

		if (!tcp)
			return DECAP_drop_truncated;
		inner->ports = *(const __u32 *)tcp;
		inner->is_syn = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
		packet->tcp = tcp;
		packet->has_ports = true;
	} else if (inner->protocol == IPPROTO_UDP) {
		const struct udphdr *udp = take_from(span, sizeof(*udp));

		if (!udp)
			return DECAP_drop_truncated;
		inner->ports = *(const __u32 *)udp;
		packet->has_ports = true;
	}
	return DECAP_PARSED;
}

static __always_inline enum decap_outcome parse_inner_ipv4(struct span *span, struct tunnelled *packet)
{
	const struct iphdr *ip = take_from(span, sizeof(*ip));
	struct packet *inner = &packet->inner;
	__u32 header, total;

	if (!ip)
		return DECAP_drop_truncated;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header)
		return DECAP_drop_inner;
	if (!narrow(span, total - sizeof(*ip)))
		return DECAP_drop_truncated;
	packet->ip = ip;
	inner->family = FAMILY_IP4;
	inner->source = ipv4_address(ip->saddr);
	inner->destination = ipv4_address(ip->daddr);
	inner->protocol = ip->protocol;
	inner->dscp = ip->tos & 0xfc;
	inner->size = total;
	inner->is_fragment = ip->frag_off & bpf_htons(IP_IS_FRAGMENT);
	if (inner->is_fragment)
		return DECAP_PARSED;
	if (header != sizeof(*ip)) {
		span->at = (void *)ip + header; /* behind its options */
		SETTLE(span->at); /* else clang adds anew, and the verifier loses the checked bounds */
		span->left = total - header;
	}
	return parse_transport_of(span, packet);
}

static __always_inline enum decap_outcome parse_inner_ipv6(struct span *span, struct tunnelled *packet)
{
	const struct ipv6hdr *ip = take_from(span, sizeof(*ip));
	struct packet *inner = &packet->inner;

	if (!ip)
		return DECAP_drop_truncated;
	if (ip->version != 6)
		return DECAP_drop_inner;
	if (!narrow(span, bpf_ntohs(ip->payload_len)))
		return DECAP_drop_truncated;
	packet->ip = ip;
	inner->family = FAMILY_IP6;
	inner->source = ipv6_address(&ip->saddr);
	inner->destination = ipv6_address(&ip->daddr);
	inner->protocol = ip->nexthdr;
	inner->dscp = (ip->priority << 4 | ip->flow_lbl[0] >> 4) & 0xfc;
	inner->size = sizeof(*ip) + bpf_ntohs(ip->payload_len);
	inner->is_fragment = false;
	return parse_transport_of(span, packet);
}

static __always_inline enum decap_outcome parse_inner(struct span *span, struct tunnelled *packet)
{
	packet->has_ports = false;
	packet->tcp = NULL;
	packet->inner.ports = 0;
	packet->inner.is_syn = false;
	switch (packet->protocol) {
	case bpf_htons(ETH_P_IP):
		return parse_inner_ipv4(span, packet);
	case bpf_htons(ETH_P_IPV6):
		return parse_inner_ipv6(span, packet);
	default:
		return DECAP_drop_inner;
	}
}

#endif
