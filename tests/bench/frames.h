/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP over IPv4 as the bench's programs write it into frames of 64 bytes, and the outer headers that they
 * push. */
#ifndef EVENKEEL_BENCH_FRAMES_H
#define EVENKEEL_BENCH_FRAMES_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <stdbool.h>

#include <bpf/bpf_helpers.h>

/* Headers as they lie in a frame, in pieces no larger than what programs read: a load that spans two stores
 * stalls. */
struct ethernet {
	__u64 start;
	__u32 rest;
} __attribute__((packed));

struct ipv4 {
	__u32 version_to_size;
	__u32 id_to_fragment;
	__u32 ttl_to_checksum;
	__u32 source;
	__u32 destination;
} __attribute__((packed));

struct tcp {
	__u32 ports;
	__u64 sequence;
	__u64 flags_to_end;
} __attribute__((packed));

struct frame {
	struct ethernet ethernet;
	__u16 type;
	struct ipv4 ip;
	struct tcp tcp;
	__u8 pad[10];
} __attribute__((packed));

_Static_assert(sizeof(struct frame) == 64, "frame");

/* One store each, wherever it lies. */
#define WRITE(field, value)   (*(typeof(field) *)(void *)&(field) = (value))
#define COPY(to, from, field) WRITE((to)->field, (from)->field)

static __always_inline void write_ethernet(struct ethernet *to, const struct ethernet *from)
{
	COPY(to, from, start);
	COPY(to, from, rest);
}

static __always_inline void write_tcp(struct tcp *to, const struct tcp *from)
{
	COPY(to, from, ports);
	COPY(to, from, sequence);
	COPY(to, from, flags_to_end);
}

/* Outer IPv4 and GRE, the same for all packets: to 10.1.0.1, by the way of fleet.py's next hop. */
#define OUTER_SIZE 24

static __always_inline bool push_outer(struct xdp_md *ctx)
{
	__u64 *at;

	if (bpf_xdp_adjust_head(ctx, -OUTER_SIZE))
		return false;
	at = (void *)(long)ctx->data;
	if ((void *)at + ETH_HLEN + OUTER_SIZE > (void *)(long)ctx->data_end)
		return false;
	at[0] = 0x0002020000000002;
	at[1] = 0x0045000801000000;
	at[2] = 0x2f40004000004000;
	at[3] = 0x010a0100ff0a0000;
	*(__u32 *)(at + 4) = 0x00000100;
	*(__u16 *)((void *)at + 36) = 0x0008;
	return true;
}

#endif
