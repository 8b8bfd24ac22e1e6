/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who may send to this backend. All members lie in a hash map; most of them, the agent sees to it, lie also
 * where their address alone leads, and are found there in a fifth of the time (docs/adr/0030).
 */
#ifndef EVENKEEL_DECAP_MEMBER_H
#define EVENKEEL_DECAP_MEMBER_H

#include <bpf/bpf_helpers.h>

#include "decap_maps.h"

/* The one place among the near members where an address can lie. */
static __always_inline __u32 near_place(const struct address *address)
{
	const __u32 *word = address->word;

	return ((word[0] ^ word[1] ^ word[2] ^ word[3]) * 0x9e3779b1u) >> (32 - NEAR_BITS);
}

/* Word by word, as the parser wrote them: a load that spans two stores stalls. */
static __always_inline bool same_sender(const struct sender *one, const struct sender *other)
{
	const __u32 *left = one->address.word, *right = other->address.word;

	return ((left[0] ^ right[0]) | (left[1] ^ right[1]) | (left[2] ^ right[2]) | (left[3] ^ right[3]) |
		(one->family ^ other->family)) == 0;
}

/* The sender's enum member_kind; 0: it is no member. */
static __always_inline __u32 find_member(const struct sender *sender)
{
	__u32 zero = 0;
	const struct agent *agent = bpf_map_lookup_elem(&agent_state, &zero);
	const struct member *near;
	const __u32 *kind;

	if (!agent)
		return 0;
	near = &agent->near[near_place(&sender->address)];
	if (same_sender(&near->sender, sender))
		return near->kind;
	kind = bpf_map_lookup_elem(&sources, sender);
	return kind ? *kind : 0;
}

#endif
