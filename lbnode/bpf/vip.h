/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Is this packet for a VIP of one address and port? One multiply-add hash, one displacement, one comparison:
 * user space chose the displacements so that no two keys share a place (hash and displace: Belazzougui,
 * Botelho, Dietzfelbinger, 2009).
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

static __always_inline bool holds(const struct vip *vip, const struct address *address, __u32 key)
{
	return vip->key == key && same_address(&vip->address, address);
}

/* The only place where the key can lie. */
static __always_inline __u32 place_of(const struct directory *directory, const struct address *address,
				      __u32 key)
{
	const __u64 *seed = directory->seed;
	__u64 hash = seed[0] + seed[1] * address->word[0] + seed[2] * address->word[1] +
		     seed[3] * address->word[2] + seed[4] * address->word[3] + seed[5] * key;
	__u64 mask = directory->mask & (VIP_PLACES - 1);

	return ((hash >> PLACE_SHIFT) + directory->displacement[hash >> GROUP_SHIFT & mask]) & mask;
}

static __always_inline const struct vip *find_key(const struct directory *directory,
						  const struct address *address, __u32 key)
{
	const struct vip *vip = &directory->place[place_of(directory, address, key)];

	SETTLE(vip);
	return holds(vip, address, key) ? vip : NULL;
}

/* The VIP of the packet's address and port; for a fragment, what takes all of this address and protocol. */
static __always_inline const struct vip *find_exact(const struct directory *directory,
						    const struct packet *packet)
{
	__u32 key = packet->is_fragment ? VIP_FRAGMENTS : packet->ports >> 16;

	SETTLE(directory);
	key |= packet->protocol << VIP_PROTOCOL_SHIFT | (__u32)packet->family << VIP_FAMILY_SHIFT;
	return find_key(directory, &packet->destination, key);
}

static __always_inline const struct vip *find_vip(const struct state *state, const struct packet *packet)
{
	return find_exact(&state->vips[READ_ONCE(state->control.directory) & 1], packet);
}

#endif
