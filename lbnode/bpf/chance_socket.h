/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Does this machine hold a packet's flow? One look-up among the kernel's sockets; what it finds must also fit
 * the packet, for a listener, a half-open or an ended flow is found for strangers too (design.md §5.4).
 */
#ifndef EVENKEEL_CHANCE_SOCKET_H
#define EVENKEEL_CHANCE_SOCKET_H

#include <linux/bpf.h>
#include <linux/tcp.h>

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "decap_parse.h"

/*
 * A flow that was closed here is this one when the packet is within a megabyte of what it expects: a
 * retransmission, or what was under way. A stranger's numbers are that near by chance once in 2000 times.
 */
#define TIME_WAIT_REACH (1 << 20)

#define NOBODY DECAP_OUTCOME_COUNT

/* The kernel's own, as far as they are read; libbpf relocates. */
struct tcp_request_sock {
	__u32 snt_isn;
} __attribute__((preserve_access_index));

struct sock_common {
	__u32 skc_tw_rcv_nxt;
} __attribute__((preserve_access_index));

struct inet_timewait_sock {
	struct sock_common __tw_common;
} __attribute__((preserve_access_index));

struct tcp_timewait_sock {
	struct inet_timewait_sock tw_sk;
} __attribute__((preserve_access_index));

/* As it was before Linux 6.5. */
struct tcp_timewait_sock___before {
	__u32 tw_rcv_nxt;
} __attribute__((preserve_access_index));

static __always_inline struct bpf_sock *find_socket(struct xdp_md *ctx, const struct packet *inner)
{
	struct bpf_sock_tuple tuple = {};
	__be16 source = inner->ports, destination = inner->ports >> 16;

	if (inner->family == FAMILY_IP4) {
		tuple.ipv4.saddr = inner->source.word[3];
		tuple.ipv4.daddr = inner->destination.word[3];
		tuple.ipv4.sport = source;
		tuple.ipv4.dport = destination;
		return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), BPF_F_CURRENT_NETNS, 0);
	}
	__builtin_memcpy(tuple.ipv6.saddr, &inner->source, sizeof(inner->source));
	__builtin_memcpy(tuple.ipv6.daddr, &inner->destination, sizeof(inner->destination));
	tuple.ipv6.sport = source;
	tuple.ipv6.dport = destination;
	return bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), BPF_F_CURRENT_NETNS, 0);
}

/* A half-open flow takes what acknowledges its own answer. */
static __always_inline bool fits_request(struct bpf_sock *socket, const struct tcp_head *tcp)
{
	const struct tcp_request_sock *request = bpf_skc_to_tcp_request_sock(socket);

	return request && tcp->flags & TCP_ACK && bpf_ntohl(tcp->ack_seq) == request->snt_isn + 1;
}

static __always_inline bool fits_cookie(struct xdp_md *ctx, struct bpf_sock *socket,
					const struct tunnelled *packet)
{
	struct tcphdr *tcp = (struct tcphdr *)packet->inner.tcp;
	void *ip = (void *)packet->inner.ip;

	if (packet->inner.family == FAMILY_IP4)
		return !bpf_tcp_check_syncookie(socket, ip, sizeof(struct iphdr), tcp, sizeof(*tcp));
	/* The verifier does not know what family says of the size. */
	if (ip + sizeof(struct ipv6hdr) > (void *)(long)ctx->data_end)
		return false;
	return !bpf_tcp_check_syncookie(socket, ip, sizeof(struct ipv6hdr), tcp, sizeof(*tcp));
}

static __always_inline bool fits_time_wait(struct bpf_sock *socket, const struct tcp_head *tcp)
{
	const struct tcp_timewait_sock *ended = bpf_skc_to_tcp_timewait_sock(socket);
	const struct tcp_timewait_sock___before *before = (const void *)ended;
	__u32 expected;

	if (!ended)
		return false;
	if (bpf_core_field_exists(before->tw_rcv_nxt))
		expected = before->tw_rcv_nxt;
	else
		expected = ended->tw_sk.__tw_common.skc_tw_rcv_nxt;
	return bpf_ntohl(tcp->seq) - expected + TIME_WAIT_REACH < 2 * TIME_WAIT_REACH;
}

static __always_inline enum decap_outcome judge_socket(struct xdp_md *ctx, struct bpf_sock *socket,
						       const struct tunnelled *packet)
{
	const struct tcp_head *tcp = packet->inner.tcp;

	switch (socket->state) {
	case BPF_TCP_NEW_SYN_RECV:
		return fits_request(socket, tcp) ? DECAP_delivered_handshake : NOBODY;
	case BPF_TCP_LISTEN:
		return fits_cookie(ctx, socket, packet) ? DECAP_delivered_cookie : NOBODY;
	case BPF_TCP_TIME_WAIT:
		return fits_time_wait(socket, tcp) ? DECAP_delivered_time_wait : NOBODY;
	default:
		return DECAP_delivered_held;
	}
}

/* Of an error about a flow, which is of use to whoever may still send; and of fragments. */
static __always_inline enum decap_outcome judge_numberless(const struct bpf_sock *socket)
{
	return socket->state == BPF_TCP_LISTEN || socket->state == BPF_TCP_TIME_WAIT ? NOBODY
										     : DECAP_delivered_held;
}

/* How this machine holds the flow of a TCP packet, of a fragment, of what an error quotes; or NOBODY. */
static __always_inline enum decap_outcome find_holder(struct xdp_md *ctx, const struct tunnelled *packet)
{
	struct bpf_sock *socket = find_socket(ctx, &packet->inner);
	enum decap_outcome held;

	if (!socket)
		return NOBODY;
	held = packet->inner.tcp ? judge_socket(ctx, socket, packet) : judge_numberless(socket);
	bpf_sk_release(socket);
	return held;
}

#endif
