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
	__u16 row; /* of the backend's counter */
	__u16 stamp;
};

static __always_inline const struct bucket *find_place(__u64 current, __u32 bucket)
{
	__u32 base = current >> 32, number = base / TABLE_ROW;
	const struct table_row *row = bpf_map_lookup_elem(&tables, &number);

	return row ? &row->place[(base + bucket) & (TABLE_ROW - 1)] : NULL;
}

/* SYNs carry no key: a new flow belongs to the owner. */
static __always_inline __u32 alternates_key(const struct bucket *bucket, __u16 flags, bool is_syn)
{
	if (!bucket->first || is_syn || !(flags & BACKEND_AGENT))
		return 0;
	return bpf_htonl((__u32)bucket->first << 16 | bucket->second);
}

static __always_inline enum outcome find_way(const struct state *state, __u64 current, __u32 number,
					     bool is_syn, struct way *way)
{
	const struct bucket *found = find_place(current, number);
	struct bucket bucket;
	struct backend backend;
	__u64 word;

	if (!found)
		return OUTCOME_drop_inconsistent;
	word = READ_ONCE(*(const __u64 *)found);
	bucket = *(struct bucket *)&word;
	word = READ_ONCE(*(const __u64 *)&state->backend[bucket.owner]);
	backend = *(struct backend *)&word;
	if (!backend.row)
		return OUTCOME_drop_no_backend;
	if (!backend.tunnel)
		return OUTCOME_drop_no_next_hop;
	way->tunnel = &state->tunnel[backend.tunnel & (TUNNEL_PLACES - 1)];
	way->key = alternates_key(&bucket, backend.flags, is_syn);
	way->row = backend.row;
	way->stamp = current;
	return PARSED;
}

#endif
