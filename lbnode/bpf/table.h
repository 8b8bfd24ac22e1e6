/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a bucket to the backend that serves it, and the way there. */
#ifndef EVENKEEL_TABLE_H
#define EVENKEEL_TABLE_H

#include "maps.h"
#include "parse.h"

/* Where a packet goes. */
struct way {
	const struct tunnel *tunnel;
	__u32 key; /* alternates, as in the GRE header; 0: the packet carries none */
	__u16 stamp;
	__be16 marks; /* more of GRE's flags */
	__u8 family;  /* of the outer header */
};

/* Of the outer headers that a pool's packets get. */
static __always_inline __u8 tunnel_family(__u64 current)
{
	return current & CURRENT_TUNNEL_IPV6 ? FAMILY_IP6 : FAMILY_IP4;
}

static __always_inline const struct tunnels *find_tunnels(const struct state *state, __u64 current)
{
	__u32 half = READ_ONCE(state->control.tunnels) & 1;
	__u32 element = half + (current & CURRENT_TUNNEL_IPV6 ? TUNNELS_IPV6 : 0);

	return bpf_map_lookup_elem(&tunnels, &element);
}

static __always_inline const struct bucket *find_place(__u64 current, __u32 bucket)
{
	__u32 base = current >> 32, number = base / TABLE_ROW, at = base % TABLE_ROW + bucket;
	const struct table_row *row;

	/* Only of tables larger than a row: a guess of the processor's, so that the others' row is known
	 * before the bucket is. */
	if (at >= TABLE_ROW)
		number += at / TABLE_ROW;
	row = bpf_map_lookup_elem(&tables, &number);
	return row ? &row->place[at & (TABLE_ROW - 1)] : NULL;
}

/* SYNs carry no key: a new flow belongs to the owner. */
static __always_inline __u32 alternates_key(struct bucket bucket, const struct tunnel *tunnel, bool is_syn)
{
	if (!bucket.first || is_syn || !(tunnel->flags & TUNNEL_AGENT))
		return 0;
	return bpf_htonl((__u32)bucket.first << 16 | bucket.second);
}

static __always_inline struct bucket load_bucket(const struct bucket *place)
{
	__u64 word = READ_ONCE(*(const __u64 *)place);

	return *(struct bucket *)&word;
}

#define WAY_FOUND OUTCOME_COUNT /* no outcome yet: go on */

static __always_inline enum outcome find_way(const struct tunnels *tunnels, struct bucket bucket, bool is_syn,
					     struct way *way)
{
	const struct tunnel *tunnel = &tunnels->backend[bucket.owner];

	SETTLE(tunnel);
	if (!tunnel->row)
		return OUTCOME_drop_no_backend;
	if (!(tunnel->flags & TUNNEL_NEXT_HOP))
		return OUTCOME_drop_no_next_hop;
	way->tunnel = tunnel;
	way->key = alternates_key(bucket, tunnel, is_syn);
	return WAY_FOUND;
}

#endif
