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
#include "decap_parse.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Everything up to the decision; DECAP_PARSED when there is one to make. */
static __always_inline enum decap_outcome parse_tunnelled(struct xdp_md *ctx, struct cpu_counts *counts,
							  struct tunnelled *packet)
{
	struct span span = {(void *)(long)ctx->data, (void *)(long)ctx->data_end, ctx->data_end - ctx->data};
	const __be16 *ethernet = take_from(&span, ETH_HLEN);
	enum decap_outcome outcome;
	const __u32 *kind;

	if (!ethernet || ethernet[ETH_ALEN] != bpf_htons(ETH_P_IP))
		return DECAP_untouched;
	outcome = parse_outer_ipv4(&span, own_address.word[3], packet);
	if (outcome != DECAP_PARSED)
		return outcome;
	kind = bpf_map_lookup_elem(&sources, &packet->sender);
	if (!kind)
		return DECAP_drop_stranger;
	if (*kind == MEMBER_BACKEND)
		count(counts, DECAP_extra_hop, 0);
	outcome = parse_gre(&span, packet);
	return outcome == DECAP_PARSED ? parse_inner(&span, packet) : outcome;
}

/* Moves the Ethernet header over the outer header and GRE, and the packet's start behind it. `size` is a
 * constant at both places of use. */
static __always_inline bool strip_bytes(struct xdp_md *ctx, __be16 protocol, __u32 size)
{
	void *from = (void *)(long)ctx->data, *to = from + size;

	if (to + ETH_HLEN > (void *)(long)ctx->data_end)
		return false;
	*(__u64 *)to = *(__u64 *)from;
	*(__u32 *)(to + 8) = *(__u32 *)(from + 8);
	*(__be16 *)(to + 2 * ETH_ALEN) = protocol;
	return bpf_xdp_adjust_head(ctx, size) == 0;
}

static __always_inline bool strip(struct xdp_md *ctx, const struct tunnelled *packet)
{
	return packet->is_keyed ? strip_bytes(ctx, packet->protocol, OUTER_SIZE + KEY_SIZE)
				: strip_bytes(ctx, packet->protocol, OUTER_SIZE);
}

/* What a packet that is passed on says of its way so far. */
static __always_inline __be16 marks_of(const struct tunnelled *packet, enum decap_outcome outcome)
{
	__u16 marks = 0;

	if (packet->is_marked || outcome == DECAP_forwarded_restarted || outcome == DECAP_forwarded_syn)
		marks |= GRE_MARK;
	if (packet->is_marked && outcome == DECAP_forwarded_syn)
		marks |= GRE_SETTLED;
	return bpf_htons(marks);
}

/* Writes the outer header anew, for the next backend. */
static __always_inline enum decap_outcome pass_on(struct xdp_md *ctx, const struct tunnelled *packet,
						  const struct way *way, enum decap_outcome outcome)
{
	__u32 size = OUTER_SIZE + (way->key ? KEY_SIZE : 0);
	struct address source = ipv4_address(own_address.word[3]);
	struct outer_ipv4 *outer;

	if (packet->inner.size + size > way->tunnel->mtu)
		return DECAP_drop_too_big;
	if (bpf_xdp_adjust_head(ctx, (int)packet->outer_size - (int)size))
		return DECAP_drop_failed;
	outer = (void *)(long)ctx->data;
	if ((void *)(outer + 1) > (void *)(long)ctx->data_end)
		return DECAP_drop_inconsistent;
	write_outer(outer, &packet->inner, way, &source, size);
	outer->gre_protocol = packet->protocol;
	outer->gre_flags |= marks_of(packet, outcome);
	return outcome;
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
	struct way way;

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
