// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The far end of a node's cable: `send` makes every frame that leaves, in a test run with live frames;
 * `receive` counts what comes back in the node's tunnels, and takes it off the wire.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define IP_PROTOCOL (ETH_HLEN + 9)
#define IP_SOURCE   (ETH_HLEN + 12)
#define TCP_SOURCE  (ETH_HLEN + 20)
#define HEADERS	    (ETH_HLEN + 20 + 20)
#define GRE	    47

/* The first bytes of a frame to the VIP; the node's outer header may have been where the Ethernet header is.
 */
const volatile __u8 ethernet[ETH_HLEN];
/* The node's tunnel address. */
const volatile __be32 node;

struct tally {
	__u64 sent;
	__u64 received;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tally);
} tallies SEC(".maps");

SEC("xdp")
int send(struct xdp_md *ctx)
{
	__u8 *frame = (void *)(long)ctx->data;
	__u32 zero = 0;
	struct tally *tally = bpf_map_lookup_elem(&tallies, &zero);
	int i;

	if (!tally || frame + HEADERS > (__u8 *)(long)ctx->data_end)
		return XDP_ABORTED;
	for (i = 0; i < ETH_HLEN; i++)
		frame[i] = ethernet[i];
	/* Another flow than the one before: all clients of a /16, many ports of each. */
	*(__u16 *)(frame + IP_SOURCE + 2) = tally->sent;
	*(__u16 *)(frame + TCP_SOURCE) = tally->sent >> 3;
	tally->sent++;
	return XDP_TX;
}

SEC("xdp")
int receive(struct xdp_md *ctx)
{
	__u8 *frame = (void *)(long)ctx->data;
	__u32 zero = 0;
	struct tally *tally = bpf_map_lookup_elem(&tallies, &zero);

	if (!tally || frame + HEADERS > (__u8 *)(long)ctx->data_end || frame[IP_PROTOCOL] != GRE ||
	    *(__be16 *)(frame + ETH_HLEN - 2) != bpf_htons(ETH_P_IP) ||
	    *(__be32 *)(frame + IP_SOURCE) != node)
		return XDP_PASS;
	__sync_fetch_and_add(&tally->received, 1);
	return XDP_DROP;
}

char LICENSE[] SEC("license") = "Dual MIT/GPL";
