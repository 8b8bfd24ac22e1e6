// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Measures programs packet by packet inside one system call: BPF_PROG_TEST_RUN repeats `driver`, which makes
 * the packet new (length, headers, the next flow's addresses) and tail-calls the program under test.
 * `nothing` in its place gives the driver's own cost; `push_only`, the floor, is the least that any balancer
 * with GRE must do.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

#define FRAME_SIZE 64

/* Headers as they lie in the frame, in pieces no larger than what programs read: a load that spans two stores
 * stalls. */
struct frame {
	__u64 ethernet_start;
	__u32 ethernet_rest;
	__u16 ethernet_type;
	__u32 version_to_size;
	__u32 id_to_fragment;
	__u32 ttl_to_checksum;
	__u32 source;
	__u32 destination;
	__u32 ports;
	__u64 sequence;
	__u64 flags_to_end;
	__u64 pad;
	__u16 more_pad;
} __attribute__((packed));

_Static_assert(sizeof(struct frame) == FRAME_SIZE, "frame");

struct job {
	__u64 next;	 /* number of the next packet */
	__u64 flow_mask; /* packet number & flow_mask is the flow's number */
	__u64 vip_mask;	 /* flow's number & vip_mask is the VIP's */
	__u64 changed;	 /* packets whose length the program under test changed */
	__u8 frame[FRAME_SIZE];
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

static __always_inline void write_frame(struct frame *frame, const struct job *job, __u32 flow)
{
	const struct frame *from = (const struct frame *)job->frame;

	frame->ethernet_start = from->ethernet_start;
	frame->ethernet_rest = from->ethernet_rest;
	frame->ethernet_type = from->ethernet_type;
	frame->version_to_size = from->version_to_size;
	frame->id_to_fragment = from->id_to_fragment;
	frame->ttl_to_checksum = from->ttl_to_checksum;
	frame->source = flow * 2654435761u; /* odd: every flow has its own source */
	frame->destination = from->destination + bpf_htonl(flow & job->vip_mask);
	frame->ports = from->ports;
	frame->sequence = from->sequence;
	frame->flags_to_end = from->flags_to_end;
}

SEC("xdp")
int driver(struct xdp_md *ctx)
{
	__u32 zero = 0, size = ctx->data_end - ctx->data;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	struct frame *frame;

	if (!job || size < FRAME_SIZE)
		return XDP_ABORTED;
	job->changed += size != FRAME_SIZE;
	if (bpf_xdp_adjust_head(ctx, size - FRAME_SIZE))
		return XDP_ABORTED;
	frame = (void *)(long)ctx->data;
	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	write_frame(frame, job, job->next++ & job->flow_mask);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

#define OUTER_SIZE 24

SEC("xdp")
int push_only(struct xdp_md *ctx)
{
	__u32 zero = 0;
	const struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	__u64 *at;

	if (!job || bpf_xdp_adjust_head(ctx, -OUTER_SIZE))
		return XDP_ABORTED;
	at = (void *)(long)ctx->data;
	if ((void *)at + ETH_HLEN + OUTER_SIZE > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	at[0] = 0x0002000000000002;
	at[1] = 0x0045000801000000;
	at[2] = 0x2f40004000005400;
	at[3] = 0x000a000001000a01;
	*(__u32 *)(at + 4) = 0x00000100;
	*(__u16 *)((void *)at + 36) = 0x0008;
	return XDP_TX;
}
