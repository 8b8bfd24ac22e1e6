/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Is this packet for a VIP? One multiply-add hash, one displacement, one comparison: user space chose the
 * displacements so that no two keys share a place (hash and displace: Belazzougui, Botelho, Dietzfelbinger,
 * 2009).
 */
#ifndef EVENKEEL_VIP_H
#define EVENKEEL_VIP_H

#include "parse.h"

#define GROUP_SHIFT 48 /* these bits of the hash choose the displacement, */
#define PLACE_SHIFT 32 /* and these the place */

static __always_inline bool same_address(const struct address *one, const struct address *other)
{
	const __u64 *left = (const __u64 *)one, *right = (const __u64 *)other;

	return ((left[0] ^ right[0]) | (left[1] ^ right[1])) == 0;
}

static __always_inline const struct vip *find_key(const struct directory *directory,
						  const struct address *address, __u32 key)
{
	const __u64 *seed = directory->seed;
	__u64 hash = seed[0] + seed[1] * address->word[0] + seed[2] * address->word[1] +
		     seed[3] * address->word[2] + seed[4] * address->word[3] + seed[5] * key;
	__u64 mask = directory->mask & (VIP_PLACES - 1);
	__u64 place = (hash >> PLACE_SHIFT) + directory->displacement[hash >> GROUP_SHIFT & mask];
	const struct vip *vip = &directory->place[place & mask];

	SETTLE(vip);
	return vip->key == key && same_address(&vip->address, address) ? vip : NULL;
}

/* The VIP of a packet; for a fragment the entry that takes all fragments of this address and protocol. */
static __always_inline const struct vip *find_vip(const struct state *state, const struct packet *packet)
{
	const struct directory *directory = &state->vips[READ_ONCE(state->control.directory) & 1];
	__u32 key = packet->is_fragment ? VIP_FRAGMENTS : packet->ports >> 16;

	SETTLE(directory);
	key |= packet->protocol << VIP_PROTOCOL_SHIFT | (__u32)packet->family << VIP_FAMILY_SHIFT;
	return find_key(directory, &packet->destination, key);
}

/* The entry of a packet's destination, when that is one of our addresses. */
static __always_inline const struct vip *find_ours(const struct state *state, const struct packet *packet)
{
	const struct directory *directory = &state->addresses[READ_ONCE(state->control.directory) & 1];

	return find_key(directory, &packet->destination, (__u32)packet->family << VIP_FAMILY_SHIFT);
}

#endif
