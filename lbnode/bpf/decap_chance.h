/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The second chance: what a backend does with a packet that a member sent it, in the order of design.md §5.
 * Nothing is remembered from one packet to the next. lbnode/dataplane/backend_model.py says the same in
 * Python.
 */
#ifndef EVENKEEL_DECAP_CHANCE_H
#define EVENKEEL_DECAP_CHANCE_H

#include "chance_list.h"
#include "chance_socket.h"
#include "decap_gre.h"
#include "decap_maps.h"
#include "hash.h"
#include "prefix.h"
#include "quic.h"
#include "quote.h"
#include "table.h"

/* All that a decision looks at besides the packet. */
struct world {
	const struct state *state;
	struct cpu_counts *counts;
	const struct vip *vip;
	const struct pool *pool;
	__u64 current; /* my epoch's table and stamp; 0: none is loaded */
};

/* The list that my own epoch has for the packet: its owner, then the alternates. */
static __always_inline __u64 own_list(const struct world *world, const struct tunnelled *packet)
{
	const struct bucket *bucket =
		find_place(world->current, find_bucket(world->vip, world->pool, &packet->inner));

	return bucket ? READ_ONCE(*(const __u64 *)bucket) & 0xffffffffffffULL : 0;
}

static __always_inline enum next ask_next(const struct world *world, __u64 list, __u32 self, struct way *way)
{
	const struct tunnels *tunnels = find_tunnels(world->state, world->current);

	way->stamp = world->current;
	way->family = tunnel_family(world->current);
	return tunnels && list ? find_next(tunnels, world->counts, list, self, way) : NEXT_NOBODY;
}

static __always_inline bool is_next(const struct world *world, __u64 list, __u32 self, struct way *way)
{
	return ask_next(world, list, self, way) == NEXT_FOUND;
}

/* By how many epochs the sender is ahead of mine, twice: the number alone, 15 bits. */
static __always_inline __s16 twice_ahead(const struct world *world, const struct tunnelled *packet)
{
	return (packet->stamp - (__u16)world->current) << 1;
}

/*
 * Does this backend take a new flow of that sender? Of one that goes by an epoch before the last one nobody
 * does: it may send to an owner that is in no list any more, where nobody would look for the flow
 * (docs/adr/0010). The last one is what all go by while mine is on offer; its owners are in my lists, but
 * mine not yet in everybody's. To a backend that has failed it was sent by one that does not know.
 */
static __always_inline bool takes_new(const struct world *world, const struct agent *agent,
				      const struct tunnelled *packet)
{
	switch (agent->intake[world->vip->pool & (POOL_PLACES - 1)]) {
	case INTAKE_ONE_BEHIND:
		return twice_ahead(world, packet) >= -2;
	case INTAKE_IN_STEP:
		return twice_ahead(world, packet) >= 0;
	default:
		return false;
	}
}

/*
 * Step 3. A new flow is passed on at most twice: the first time perhaps by an agent that is itself behind, to
 * one that knows why it should not have come.
 */
static __always_inline enum decap_outcome place_new(const struct world *world, const struct agent *agent,
						    const struct tunnelled *packet, struct way *way)
{
	__u64 owner;

	if (packet->flags & GRE_SETTLED || takes_new(world, agent, packet))
		return DECAP_delivered_syn;
	owner = own_list(world, packet) & 0xffff;
	if (owner == agent->self || !is_next(world, owner, agent->self, way))
		return DECAP_delivered_syn;
	return DECAP_forwarded_syn;
}

/*
 * The packet's own list. If my epoch is newer, its owner comes last: flows that were opened since are there,
 * and the last on the list may be as far behind as the sender and would not know. Only the first one to know
 * more adds to a list, or it would not get shorter. One that has come to its end, and did not begin anew yet,
 * does so with all of mine instead.
 */
static __always_inline __u64 complete_list(const struct world *world, const struct agent *agent,
					   const struct tunnelled *packet)
{
	__u64 list = list_of_key(packet->key), owner;

	if (packet->flags & GRE_SETTLED || twice_ahead(world, packet) >= 0)
		return list;
	if (!list && !(packet->flags & GRE_MARK))
		return list;
	owner = own_list(world, packet) & 0xffff;
	if (owner == agent->self || is_listed(list, owner))
		return list;
	return list | owner << ADDED_SHIFT;
}

/* My epoch's list. One that was added to has been one longer: then two others are asked at most. */
static __always_inline __u64 new_list(const struct world *world, const struct agent *agent,
				      const struct tunnelled *packet)
{
	__u64 list = own_list(world, packet);

	if (packet->flags & GRE_SETTLED && !is_listed(list, agent->self))
		list &= (1ULL << ADDED_SHIFT) - 1;
	return list;
}

/*
 * Steps 6 and 7: the packet's own list has come to its end. If somebody on it could not be asked, only an
 * epoch that is newer can say that this one holds nothing any more.
 */
static __always_inline enum decap_outcome begin_anew(const struct world *world, const struct agent *agent,
						     const struct tunnelled *packet, bool is_lost,
						     struct way *way)
{
	if (packet->flags & GRE_MARK || packet->stamp == (__u16)world->current ||
	    (is_lost && twice_ahead(world, packet) > 0))
		return is_lost ? DECAP_drop_no_next_hop : DECAP_delivered_last;
	switch (ask_next(world, new_list(world, agent, packet), agent->self, way)) {
	case NEXT_FOUND:
		return DECAP_forwarded_restarted;
	case NEXT_LOST:
		return DECAP_drop_no_next_hop;
	default:
		return DECAP_delivered_last;
	}
}

