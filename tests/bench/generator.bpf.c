// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Both ends of a way that is measured from end to end. `generate` runs over live frames (BPF_PROG_TEST_RUN
 * with BPF_F_TEST_XDP_LIVE_FRAMES): it writes each one anew, the next flow's, and sends it out of a device.
 * The frames come back as whoever received them left them. `receive` counts what arrives, and drops it.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "frames.h"

char _license[] SEC("license") = "Dual MIT/GPL";

/* Clients are 100.64.0.0/10 (RFC 6598): 2^22 addresses with 2^10 ports each, a flow for every number. */
#define CLIENTS	     0x64400000
#define CLIENTS_BITS 22
#define FIRST_PORT   1024
#define SPREAD	     2654435761u

struct job {
	__u64 next;	 /* number of the next packet */
	__u64 flow_mask; /* packet number & flow_mask is the flow's number */
	__u64 vip_mask;	 /* flow's number & vip_mask is the VIP's */
	__u64 arrived;	 /* packets of the expected protocol and network */
	__u64 strayed;	 /* all others that were received */
	__u32 ifindex;	 /* to send by */
	__u32 sum;	 /* of the IPv4 header's words that all packets share */
	__u32 protocol;	 /* expected */
	__u32 network;	 /* expected: the destination's first 16 bits, as a little-endian host loads them */
	__u32 way_out;	 /* of push_through */
	__u32 unused;
	struct frame frame;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct job);
} jobs SEC(".maps");

static __always_inline struct job *find_job(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&jobs, &zero);
}

static __always_inline void write_ipv4(struct ipv4 *to, const struct ipv4 *from, __u32 shared, __u32 source,
				       __u32 destination)
{
	__u32 sum =
		shared + (source & 0xffff) + (source >> 16) + (destination & 0xffff) + (destination >> 16);

	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	COPY(to, from, version_to_size);
	COPY(to, from, id_to_fragment);
	WRITE(to->ttl_to_checksum, (from->ttl_to_checksum & 0xffff) | ~sum << 16);
	WRITE(to->source, source);
	WRITE(to->destination, destination);
}

SEC("xdp")
int generate(struct xdp_md *ctx)
{
	struct frame *frame = (void *)(long)ctx->data;
	struct job *job = find_job();
	__u32 flow, spread;

	if (!job || (void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	flow = job->next++ & job->flow_mask;
	spread = flow * SPREAD;
	write_ethernet(&frame->ethernet, &job->frame.ethernet);
	COPY(frame, &job->frame, type);
	write_ipv4(&frame->ip, &job->frame.ip, job->sum,
		   bpf_htonl(CLIENTS | (spread & ((1 << CLIENTS_BITS) - 1))),
		   job->frame.ip.destination + bpf_htonl(flow & job->vip_mask));
	write_tcp(&frame->tcp, &job->frame.tcp);
	WRITE(frame->tcp.ports,
	      (job->frame.tcp.ports & 0xffff0000) | bpf_htons(FIRST_PORT + (spread >> CLIENTS_BITS)));
	return bpf_redirect(job->ifindex, 0);
}

static __always_inline void count_arrival(void *data, void *data_end)
{
	struct job *job = find_job();
	struct frame *frame = data;

	if (!job)
		return;
	if ((void *)&frame->tcp <= data_end && frame->type == bpf_htons(ETH_P_IP) &&
	    (frame->ip.ttl_to_checksum >> 8 & 0xff) == job->protocol &&
	    (frame->ip.destination & 0xffff) == job->network)
		job->arrived++;
	else
		job->strayed++;
}

SEC("xdp")
int receive(struct xdp_md *ctx)
{
	count_arrival((void *)(long)ctx->data, (void *)(long)ctx->data_end);
	return XDP_DROP;
}

SEC("xdp")
int push_through(struct xdp_md *ctx)
{
	const struct job *job = find_job();

	return job && push_outer(ctx) ? bpf_redirect(job->way_out, 0) : XDP_ABORTED;
}

SEC("xdp")
int push_back(struct xdp_md *ctx)
{
	return push_outer(ctx) ? XDP_TX : XDP_ABORTED;
}

/* For the stack of the machine in question. */
SEC("xdp")
int let_pass(struct xdp_md *ctx __attribute__((unused)))
{
	return XDP_PASS;
}
