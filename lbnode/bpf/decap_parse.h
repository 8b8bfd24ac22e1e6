/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Parsers of what comes out of a tunnel: each takes the headers of one layer off the cursor and says what
 * became of the packet, where DECAP_PARSED means "go on". IP and the transport are read by parse.h, outside
 * and inside.
 */
#ifndef EVENKEEL_DECAP_PARSE_H
#define EVENKEEL_DECAP_PARSE_H

#include "count.h"
#include "decap_gre.h"
#include "decap_maps.h"
#include "fragment.h"
#include "vip.h"

#define DECAP_PARSED DECAP_OUTCOME_COUNT

static __always_inline struct address own_address(__u8 family)
{
	const volatile struct address *own = family == FAMILY_IP4 ? &own_ipv4 : &own_ipv6;

	return (struct address){{own->word[0], own->word[1], own->word[2], own->word[3]}};
}

static __always_inline bool is_own(const struct packet *outer)
{
	struct address own, nowhere = {};

	if (outer->family == FAMILY_IP4)
		return own_ipv4.word[3] && outer->destination.word[3] == own_ipv4.word[3];
	own = own_address(outer->family);
	return same_address(&outer->destination, &own) && !same_address(&own, &nowhere);
}

/* Nodes and backends send neither options nor extension headers. */
static __always_inline bool is_plain(const struct packet *outer)
{
	if (outer->family == FAMILY_IP4)
		return ((const struct iphdr *)outer->ip)->ihl == 5;
	return ((const struct ipv6hdr *)outer->ip)->nexthdr == IPPROTO_GRE;
}

static __always_inline __u16 stamp_of(const struct packet *outer)
{
	if (outer->family == FAMILY_IP4)
		return bpf_ntohs(((const struct iphdr *)outer->ip)->id);
	return bpf_ntohs(*(const __be16 *)&((const struct ipv6hdr *)outer->ip)->flow_lbl[1]);
}

/* Only GRE towards this backend is ours; all else, and what is too short to tell, goes on as it came. */
static __always_inline enum decap_outcome parse_outer(struct cursor *cursor, __u8 family,
						      struct tunnelled *packet)
{
	struct packet outer;
	enum fault fault = parse_ip(cursor, family, &outer);

	if (fault == FAULT_CUT || fault == FAULT_MALFORMED || outer.protocol != IPPROTO_GRE ||
	    !is_own(&outer))
		return DECAP_untouched;
	if (outer.is_fragment || !is_plain(&outer))
		return DECAP_drop_outer;
	if (fault != PARSED)
		return DECAP_drop_truncated;
	packet->sender = (struct sender){outer.source, family};
	packet->stamp = stamp_of(&outer);
	packet->outer_size = ip_size(family);
	return DECAP_PARSED;
}

static __always_inline enum decap_outcome parse_gre(struct cursor *cursor, struct tunnelled *packet)
{
	const struct gre_head *gre = take(cursor, GRE_SIZE);
	const __be32 *key;
	__u16 flags;

	if (!gre)
		return DECAP_drop_truncated;
	flags = bpf_ntohs(gre->flags);
	if (flags & GRE_REFUSED)
		return DECAP_drop_gre;
	packet->protocol = gre->protocol;
	packet->flags = flags;
	packet->outer_size += GRE_SIZE;
	packet->key = 0;
	if (!(flags & GRE_KEY))
		return DECAP_PARSED;
	key = take(cursor, KEY_SIZE);
	if (!key)
		return DECAP_drop_truncated;
	packet->key = bpf_ntohl(*key);
	packet->outer_size += KEY_SIZE;
	return DECAP_PARSED;
}

static __always_inline enum decap_outcome judge_inner(enum fault fault)
{
	switch (fault) {
	case PARSED:
		return DECAP_PARSED;
	case FAULT_MALFORMED:
		return DECAP_drop_inner;
	case FAULT_MANY_HEADERS:
		return DECAP_drop_extensions;
	default:
		return DECAP_drop_truncated;
	}
}

/* Only TCP is passed on, and so only its fragments need to be told apart. */
static __always_inline void show_head(struct xdp_md *ctx, struct cpu_counts *counts, struct tunnelled *packet)
{
	enum head_source source;

	if (!second_chance || !packet->inner.is_fragment || packet->inner.protocol != IPPROTO_TCP)
		return;
	source = lend_head(ctx, &packet->inner);
	if (source != HEAD_UNKNOWN)
		count(counts, source == HEAD_SHOWN ? DECAP_fragment_recorded : DECAP_fragment_followed, 0);
}

static __always_inline enum decap_outcome parse_as(struct cursor *cursor, struct cpu_counts *counts,
						   __u8 family, struct tunnelled *packet)
{
	enum fault fault = parse_ip(cursor, family, &packet->inner);

	if (fault == PARSED)
		show_head(cursor->ctx, counts, packet);
	return judge_inner(fault);
}

static __always_inline enum decap_outcome parse_inner(struct cursor *cursor, struct cpu_counts *counts,
						      struct tunnelled *packet)
{
	switch (family_of(packet->protocol)) {
	case FAMILY_IP4:
		return parse_as(cursor, counts, FAMILY_IP4, packet);
	case FAMILY_IP6:
		return parse_as(cursor, counts, FAMILY_IP6, packet);
	default:
		return DECAP_drop_inner;
	}
}

#endif
