// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The backend's end of the tunnel: takes the outer header and GRE off packets from the fleet's nodes and
 * hands the rest to the local stack, where the VIP is an address of lo. Everything else on the interface goes
 * on untouched.
 */
#include <linux/bpf.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decap_chance.h"
#include "decap_gre.h"
#include "decap_layout.h"
#include "decap_maps.h"
#include "decap_parse.h"

/* The address at which this backend takes GRE. Set before loading: an address that changes is a new program.
 */
const volatile struct decap_address tunnel;

/* Addresses of the nodes' tunnels: who may send to us (design.md §5.1). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct decap_address);
	__type(value, __u32);
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_OUTCOME_COUNT);
	__type(key,
	       enum decap_outcome); /* named in the object's BTF, where the agent finds the counters' names */
	__type(value, struct decap_counter);
} counters SEC(".maps");

static __always_inline void count(enum decap_outcome outcome, __u64 bytes)
{
	struct decap_counter *counter = bpf_map_lookup_elem(&counters, &outcome);

	if (!counter)
		return;
	counter->packets++;
	counter->bytes += bytes;
}

static __always_inline enum decap_outcome judge(struct xdp_md *ctx, struct tunnelled *packet)
{
	struct cursor cursor = {(void *)(long)ctx->data, (void *)(long)ctx->data_end,
				ctx->data_end - ctx->data};
	const struct ethhdr *ethernet = take(&cursor, sizeof(*ethernet));
	enum decap_outcome outcome;

	if (!ethernet || ethernet->h_proto != bpf_htons(ETH_P_IP))
		return DECAP_untouched;
	outcome = parse_outer_ipv4(&cursor, tunnel.word[3], packet);
	if (outcome != PARSED)
		return outcome;
	if (!bpf_map_lookup_elem(&sources, &packet->source))
		return DECAP_drop_stranger;
	outcome = parse_gre(&cursor, packet);
	if (outcome != PARSED)
		return outcome;
	outcome = parse_inner(&cursor, packet);
	if (outcome != PARSED)
		return outcome;
	return decide(packet);
}

/* Moves the Ethernet header over the outer header and GRE, and the packet's start behind it. */
static __always_inline bool strip(struct xdp_md *ctx, const struct tunnelled *packet)
{
	__u32 outer = sizeof(struct iphdr) + sizeof(struct gre_base) + (packet->keyed ? sizeof(__be32) : 0);
	struct ethhdr *ethernet = (void *)(long)ctx->data;
	struct ethhdr *moved = (void *)ethernet + outer;

	if ((void *)(moved + 1) > (void *)(long)ctx->data_end)
		return false;
	__builtin_memcpy(moved, ethernet, 2 * ETH_ALEN);
	moved->h_proto = packet->protocol;
	return bpf_xdp_adjust_head(ctx, outer) == 0;
}

SEC("xdp")
int decap(struct xdp_md *ctx)
{
	__u64 bytes = ctx->data_end - ctx->data;
	struct tunnelled packet = {};
	enum decap_outcome outcome = judge(ctx, &packet);

	if (outcome != DECAP_untouched && outcome < DECAP_drop_stranger && !strip(ctx, &packet))
		outcome = DECAP_drop_failed;
	count(outcome, bytes);
	return outcome < DECAP_drop_stranger ? XDP_PASS : XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
