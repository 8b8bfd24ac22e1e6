/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Push the outer header: Ethernet; IPv4 (never to be fragmented, the epoch's stamp as its ID: RFC 6864) or
 * IPv6 (the stamp in the flow label); GRE (RFC 2784; with a key RFC 2890). The inner packet is not touched.
 * The outer ECN field stays zero, the compatibility mode of RFC 6040: a backend need not look at it; the DSCP
 * is copied.
 */
#ifndef EVENKEEL_ENCAP_H
#define EVENKEEL_ENCAP_H

#include "parse.h"
#include "table.h"

#define GRE_SIZE 4
#define KEY_SIZE 4
#define GRE_KEY	 0x2000
#define HOPS	 64

struct gre_head {
	__be16 flags;
	__be16 protocol;
	__u32 key; /* only with GRE_KEY */
} __attribute__((packed));

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
	struct gre_head gre;
} __attribute__((packed));

struct outer_ipv6 {
	__u64 ethernet[2]; /* up to version, traffic class and the flow label's first bits */
	__be16 label;	   /* its last 16 bits */
	__be16 size;	   /* of what follows this header */
	__u8 protocol;
	__u8 hops;
	__u64 source[2];
	__u64 destination[2];
	struct gre_head gre;
} __attribute__((packed));

_Static_assert(offsetof(struct outer_ipv4, gre) == ETH_HLEN + sizeof(struct iphdr), "outer_ipv4");
_Static_assert(offsetof(struct outer_ipv6, gre) == ETH_HLEN + sizeof(struct ipv6hdr), "outer_ipv6");

/* Headers lie anywhere in a frame. Told nothing else, the compiler would write them byte by byte. */
#define WRITE(field, value) (*(typeof(field) *)(void *)&(field) = (value))

static __always_inline __u32 ip_size(__u8 family)
{
	return family == FAMILY_IP4 ? sizeof(struct iphdr) : sizeof(struct ipv6hdr);
}

static __always_inline __u32 sum_of(__u32 word)
{
	return (word & 0xffff) + (word >> 16);
}

static __always_inline __u16 fold(__u32 sum)
{
	return ~sum_of(sum_of(sum));
}

static __always_inline void write_gre(struct gre_head *gre, const struct packet *packet,
				      const struct way *way, __u32 key_size)
{
	WRITE(gre->flags, bpf_htons((key_size ? GRE_KEY : 0)) | way->marks);
	WRITE(gre->protocol, bpf_htons(packet->family == FAMILY_IP4 ? ETH_P_IP : ETH_P_IPV6));
	if (key_size)
		WRITE(gre->key, way->key);
}

static __always_inline void write_ipv4(struct outer_ipv4 *outer, const struct packet *packet,
				       const struct way *way, const struct address *source, __u32 key_size)
{
	const struct tunnel *tunnel = way->tunnel;
	__be16 size = bpf_htons(packet->size + sizeof(struct iphdr) + GRE_SIZE + key_size);
	__be16 id = bpf_htons(way->stamp);

	WRITE(outer->ethernet[0], tunnel->ethernet[0]);
	WRITE(outer->ethernet[1], tunnel->ethernet[1] | (__u64)packet->dscp << 56);
	WRITE(outer->size, size);
	WRITE(outer->id, id);
	WRITE(outer->fragment, bpf_htons(0x4000));
	outer->ttl = HOPS;
	outer->protocol = IPPROTO_GRE;
	WRITE(outer->checksum,
	      fold(tunnel->sum + (sum_of(source->word[3]) + size + id + (packet->dscp << 8))));
	WRITE(outer->source, source->word[3]);
	WRITE(outer->destination, tunnel->destination.word[3]);
	write_gre(&outer->gre, packet, way, key_size);
}

static __always_inline void write_ipv6(struct outer_ipv6 *outer, const struct packet *packet,
				       const struct way *way, const struct address *source, __u32 key_size)
{
	const struct tunnel *tunnel = way->tunnel;
	const __u64 *from = (const __u64 *)source, *to = (const __u64 *)&tunnel->destination;
	__u64 traffic_class = (__u64)(packet->dscp & 0xf) << 60 | (__u64)(packet->dscp >> 4) << 48;

	WRITE(outer->ethernet[0], tunnel->ethernet[0]);
	WRITE(outer->ethernet[1], tunnel->ethernet[1] | traffic_class);
	WRITE(outer->label, bpf_htons(way->stamp));
	WRITE(outer->size, bpf_htons(packet->size + GRE_SIZE + key_size));
	outer->protocol = IPPROTO_GRE;
	outer->hops = HOPS;
	WRITE(outer->source[0], from[0]);
	WRITE(outer->source[1], from[1]);
	WRITE(outer->destination[0], to[0]);
	WRITE(outer->destination[1], to[1]);
	write_gre(&outer->gre, packet, way, key_size);
}

/*
 * `family` and `key_size` are constants at every place of use: straight runs of code are faster than one that
 * asks.
 */
static __always_inline enum outcome push(struct xdp_md *ctx, const struct packet *packet, __u32 before,
					 const struct way *way, const struct address *source, __u8 family,
					 __u32 key_size)
{
	__u32 size = ip_size(family) + GRE_SIZE + key_size;
	void *outer;

	/* With a key or without one, the same packets fit: design.md §4. */
	if (packet->size + ip_size(family) + GRE_SIZE + KEY_SIZE > way->tunnel->mtu)
		return OUTCOME_drop_too_big;
	if (bpf_xdp_adjust_head(ctx, (int)before - (int)(ETH_HLEN + size)))
		return OUTCOME_drop_no_headroom;
	outer = (void *)(long)ctx->data;
	if (outer + ETH_HLEN + size > (void *)(long)ctx->data_end)
		return OUTCOME_drop_inconsistent;
	if (family == FAMILY_IP4)
		write_ipv4(outer, packet, way, source, key_size);
	else
		write_ipv6(outer, packet, way, source, key_size);
	return key_size ? OUTCOME_forwarded_keyed : OUTCOME_forwarded;
}

static __always_inline enum outcome encapsulate_in(struct xdp_md *ctx, const struct packet *packet,
						   __u32 before, const struct way *way,
						   const struct address *source, __u8 family)
{
	if (way->key)
		return push(ctx, packet, before, way, source, family, KEY_SIZE);
	/* Keeps the compiler from merging the two. */
	asm volatile("");
	return push(ctx, packet, before, way, source, family, 0);
}

/* The largest packet that fits, the key always counted. */
static __always_inline __u32 find_room(const struct way *way)
{
	return way->tunnel->mtu - (ip_size(way->family) + GRE_SIZE + KEY_SIZE);
}

/* The outer header stands where `before` bytes stood in front of the inner packet. */
static __always_inline enum outcome encapsulate(struct xdp_md *ctx, const struct packet *packet, __u32 before,
						const struct way *way, const struct address *source)
{
	if (way->family == FAMILY_IP6)
		return encapsulate_in(ctx, packet, before, way, source, FAMILY_IP6);
	asm volatile("");
	return encapsulate_in(ctx, packet, before, way, source, FAMILY_IP4);
}

#endif
