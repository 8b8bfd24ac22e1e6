/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The second way to a VIP, for what is for none of one address and port: VIPs of whole prefixes, of ranges of
 * ports and of any port; and whether an address is ours at all. Prefixes lie in a directory like VIPs, under
 * their length; the lengths in use are tried from the longest. A prefix's ports are cut into stretches, so
 * that a binary search tells whose a port is (docs/adr/0018-vip-kinds.md).
 */
#ifndef EVENKEEL_PREFIX_H
#define EVENKEEL_PREFIX_H

#include "maps.h"
#include "vip.h"

#define STRETCH_STEPS 13 /* halvings from STRETCHES to one */

_Static_assert(STRETCHES == 1 << STRETCH_STEPS, "steps");

static __always_inline const struct prefix_length *lengths_of(const struct prefixes *prefixes, __u32 family)
{
	return family == FAMILY_IP4 ? prefixes->ipv4 : prefixes->ipv6;
}

/* Does a prefix of ours of this length hold the address? `place` is where it lies, or would. */
static __always_inline bool is_in_length(const struct prefixes *prefixes, const struct prefix_length *length,
					 const struct address *address, __u32 *place)
{
	const struct directory *directory = &prefixes->directory;
	struct address masked;

	SETTLE(directory); /* else clang has four pointers into it on the stack */
	for (int word = 0; word < 4; word++)
		masked.word[word] = address->word[word] & length->mask.word[word];
	*place = place_of(directory, &masked, length->key);
	return holds(&directory->place[*place], &masked, length->key);
}

/*
 * Where the longest prefix of ours lies that holds the address, and one more; 0: there is none. Global, like
 * find_range(): the verifier looks at the loop once, and not once for each way that leads there.
 */
__noinline int find_longest(const struct address *address, __u32 family, __u32 half)
{
	const struct prefix_length *length;
	const struct prefixes *prefixes;
	__u32 zero = 0;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);

	if (!state || !address)
		return 0;
	prefixes = &state->prefixes[half & 1];
	length = lengths_of(prefixes, family);
	for (int i = 0; i < PREFIX_LENGTHS && length[i].key; i++) {
		__u32 place;

		if (is_in_length(prefixes, &length[i], address, &place))
			return place + 1;
	}
	return 0;
}

/* Is the address one of ours? Without a call where all prefixes of its family are single addresses. */
static __always_inline bool is_served(const struct state *state, const struct packet *packet)
{
	__u32 half = READ_ONCE(state->control.directory) & 1;
	const struct prefixes *prefixes = &state->prefixes[half];
	const struct prefix_length *length = lengths_of(prefixes, packet->family);
	/* A copy: else all packets would need theirs on the stack. */
	struct address address = packet->destination;
	__u32 place;

	if (!length->key)
		return false;
	if (is_in_length(prefixes, length, &address, &place))
		return true;
	return length[1].key && find_longest(&address, packet->family, half);
}

static __always_inline const struct vip *prefix_at(const struct state *state, __u32 half, __u32 place)
{
	return &state->prefixes[half & 1].directory.place[place & (VIP_PLACES - 1)];
}

/* The longest prefix of ours that holds the address: the address itself, where it is one of a VIP. */
static __always_inline const struct vip *find_prefix(const struct state *state, __u32 half,
						     const struct address *address, __u32 family)
{
	__u32 place = find_longest(address, family, half);

	return place ? prefix_at(state, half, place - 1) : NULL;
}

/* Whose the key is among `count` stretches from `at`: the VIP's number and one more; 0: nobody's. */
__noinline int find_range(__u32 at, __u32 count, __u32 key, __u32 half)
{
	const struct prefixes *prefixes;
	const struct stretch *stretch;
	__u32 zero = 0;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);

	if (!state || !count)
		return 0;
	prefixes = &state->prefixes[half & 1];
	for (int i = 0; i < STRETCH_STEPS && count > 1; i++) {
		__u32 middle = (at + count / 2) & (STRETCHES - 1);

		if (prefixes->stretch[middle].first <= key)
			at = middle;
		count -= count / 2;
	}
	stretch = &prefixes->stretch[at & (STRETCHES - 1)];
	return stretch->first <= key && key <= stretch->last ? stretch->vip + 1 : 0;
}

/* The part of a flow's hash that its destination makes: that of a VIP of one address is known beforehand. */
static __always_inline __u64 hash_destination(const struct pool *pool, const struct address *to)
{
	if (pool->flags & POOL_BY_SOURCE)
		return 0;
	return pool->key[5] * to->word[0] + pool->key[6] * to->word[1] + pool->key[7] * to->word[2] +
	       pool->key[8] * to->word[3];
}

static __always_inline __u32 stretch_key(const struct packet *packet)
{
	__u32 port = packet->is_fragment ? STRETCH_FRAGMENTS : bpf_ntohs(packet->ports >> 16);

	return packet->protocol << STRETCH_PROTOCOL_SHIFT | port;
}

/*
 * The VIP of many addresses or ports that takes the packet, NULL when there is none; the packet learns what
 * its destination adds to the hash. `prefix` is the longest that holds it.
 */
static __always_inline const struct vip *find_wide(const struct state *state, __u32 half,
						   const struct vip *prefix, struct packet *packet)
{
	__u32 number = find_range(prefix->row, prefix->size, stretch_key(packet), half);
	const struct vip *vip;

	if (!number)
		return NULL;
	vip = &state->prefixes[half].vip[(number - 1) & (VIP_PLACES - 1)];
	packet->hash = hash_destination(&state->pool[vip->pool & (POOL_PLACES - 1)], &packet->destination);
	return vip;
}

#endif
