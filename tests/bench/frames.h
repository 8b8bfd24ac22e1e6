/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* TCP over IPv4 as the bench's programs write it into frames of 64 bytes. */
#ifndef EVENKEEL_BENCH_FRAMES_H
#define EVENKEEL_BENCH_FRAMES_H

#include <linux/types.h>

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

#endif
