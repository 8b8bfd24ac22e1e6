// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The node's program: parse, find the VIP, the bucket, the backend; push the outer header; send. One pass, no
 * state of flows, but for pools that ask for it (flow.h). lbnode/dataplane/model.py says the same in Python,
 * and tests/bpf compares the two packet by packet.
 */
#include <linux/bpf.h>

#include "count.h"
#include "encap.h"
#include "flow.h"
#include "hash.h"
#include "maps.h"
#include "parse.h"
#include "table.h"
#include "vip.h"

#define LAST_FORWARDED OUTCOME_forwarded_keyed
#define FIRST_DROP     OUTCOME_drop_wrong_port

char _license[] SEC("license") = "Dual MIT/GPL";

/* Back out of the interface that it came in by, or to another one. */
static __always_inline int send(struct xdp_md *ctx, __u32 ifindex)
{
	return ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(ifindex, 0);
}

static __always_inline __u64 find_own_mac(const struct xdp_md *ctx, const struct state *state)
{
	return READ_ONCE(state->own_mac[ctx->ingress_ifindex & (INTERFACE_PLACES - 1)]);
}

static __always_inline const struct address *find_source(const struct state *state, __u32 bucket)
{
	return &state->source[bucket & state->control.source_mask & (SOURCE_PLACES - 1)];
}

static __always_inline enum outcome forward(struct xdp_md *ctx, const struct state *state,
					    const struct tunnels *tunnels, const struct packet *packet,
					    const struct vip *vip, struct way *way)
{
	const struct pool *pool = &state->pool[vip->pool & (POOL_PLACES - 1)];
	const struct bucket *place;
	struct bucket bucket;
	enum outcome outcome;
	__u64 current;
	__u32 number;

	SETTLE(pool);
	current = READ_ONCE(pool->current);
	if (!current)
		return OUTCOME_drop_no_table;
	number = find_bucket(vip, pool, packet);
	count_bucket(pool, number);
	place = find_place(current, number);
	if (!place)
		return OUTCOME_drop_inconsistent;
	bucket = load_bucket(place);
	if (bucket.flags)
		bucket = follow_flow(pool, tunnels, packet, bucket);
	outcome = find_way(tunnels, bucket, packet->is_syn, way);
	if (outcome != PARSED)
		return outcome;
	way->stamp = current;
	return encapsulate(ctx, packet, way, find_source(state, number));
}

/*
 * What becomes of a packet that no VIP takes. Looks at it anew, in a function of its own: packets that are
 * forwarded have the registers for themselves.
 */
static __noinline enum outcome refuse(struct xdp_md *ctx, const struct state *state)
{
	struct cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	struct packet packet;
	enum outcome due = parse(&cursor, find_own_mac(ctx, state), &packet);

	if (due < FIRST_DROP)
		return due;
	if (due == PARSED)
		due = packet.is_fragment ? OUTCOME_drop_fragment : OUTCOME_drop_wrong_port;
	return without_vip(state, &packet, due);
}

SEC("xdp")
int node(struct xdp_md *ctx)
{
	struct cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end};
	__u32 zero = 0, bytes = cursor.end - cursor.at;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);
	struct cpu_counts *counts = own_counts();
	const struct tunnels *tunnels;
	const struct vip *vip;
	struct packet packet;
	enum outcome outcome;
	struct way way;

	if (!state || !counts)
		return XDP_DROP;
	tunnels = find_tunnels(state);
	if (!tunnels)
		return XDP_DROP;
	outcome = parse(&cursor, find_own_mac(ctx, state), &packet);
	vip = outcome == PARSED ? find_vip(state, &packet) : NULL;
	if (!vip) {
		outcome = refuse(ctx, state);
		count(counts, outcome, bytes);
		return outcome < FIRST_DROP ? XDP_PASS : XDP_DROP;
	}
	outcome = forward(ctx, state, tunnels, &packet, vip, &way);
	count(counts, outcome, bytes);
	if (outcome > LAST_FORWARDED)
		return XDP_DROP;
	count(counts, vip->row, bytes);
	count(counts, way.tunnel->row, bytes);
	return send(ctx, way.tunnel->ifindex);
}
