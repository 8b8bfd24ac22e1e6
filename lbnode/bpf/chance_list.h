/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whom to ask next. A list is up to three backends' ids in one word, the first in the lowest 16 bits (as a
 * bucket lies in memory: owner, first, second); 0 is none. It only ever gets shorter: that is why no packet
 * circles.
 */
#ifndef EVENKEEL_CHANCE_LIST_H
#define EVENKEEL_CHANCE_LIST_H

#include <bpf/bpf_endian.h>

#include "count.h"
#include "decap_layout.h"
#include "table.h"

#define LIST_PLACES 3
#define ID_BITS	    16
#define ADDED_SHIFT (2 * ID_BITS) /* a key has two places: whoever knows more may add to its list */

static __always_inline __u64 list_of_key(__u32 key)
{
	return key >> ID_BITS | (__u64)(key & 0xffff) << ID_BITS;
}

static __always_inline bool is_listed(__u64 list, __u32 id)
{
	return (list & 0xffff) == id || (list >> ID_BITS & 0xffff) == id || list >> 2 * ID_BITS == id;
}

/* A list of two places as a GRE key, without this backend and without gaps. */
static __always_inline __be32 key_of(__u64 list, __u32 self)
{
	__u32 first = list & 0xffff, second = list >> ID_BITS & 0xffff;

	if (second == self || second == first)
		second = 0;
	if (!first || first == self) {
		first = second;
		second = 0;
	}
	return bpf_htonl(first << ID_BITS | second);
}

/* What a list says of whom to ask next. */
enum next {
	NEXT_NOBODY,
	NEXT_FOUND,
	NEXT_LOST, /* somebody is left whom nobody can ask now: what it may hold must not be answered for it
		    */
};

/* The tunnel to a backend in a list; NULL, and counted, for this one and for one that is no member. */
static __always_inline const struct tunnel *find_tunnel(const struct tunnels *tunnels,
							struct cpu_counts *counts, __u32 id, __u32 self)
{
	const struct tunnel *tunnel;

	if (id == self) {
		count(counts, DECAP_skipped_self, 0);
		return NULL;
	}
	barrier_var(id); /* or the compiler leaves the mask out, which the verifier of Linux 6.1 misses */
	tunnel = &tunnels->backend[id & (BACKEND_PLACES - 1)];
	if (!tunnel->row) {
		count(counts, DECAP_skipped_unknown, 0);
		return NULL;
	}
	return tunnel;
}

/*
 * Sets the way to the next backend in `list`, the key to the others in it. Put off, whatever its place: one
 * without the agent, which cannot pass a packet on, and one to which no way is known from here; the next may
 * know one.
 */
static __always_inline enum next find_next(const struct tunnels *tunnels, struct cpu_counts *counts,
					   __u64 list, __u32 self, struct way *way)
{
	const struct tunnel *last = NULL;
	__u64 put_off = 0;
	bool is_lost = false;

	way->key = 0;
	for (int i = 0; i < LIST_PLACES; i++, list >>= ID_BITS) {
		__u32 id = list & 0xffff;
		const struct tunnel *tunnel = id ? find_tunnel(tunnels, counts, id, self) : NULL;

		if (!tunnel)
			continue;
		if (!(tunnel->flags & TUNNEL_NEXT_HOP)) {
			count(counts, DECAP_put_off, 0);
			is_lost = true;
		} else if (tunnel->flags & TUNNEL_AGENT) {
			way->tunnel = tunnel;
			way->key = key_of(put_off | list >> ID_BITS << i * ID_BITS, self);
			return NEXT_FOUND;
		} else if (!last) {
			last = tunnel;
		}
		put_off |= (__u64)id << i * ID_BITS;
	}
	if (is_lost)
		return NEXT_LOST;
	way->tunnel = last;
	return last ? NEXT_FOUND : NEXT_NOBODY;
}

#endif
