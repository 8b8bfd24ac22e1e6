// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Measures programs packet by packet inside one system call: BPF_PROG_TEST_RUN repeats a driver, which makes
 * the packet new (length, headers, the next flow's addresses) and tail-calls the program under test.
 * `nothing` in its place gives the driver's own cost; `push_only`, the floor, is the least that any balancer
 * with GRE must do.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

char _license[] SEC("license") = "Dual MIT/GPL";

#define LARGEST_FRAME 80

struct ipv6 {
	__u32 version_to_label;
	__u32 size_to_hops;
	__u32 source[4];
	__u32 destination[4];
} __attribute__((packed));

struct tagged_frame {
	struct ethernet ethernet;
	__u32 tag;
	__u16 type;
	struct ipv4 ip;
	struct tcp tcp;
	__u8 pad[6];
} __attribute__((packed));

struct ipv6_frame {
	struct ethernet ethernet;
	__u16 type;
	struct ipv6 ip;
	struct tcp tcp;
	__u8 pad[6];
} __attribute__((packed));

_Static_assert(sizeof(struct tagged_frame) == 64, "tagged_frame");
_Static_assert(sizeof(struct ipv6_frame) == LARGEST_FRAME, "ipv6_frame");

struct job {
	__u64 next;	 /* number of the next packet */
	__u64 flow_mask; /* packet number & flow_mask is the flow's number */
	__u64 vip_mask;	 /* flow's number & vip_mask is the VIP's */
	__u64 changed;	 /* packets whose length the program under test changed */
	__u8 frame[LARGEST_FRAME];
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

/* Odd: every flow has its own source. */
static __always_inline __u32 source_of(__u32 flow)
{
	return flow * 2654435761u;
}

static __always_inline void write_ipv4(struct ipv4 *to, const struct ipv4 *from, const struct job *job,
				       __u32 flow)
{
	COPY(to, from, version_to_size);
	COPY(to, from, id_to_fragment);
	COPY(to, from, ttl_to_checksum);
	WRITE(to->source, source_of(flow));
	WRITE(to->destination, from->destination + bpf_htonl(flow & job->vip_mask));
}

static __always_inline void write_ipv6(struct ipv6 *to, const struct ipv6 *from, const struct job *job,
				       __u32 flow)
{
	COPY(to, from, version_to_label);
	COPY(to, from, size_to_hops);
	COPY(to, from, source[0]);
	COPY(to, from, source[1]);
	COPY(to, from, source[2]);
	WRITE(to->source[3], source_of(flow));
	COPY(to, from, destination[0]);
	COPY(to, from, destination[1]);
	COPY(to, from, destination[2]);
	WRITE(to->destination[3], from->destination[3] + bpf_htonl(flow & job->vip_mask));
}

/* The packet's start where it was before the program under test moved it; NULL when it cannot be. */
static __always_inline void *restore(struct xdp_md *ctx, struct job *job, __u32 frame_size)
{
	__u32 size = ctx->data_end - ctx->data;

	if (size < frame_size)
		return NULL;
	job->changed += size != frame_size;
	if (bpf_xdp_adjust_head(ctx, size - frame_size) || ctx->data + frame_size > ctx->data_end)
		return NULL;
	return (void *)(long)ctx->data;
}

SEC("xdp")
int drive_ipv4(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	struct frame *frame = job ? restore(ctx, job, sizeof(*frame)) : NULL, *from;

	if (!frame || (void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	from = (struct frame *)job->frame;
	write_ethernet(&frame->ethernet, &from->ethernet);
	COPY(frame, from, type);
	write_ipv4(&frame->ip, &from->ip, job, job->next++ & job->flow_mask);
	write_tcp(&frame->tcp, &from->tcp);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int drive_tagged(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	struct tagged_frame *frame = job ? restore(ctx, job, sizeof(*frame)) : NULL, *from;

	if (!frame || (void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	from = (struct tagged_frame *)job->frame;
	write_ethernet(&frame->ethernet, &from->ethernet);
	COPY(frame, from, tag);
	COPY(frame, from, type);
	write_ipv4(&frame->ip, &from->ip, job, job->next++ & job->flow_mask);
	write_tcp(&frame->tcp, &from->tcp);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int drive_ipv6(struct xdp_md *ctx)
{
	__u32 zero = 0;
	struct job *job = bpf_map_lookup_elem(&jobs, &zero);
	struct ipv6_frame *frame = job ? restore(ctx, job, sizeof(*frame)) : NULL, *from;

	if (!frame || (void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	from = (struct ipv6_frame *)job->frame;
	write_ethernet(&frame->ethernet, &from->ethernet);
	COPY(frame, from, type);
	write_ipv6(&frame->ip, &from->ip, job, job->next++ & job->flow_mask);
	write_tcp(&frame->tcp, &from->tcp);
	bpf_tail_call(ctx, &under_test, 0);
	return XDP_ABORTED;
}

SEC("xdp")
int nothing(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_TX;
}

/* The floor: one look-up in a map, and the outer headers. */
SEC("xdp")
int push_only(struct xdp_md *ctx)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&jobs, &zero) && push_outer(ctx) ? XDP_TX : XDP_ABORTED;
}