/* Steps 3 to 7. */
static __always_inline enum decap_outcome give_chance(struct xdp_md *ctx, const struct world *world,
						      const struct agent *agent,
						      const struct tunnelled *packet, struct way *way)
{
	enum decap_outcome held;
	enum next next;
	__u64 list;

	if (packet->inner.is_syn)
		return place_new(world, agent, packet, way);
	held = find_holder(ctx, packet);
	if (held != NOBODY)
		return held;
	list = complete_list(world, agent, packet);
	next = ask_next(world, list, agent->self, way);
	if (next != NEXT_FOUND)
		return begin_anew(world, agent, packet, next == NEXT_LOST, way);
	if (list >> ADDED_SHIFT || packet->flags & GRE_SETTLED)
		way->marks = bpf_htons(GRE_SETTLED);
	/* The list is the sender's, so its stamp stays: the last one asked must see that the list may be
	 * old. */
	way->stamp = packet->stamp;
	return way->key ? DECAP_forwarded_keyed : DECAP_forwarded_keyless;
}

/*
 * An ICMP error becomes a packet of the flow that it quotes, and goes where that would go. False when it is
 * none, or shows no ports.
 */
static __always_inline bool turn_error(struct xdp_md *ctx, struct packet *inner)
{
	struct cursor cursor = {ctx, (void *)inner->transport, (void *)(long)ctx->data_end,
				inner->size - (inner->transport - inner->ip)};
	const struct icmp_head *icmp;

	if (inner->is_fragment || inner->protocol != icmp_of(inner->family))
		return false;
	icmp = take(&cursor, sizeof(*icmp));
	if (!icmp || kind_of(inner->family, icmp->type) != ICMP_IS_ERROR)
		return false;
	return turn_quote(&cursor, inner) && !inner->is_fragment;
}

/*
 * Whose the packet is: DECAP_PARSED when a VIP is found, and `vip` set; or what becomes of a packet that none
 * takes. `is_flow`: it shows ports.
 */
static __always_inline enum decap_outcome find_any(const struct state *state, struct packet *inner,
						   bool is_flow, const struct vip **vip)
{
	__u32 half = READ_ONCE(state->control.directory) & 1;
	const struct vip *prefix;

	*vip = is_flow ? find_exact(&state->vips[half], inner) : NULL;
	if (*vip)
		return DECAP_PARSED;
	prefix = find_prefix(state, half, &inner->destination, inner->family);
	if (!prefix)
		return DECAP_drop_not_vip;
	*vip = is_flow ? find_wide(state, half, prefix, inner) : NULL;
	return *vip ? DECAP_PARSED : DECAP_delivered_portless;
}

/*
 * UDP stays here, but for QUIC that names another backend: a node knew no better. One that is in sync does,
 * and what is marked has been passed on before.
 */
static __always_inline enum decap_outcome decide_udp(struct xdp_md *ctx, struct world *world,
						     const struct tunnelled *packet, struct way *way)
{
	const struct agent *agent;
	const struct bucket *any;
	__u32 zero = 0, named;

	if (!second_chance || packet->flags & GRE_MARK || packet->stamp == (__u16)world->current ||
	    !world->current)
		return DECAP_delivered_udp;
	agent = bpf_map_lookup_elem(&agent_state, &zero);
	any = find_place(world->current, 0);
	if (!agent || !any)
		return DECAP_delivered_udp;
	named = find_named(ctx, packet->inner.ip - frame_start(ctx), load_bucket(any).flags, world->current,
			   world->pool->size);
	if (!named || named == agent->self)
		return DECAP_delivered_udp;
	return is_next(world, named, agent->self, way) ? DECAP_forwarded_named : DECAP_delivered_udp;
}

/* The same VIP: to the verifier one case, whichever way it was found. */
static __always_inline const struct vip *forget_way(const struct state *state, const struct vip *vip)
{
	__u64 offset = (const void *)vip - (const void *)state;

	SETTLE(offset);
	return offset <= sizeof(*state) - sizeof(*vip) ? (const void *)state + offset : NULL;
}

/* `way` is set, and its key in network byte order, when the outcome is to forward. */
static __always_inline enum decap_outcome decide(struct xdp_md *ctx, const struct state *state,
						 struct cpu_counts *counts, struct tunnelled *packet,
						 struct way *way)
{
	const struct vip *vip = NULL;
	bool is_flow = packet->inner.has_ports || turn_error(ctx, &packet->inner);
	enum decap_outcome outcome = find_any(state, &packet->inner, is_flow, &vip);
	struct world world = {.state = state, .counts = counts};
	const struct agent *agent;
	__u32 zero = 0;

	if (outcome != DECAP_PARSED)
		return outcome;
	vip = world.vip = forget_way(state, vip);
	if (!vip)
		return DECAP_drop_inconsistent;
	world.pool = &state->pool[vip->pool & (POOL_PLACES - 1)];
	world.current = READ_ONCE(world.pool->current);
	if (packet->inner.protocol != IPPROTO_TCP)
		return decide_udp(ctx, &world, packet, way);
	if (!second_chance)
		return DECAP_delivered_no_chance;
	if (!(packet->flags & (GRE_KEY | GRE_MARK)) && packet->stamp == (__u16)world.current)
		return DECAP_delivered_in_sync;
	agent = bpf_map_lookup_elem(&agent_state, &zero);
	if (!agent || !world.current || !agent->is_heard[vip->row & (COUNT_ROWS - 1)])
		return DECAP_delivered_no_chance;
	return give_chance(ctx, &world, agent, packet, way);
}

#endif
