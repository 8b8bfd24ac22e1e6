/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The second chance: what a backend does with a packet that a member sent it, in the order of design.md §5.
 * As yet every packet for a VIP is delivered and the outcome tells the cases apart; the steps that pass a
 * packet on to the next alternate come between the steady state and the delivery.
 */
#ifndef EVENKEEL_DECAP_CHANCE_H
#define EVENKEEL_DECAP_CHANCE_H

#include "decap_gre.h"
#include "decap_maps.h"

static __always_inline enum decap_outcome decide(const struct tunnelled *packet)
{
	struct decap_service address = {.address = packet->service.address};
	const struct decap_membership *membership = NULL;

	if (packet->service.protocol)
		membership = bpf_map_lookup_elem(&services, &packet->service);
	if (!membership)
		return bpf_map_lookup_elem(&services, &address) ? DECAP_delivered_portless
								: DECAP_drop_not_vip;
	if (packet->marked)
		return DECAP_delivered_marked;
	if (packet->keyed)
		return DECAP_delivered_keyed;
	if (packet->stamp == membership->stamp)
		return DECAP_delivered_in_sync;
	return DECAP_delivered_other_epoch;
}

#endif
