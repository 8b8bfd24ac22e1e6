// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The node's program: parse, find the VIP, the bucket, the backend; push the outer header; send. One pass, no
 * state of flows, but for pools that ask for it (flow.h); what is rarer is in treat.h.
 * lbnode/dataplane/model.py says the same in Python, and tests/bpf compares the two packet by packet.
 */
#include <linux/bpf.h>

#include "forward.h"
#include "parse.h"
#include "treat.h"
#include "vip.h"

char _license[] SEC("license") = "Dual MIT/GPL";

/* To the stack: it is no business of ours. */
static __always_inline int leave(struct cpu_counts *counts, enum outcome outcome, __u32 bytes)
{
	count(counts, outcome, bytes);
	return XDP_PASS;
}

/* `family` is a constant at both places of use: the same code, twice in the program. */
static __always_inline int serve(struct xdp_md *ctx, const struct state *state, struct cpu_counts *counts,
				 __u32 bytes, struct cursor *cursor, __u8 family)
{
	const struct vip *vip = NULL;
	struct packet packet;
	enum outcome outcome;
	struct way way;
	__u64 before;

	if (parse_ip(cursor, family, &packet) == PARSED) {
		vip = find_vip(state, &packet);
		if (!vip && !is_served(state, &packet))
			return leave(counts, OUTCOME_pass_not_vip, bytes);
	}
	if (!vip)
		return treat(ctx);
	before = packet.ip - frame_start(ctx);
	SETTLE(before); /* else clang subtracts in 32 bits, what no pointer may be part of */
	outcome = forward(ctx, state, &packet, before, vip, &way);
	if (outcome == OUTCOME_drop_too_big)
		return treat_too_big(ctx, find_room(&way));
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
		return leave(counts, OUTCOME_pass_not_ours, bytes);
	switch (family_of(skip_tags(&cursor, ethernet[ETH_ALEN]))) {
	case FAMILY_IP4:
		return serve(ctx, state, counts, bytes, &cursor, FAMILY_IP4);
	case FAMILY_IP6:
		return serve(ctx, state, counts, bytes, &cursor, FAMILY_IP6);
	default:
		return leave(counts, OUTCOME_pass_not_ip, bytes);
	}
}
