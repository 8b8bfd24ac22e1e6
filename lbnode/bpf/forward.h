/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a VIP's packet to its backend: bucket, table, tunnel, outer header. */
#ifndef EVENKEEL_FORWARD_H
#define EVENKEEL_FORWARD_H

#include "count.h"
#include "encap.h"
#include "flow.h"
#include "hash.h"
#include "maps.h"
#include "quic.h"
#include "table.h"

#define LAST_FORWARDED OUTCOME_forwarded_error
#define FIRST_PASS     OUTCOME_pass_not_ip
#define FIRST_DROP     OUTCOME_drop_wrong_port
#define MAC_SHIFT      16 /* a MAC is the first six bytes of a word: what remains of it, shifted */

/* Back out of the interface that it came in by, or to another one. */
static __always_inline int send(struct xdp_md *ctx, __u32 ifindex)
{
	return ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(ifindex, 0);
}

/* Floods, broadcast and multicast are not: see `set_interfaces` in lbnode/dataplane/node.py. */
static __always_inline bool is_ours(const struct xdp_md *ctx, const struct state *state, const void *frame)
{
	__u64 own = READ_ONCE(state->own_mac[ctx->ingress_ifindex & (INTERFACE_PLACES - 1)]);

	return !own || *(const __u64 *)frame << MAC_SHIFT == own;
}

static __always_inline const struct address *find_source(const struct state *state, __u32 bucket, __u8 family)
{
	__u32 which = family == FAMILY_IP6;

	return &state->source[which][bucket & state->control.source_mask[which] & (SOURCE_PLACES - 1)];
}

__noinline int note_named(void)
{
	struct cpu_counts *counts = own_counts();

	if (counts)
		count(counts, OUTCOME_flow_named, 0);
	return 0;
}

/* Only some buckets ask for it: the packet's own backend, where the packet or the flow table tells. */
static __always_inline struct bucket look_closer(struct xdp_md *ctx, const struct pool *pool,
						 const struct tunnels *tunnels, const struct packet *packet,
						 __u64 before, struct bucket bucket, __u64 current)
{
	__u32 named = 0;

	if (bucket.flags & BUCKET_QUIC && packet->protocol == IPPROTO_UDP)
		named = find_named(ctx, before, bucket.flags, current, pool->size);
	if (named) {
		note_named();
		return (struct bucket){.owner = named};
	}
	return bucket.flags & BUCKET_FLOW_TABLE ? follow_flow(pool, tunnels, packet, bucket) : bucket;
}

/* What stands before the packet goes, tags and all: `before` bytes. */
static __always_inline enum outcome forward(struct xdp_md *ctx, const struct state *state,
					    const struct packet *packet, __u64 before, const struct vip *vip,
					    struct way *way)
{
	const struct pool *pool = &state->pool[vip->pool & (POOL_PLACES - 1)];
	const struct tunnels *tunnels;
	const struct bucket *place;
	struct bucket bucket;
	enum outcome outcome;
	__u64 current;
	__u32 number;

	SETTLE(pool);
	current = READ_ONCE(pool->current);
	if (!current)
		return OUTCOME_drop_no_table;
	tunnels = find_tunnels(state, current);
	number = find_bucket(vip, pool, packet);
	count_bucket(pool, number);
	place = find_place(current, number);
	if (!place || !tunnels)
		return OUTCOME_drop_inconsistent;
	bucket = load_bucket(place);
	if (bucket.flags)
		bucket = look_closer(ctx, pool, tunnels, packet, before, bucket, current);
	outcome = find_way(tunnels, bucket, packet->is_syn, way);
	if (outcome != WAY_FOUND)
		return outcome;
	way->stamp = current;
	way->marks = 0;
	way->family = tunnel_family(current);
	return encapsulate(ctx, packet, before, way, find_source(state, number, way->family));
}

#endif
