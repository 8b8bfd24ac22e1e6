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
#define MAC_SHIFT      16 /* a MAC is the first six bytes of a word: what remains of it, shifted */

char _license[] SEC("license") = "Dual MIT/GPL";

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

static __always_inline enum outcome forward(struct xdp_md *ctx, const struct state *state,
					    const struct packet *packet, const struct vip *vip,
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
		bucket = follow_flow(pool, tunnels, packet, bucket);
	outcome = find_way(tunnels, bucket, packet->is_syn, way);
	if (outcome != WAY_FOUND)
		return outcome;
	way->stamp = current;
	way->marks = 0;
	way->family = tunnel_family(current);
	/* What stands before the packet goes, tags and all. */
	return encapsulate(ctx, packet, packet->ip - frame_start(ctx), way,
			   find_source(state, number, way->family));
}

/* What a packet deserves that no VIP takes and whose address is ours. */
static __always_inline enum outcome judge(enum fault fault, const struct packet *packet)
{
	__u32 icmp = packet->family == FAMILY_IP4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;

	if (fault == FAULT_TRUNCATED)
		return OUTCOME_drop_truncated;
	if (fault == FAULT_MANY_HEADERS)
		return OUTCOME_drop_extensions;
	if (packet->is_fragment)
		return OUTCOME_drop_fragment;
	if (packet->has_ports)
		return OUTCOME_drop_wrong_port;
	return packet->protocol == icmp ? OUTCOME_drop_icmp : OUTCOME_drop_protocol;
}

static __always_inline enum outcome find_refusal(struct xdp_md *ctx, const struct state *state)
{
	struct cursor cursor = whole_frame(ctx);
	const __be16 *ethernet = take(&cursor, ETH_HLEN);
	struct packet packet;
	enum fault fault;
	__u8 family;

	family = ethernet ? family_of(skip_tags(&cursor, ethernet[ETH_ALEN])) : 0;
	if (!family)
		return OUTCOME_pass_not_ip;
	if (!is_ours(ctx, state, ethernet))
		return OUTCOME_pass_not_ours;
	fault = parse_ip(&cursor, family, &packet);
	if (fault == FAULT_CUT || fault == FAULT_MALFORMED)
		return OUTCOME_pass_malformed;
	return without_vip(state, &packet, judge(fault, &packet));
}

/*
 * What becomes of a frame that no VIP takes. Looks at it anew, in a function of its own: packets that are
 * forwarded have the registers for themselves.
 */
__noinline int refuse(struct xdp_md *ctx)
{
	__u32 zero = 0, bytes = ctx->data_end - ctx->data;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);
	struct cpu_counts *counts = own_counts();
	enum outcome outcome;

	if (!state || !counts)
		return XDP_DROP;
	outcome = find_refusal(ctx, state);
	count(counts, outcome, bytes);
	return outcome < FIRST_DROP ? XDP_PASS : XDP_DROP;
}

/* `family` is a constant at both places of use: the same code, twice in the program. */
static __always_inline int serve(struct xdp_md *ctx, const struct state *state, struct cpu_counts *counts,
				 __u32 bytes, struct cursor *cursor, __u8 family)
{
	const struct vip *vip = NULL;
	struct packet packet;
	enum outcome outcome;
	struct way way;

	if (parse_ip(cursor, family, &packet) == PARSED)
		vip = find_vip(state, &packet);
	if (!vip)
		return refuse(ctx);
	outcome = forward(ctx, state, &packet, vip, &way);
	count(counts, outcome, bytes);
	if (outcome > LAST_FORWARDED)
		return XDP_DROP;
	count(counts, vip->row, bytes);
	count(counts, way.tunnel->row, bytes);
	return send(ctx, way.tunnel->ifindex);
}

SEC("xdp")
int node(struct xdp_md *ctx)
{
	struct cursor cursor = whole_frame(ctx);
	const __be16 *ethernet = take(&cursor, ETH_HLEN);
	__u32 zero = 0, bytes = ctx->data_end - ctx->data;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);
	struct cpu_counts *counts = own_counts();

	if (!state || !counts)
		return XDP_DROP;
	if (!ethernet || !is_ours(ctx, state, ethernet))
		return refuse(ctx);
	switch (family_of(skip_tags(&cursor, ethernet[ETH_ALEN]))) {
	case FAMILY_IP4:
		return serve(ctx, state, counts, bytes, &cursor, FAMILY_IP4);
	case FAMILY_IP6:
		return serve(ctx, state, counts, bytes, &cursor, FAMILY_IP6);
	default:
		return refuse(ctx);
	}
}
