/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Push the outer header: Ethernet, IPv4 (never to be fragmented, the epoch's stamp as its ID: RFC 6864), GRE
 * (RFC 2784; with a key RFC 2890). The inner packet is not touched. The outer ECN field stays zero, the
 * compatibility mode of RFC 6040: a backend need not look at it; the DSCP is copied.
 */
#ifndef EVENKEEL_ENCAP_H
#define EVENKEEL_ENCAP_H

#include "parse.h"
#include "table.h"

#define KEY_SIZE   4
#define OUTER_SIZE (sizeof(struct iphdr) + 4) /* without key */

struct outer_ipv4 {
	__u64 ethernet[2]; /* up to version, header length and type of service */
	__be16 size;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__u16 checksum;
	__u32 source;
	__u32 destination;
	__be16 gre_flags;
	__be16 gre_protocol;
	__u32 gre_key; /* only with GRE_KEY */
} __attribute__((packed));

_Static_assert(sizeof(struct outer_ipv4) == ETH_HLEN + OUTER_SIZE + KEY_SIZE, "outer_ipv4");

#define GRE_KEY 0x2000

static __always_inline __u32 sum_of(__u32 word)
{
	return (word & 0xffff) + (word >> 16);
}

static __always_inline __u16 fold(__u32 sum)
{
	return ~sum_of(sum_of(sum));
}

static __always_inline void write_outer(struct outer_ipv4 *outer, const struct packet *packet,
					const struct way *way, const struct address *source, __u32 outer_size)
{
	const struct tunnel *tunnel = way->tunnel;
	__be16 size = bpf_htons(packet->size + outer_size);
	__be16 id = bpf_htons(way->stamp);

	outer->ethernet[0] = tunnel->ethernet[0];
	outer->ethernet[1] = tunnel->ethernet[1] | (__u64)packet->dscp << 56;
	outer->size = size;
	outer->id = id;
	outer->fragment = bpf_htons(0x4000);
	outer->ttl = 64;
	outer->protocol = IPPROTO_GRE;
	outer->checksum = fold(tunnel->sum + (sum_of(source->word[3]) + size + id + (packet->dscp << 8)));
	outer->source = source->word[3];
	outer->destination = tunnel->destination.word[3];
	outer->gre_flags = outer_size == OUTER_SIZE ? 0 : bpf_htons(GRE_KEY);
	outer->gre_protocol = bpf_htons(packet->family == FAMILY_IP4 ? ETH_P_IP : ETH_P_IPV6);
	if (outer_size != OUTER_SIZE)
		outer->gre_key = way->key;
}

/* `outer_size` is a constant at both places of use: two straight runs of code are faster than one that asks.
 */
static __always_inline enum outcome push(struct xdp_md *ctx, const struct packet *packet,
					 const struct way *way, const struct address *source,
					 __u32 outer_size, enum outcome done)
{
	__u64 link = packet->ip - (void *)(long)ctx->data; /* with the tags, which end here */
	struct outer_ipv4 *outer;

	if (packet->size + outer_size > way->tunnel->mtu)
		return OUTCOME_drop_too_big;
	if (bpf_xdp_adjust_head(ctx, (int)link - (int)(ETH_HLEN + outer_size)))
		return OUTCOME_drop_no_headroom;
	outer = (void *)(long)ctx->data;
	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return OUTCOME_drop_inconsistent;
	write_outer(outer, packet, way, source, outer_size);
	return done;
}

static __always_inline enum outcome encapsulate(struct xdp_md *ctx, const struct packet *packet,
						const struct way *way, const struct address *source)
{
	if (way->key)
		return push(ctx, packet, way, source, OUTER_SIZE + KEY_SIZE, OUTCOME_forwarded_keyed);
	/* Keeps the compiler from merging the two. */
	asm volatile("");
	return push(ctx, packet, way, source, OUTER_SIZE, OUTCOME_forwarded);
}

#endif
