// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Stands in for a stock kernel gre device on a backend without the agent, where the kernel has none: the
 * lab's machines. As the fallback device gre0 does, it takes GRE without a key from anybody and hands what is
 * inside to the stack; GRE with a key is for no device there, and dropped. Nothing else: no members, no
 * second chance, no clamp.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

/* Checksum, routing, key, sequence number; version: whatever would make the header longer, or another one. */
#define NOT_PLAIN 0xf007

struct gre {
	__be16 flags;
	__be16 protocol;
};

struct outer {
	struct ethhdr ethernet;
	struct iphdr ip;
	struct gre gre;
} __attribute__((packed));

SEC("xdp")
int stock(struct xdp_md *ctx)
{
	struct outer *outer = (void *)(long)ctx->data;
	struct ethhdr ethernet;

	if ((void *)(outer + 1) > (void *)(long)ctx->data_end ||
	    outer->ethernet.h_proto != bpf_htons(ETH_P_IP) || outer->ip.ihl != 5 ||
	    outer->ip.protocol != IPPROTO_GRE)
		return XDP_PASS;
	if (outer->gre.flags & bpf_htons(NOT_PLAIN))
		return XDP_DROP;
	ethernet = outer->ethernet;
	ethernet.h_proto = outer->gre.protocol;
	if (bpf_xdp_adjust_head(ctx, sizeof(*outer) - sizeof(ethernet)))
		return XDP_DROP;
	outer = (void *)(long)ctx->data;
	if ((void *)(&outer->ethernet + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	outer->ethernet = ethernet;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
