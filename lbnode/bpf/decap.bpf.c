// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The backend's end of the tunnel: takes the outer header and GRE off packets from the fleet's members and
 * hands the rest to the local stack, where the VIP is an address of lo; a packet of a flow that somebody else
 * holds goes on to the next backend that may hold it. Everything else on the interface goes on untouched.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "count.h"
#include "decap_chance.h"
#include "decap_gre.h"
#include "decap_layout.h"
#include "decap_maps.h"
#include "decap_member.h"
#include "decap_parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline enum decap_outcome parse_tunnel(struct cursor *cursor, __be16 type,
						       struct tunnelled *packet)
{
	switch (family_of(type)) {
	case FAMILY_IP4:
		return parse_outer(cursor, FAMILY_IP4, packet);
	case FAMILY_IP6:
		return parse_outer(cursor, FAMILY_IP6, packet);
	default:
		return DECAP_untouched;
	}
}

/* The same number, of which the verifier knows nothing more. */
__noinline __u64 any_number(__u64 number)
{
	asm volatile("" : "+r"(number));
	return number;
}

/*
 * Makes one of all the ways by which a packet came out of its tunnel (families, tags, key): the verifier need
 * not look at the rest of the program once for each.
 */
static __always_inline void join_ways(struct cursor *cursor, struct tunnelled *packet)
{
	__u64 known = any_number((__u64)packet->key << 32 | (__u32)packet->flags << 16 |
				 packet->link_size << 8 | packet->outer_size);

	packet->key = known >> 32;
	packet->flags = known >> 16;
	packet->link_size = known >> 8 & 0xff;
	packet->outer_size = known & 0xff;
	cursor->at = frame_start(cursor->ctx) + packet->link_size + packet->outer_size;
}

/* Everything up to the decision; DECAP_PARSED when there is one to make. */
static __always_inline enum decap_outcome parse_tunnelled(struct xdp_md *ctx, struct cpu_counts *counts,
							  struct tunnelled *packet)
{
	struct cursor cursor = whole_frame(ctx);
	const __be16 *ethernet = take(&cursor, ETH_HLEN);
	enum decap_outcome outcome;
	__be16 type;
	__u32 kind;

	if (!ethernet)
		return DECAP_untouched;
	type = skip_tags(&cursor, ethernet[ETH_ALEN]);
	packet->link_size = cursor.at - (void *)ethernet;
	outcome = parse_tunnel(&cursor, type, packet);
	if (outcome != DECAP_PARSED)
		return outcome;
	kind = find_member(&packet->sender);
	if (!kind)
		return DECAP_drop_stranger;
	if (kind == MEMBER_BACKEND)
		count(counts, DECAP_extra_hop, 0);
	outcome = parse_gre(&cursor, packet);
	if (outcome != DECAP_PARSED)
		return outcome;
	join_ways(&cursor, packet);
	return parse_inner(&cursor, counts, packet);
}

/* Moves the Ethernet header over the outer header and GRE, and the packet's start behind it. */
static __always_inline bool strip(struct xdp_md *ctx, const struct tunnelled *packet)
{
	__u32 tags = packet->link_size - ETH_HLEN;
	void *from = (void *)(long)ctx->data, *to = from + packet->outer_size;

	if (from + LINK_MAX > (void *)(long)ctx->data_end || to + LINK_MAX > (void *)(long)ctx->data_end)
		return false;
	*(__u64 *)to = *(__u64 *)from;
	*(__u32 *)(to + 8) = *(__u32 *)(from + 8);
	to += 2 * ETH_ALEN;
	from += 2 * ETH_ALEN;
	for (int i = 0; i < TAGS_MAX && tags; i++, tags -= TAG_SIZE) {
		*(__u32 *)to = *(__u32 *)from;
		to += TAG_SIZE;
		from += TAG_SIZE;
	}
	*(__be16 *)to = packet->protocol;
	return bpf_xdp_adjust_head(ctx, packet->outer_size) == 0;
}

/* What a packet that is passed on says of its way so far. */
static __always_inline __be16 marks_of(const struct tunnelled *packet, enum decap_outcome outcome)
{
	__u16 marks = 0;

	if (packet->flags & GRE_MARK || outcome == DECAP_forwarded_restarted ||
	    outcome == DECAP_forwarded_named || outcome == DECAP_forwarded_syn)
		marks |= GRE_MARK;
	if (packet->flags & GRE_MARK && outcome == DECAP_forwarded_syn)
		marks |= GRE_SETTLED;
	return bpf_htons(marks);
}

/* Writes the outer header anew, for the next backend. */
static __always_inline enum decap_outcome pass_on(struct xdp_md *ctx, const struct tunnelled *packet,
						  struct way *way, enum decap_outcome outcome)
{
	struct address source = own_address(way->family);

	way->marks |= marks_of(packet, outcome);
	switch (encapsulate(ctx, &packet->inner, packet->link_size + packet->outer_size, way, &source)) {
	case OUTCOME_drop_too_big:
		return DECAP_drop_too_big;
	case OUTCOME_drop_no_headroom:
		return DECAP_drop_failed;
	case OUTCOME_drop_inconsistent:
		return DECAP_drop_inconsistent;
	default:
		return outcome;
	}
}

static __always_inline int send_to(struct xdp_md *ctx, __u32 ifindex)
{
	return ifindex == ctx->ingress_ifindex ? XDP_TX : bpf_redirect(ifindex, 0);
}

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	__u32 zero = 0, bytes = ctx->data_end - ctx->data;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);
	struct cpu_counts *counts = own_counts();
	struct tunnelled packet;
	enum decap_outcome outcome;
	struct way way = {}; /* or else the verifier sees a register that nobody has set */

	if (!state || !counts)
		return XDP_DROP;
	outcome = parse_tunnelled(ctx, counts, &packet);
	if (outcome == DECAP_PARSED)
		outcome = decide(ctx, state, counts, &packet, &way);
	if (outcome >= DECAP_FIRST_DROP)
		goto out;
	if (outcome >= DECAP_FIRST_FORWARDED)
		outcome = pass_on(ctx, &packet, &way, outcome);
	else if (outcome != DECAP_untouched && !strip(ctx, &packet))
		outcome = DECAP_drop_failed;
out:
	count(counts, outcome, bytes);
	if (outcome >= DECAP_FIRST_DROP)
		return XDP_DROP;
	return outcome >= DECAP_FIRST_FORWARDED ? send_to(ctx, way.tunnel->ifindex) : XDP_PASS;
}
