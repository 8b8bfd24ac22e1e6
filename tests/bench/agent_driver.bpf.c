// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Measures the backend's program as driver.bpf.c does the node's: each repeat makes a packet from the tunnel
 * new, with the next flow's client, and tail-calls the program under test. `nothing` in its place gives the
 * driver's own cost, `strip_only`, the floor, what decapsulation alone costs.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

#define WORDS	   18
#define FRAME_SIZE (ETH_HLEN + WORDS * 4)
#define PORTS_BITS 13
#define FIRST_PORT 1024
#define OUTER_SIZE 24

/* Words of the packet where the inner source address and the ports lie, without and with a GRE key. */
#define KEYLESS_SOURCE 9
#define KEYED_SOURCE   10

struct job {
	__u64 next;	 /* number of the next packet */
	__u64 flow_mask; /* packet number & flow_mask is the flow's number */
	__u64 changed;	 /* packets whose length the program under test changed */
	__u32 client;	 /* address of the first 2^PORTS_BITS flows, in host byte order */
	__u16 port;	 /* of the VIP, in network byte order */
	__u16 unused;
	__u8 ethernet[16];
	__u32 word[WORDS];
	__u32 unused_word[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} jobs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} under_test SEC(".maps");

/* In pieces no larger than what programs read: a load that spans two stores stalls. */
static __always_inline void write_frame(void *at, const struct job *job, __u32 flow, __u32 source)
{
	__u32 *word = at + ETH_HLEN;

	*(__u64 *)at = *(const __u64 *)job->ethernet;
	*(__u32 *)(at + 8) = *(const __u32 *)(job->ethernet + 8);
	*(__u16 *)(at + 12) = *(const __u16 *)(job->ethernet + 12);
#pragma unroll
	for (int i = 0; i < WORDS; i++)
		word[i] = job->word[i];
	word[source] = bpf_htonl(job->client + (flow >> PORTS_BITS));
	word[source + 2] = bpf_htons(FIRST_PORT + (flow & ((1 << PORTS_BITS) - 1))) | (__u32)job->port << 16;
}

static __always_inline int drive(struct xdp_md *ctx, __u32 source)
{
	__u32 zero = 0, size = ctx->data_end - ctx->data;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	void *at;

	if (!job)
		return XDP_ABORTED;
	job->changed += size != FRAME_SIZE;
	if (bpf_xdp_adjust_head(ctx, (int)size - FRAME_SIZE))
		return XDP_ABORTED;
	at = (void *)(long)ctx->data;
	if (at + FRAME_SIZE > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_frame(at, job, job->next++ & job->flow_mask, source);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int drive_keyless(struct xdp_md *ctx)
{
	return drive(ctx, KEYLESS_SOURCE);
}

SEC("xdp")
int drive_keyed(struct xdp_md *ctx)
{
	return drive(ctx, KEYED_SOURCE);
}

SEC("xdp")
int nothing(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}

SEC("xdp")
int strip_only(struct xdp_md *ctx)
{
	void *from = (void *)(long)ctx->data, *to = from + OUTER_SIZE;

	if (to + ETH_HLEN > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	*(__u64 *)to = *(__u64 *)from;
	*(__u32 *)(to + 8) = *(__u32 *)(from + 8);
	*(__u16 *)(to + 12) = bpf_htons(ETH_P_IP);
	return bpf_xdp_adjust_head(ctx, OUTER_SIZE) ? XDP_ABORTED : XDP_PASS;
}
