/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * QUIC's connection ids that name a backend (draft-ietf-quic-load-balancers-21, plaintext; docs/quic.md).
 * Only packets of buckets that user space has flagged come here. lbnode/quic.py says the same in Python.
 */
#ifndef EVENKEEL_QUIC_H
#define EVENKEEL_QUIC_H

#include <linux/udp.h>

#include "count.h"
#include "table.h"

#define QUIC_LONG_HEADER  0x80
#define QUIC_TYPE_SHIFT	  4
#define QUIC_TYPE_MASK	  3
#define QUIC_V1		  1
#define QUIC_V2		  0x6b3343cf
#define QUIC_V1_HANDSHAKE 2
#define QUIC_V2_HANDSHAKE 3
#define QUIC_CONFIG_SHIFT 5
#define QUIC_CONFIG_MASK  7

/* The start of a connection id, as far as we read it: RFC 8999 alone says where it is. */
struct quic_id {
	__u8 first;
	__u8 server[2];
} __attribute__((packed));

struct quic_short {
	__u8 first;
	struct quic_id id;
} __attribute__((packed));

struct quic_long {
	__u8 first;
	__be32 version;
	__u8 id_size;
	struct quic_id id;
} __attribute__((packed));

/* In packets of all other types, the id may be the client's own choice: it names nobody. */
static __always_inline bool is_handshake(const struct quic_long *head)
{
	__u8 type = head->first >> QUIC_TYPE_SHIFT & QUIC_TYPE_MASK;

	if (head->version == bpf_htonl(QUIC_V1))
		return type == QUIC_V1_HANDSHAKE;
	return head->version == bpf_htonl(QUIC_V2) && type == QUIC_V2_HANDSHAKE;
}

static __always_inline const struct quic_id *find_long_id(const struct xdp_md *ctx, const void *at,
							  __u32 left)
{
	const struct quic_long *head = at;

	if (left < sizeof(*head) || (void *)(head + 1) > (void *)(long)ctx->data_end || !is_handshake(head))
		return NULL;
	if (head->id_size < sizeof(head->id) || left - offsetof(struct quic_long, id) < head->id_size)
		return NULL;
	return &head->id;
}

/* `left` bytes of a UDP payload: the backend that its first QUIC packet names, 0 for none. */
static __always_inline __u32 read_named(const struct xdp_md *ctx, const void *payload, __u32 left,
					__u32 config)
{
	const struct quic_short *head = payload;
	const struct quic_id *id;

	if (left < sizeof(*head) || (void *)(head + 1) > (void *)(long)ctx->data_end)
		return 0;
	id = head->first & QUIC_LONG_HEADER ? find_long_id(ctx, head, left) : &head->id;
	if (!id || id->first >> QUIC_CONFIG_SHIFT != config)
		return 0;
	return id->server[0] << 8 | id->server[1];
}

static __always_inline bool is_member(__u64 current, __u32 size, __u32 backend)
{
	const struct bucket *place = find_place(current, size + backend / 64);

	return place && *(const __u64 *)place >> backend % 64 & 1;
}

/*
 * The member that a packet names, 0 for none. `flags` are those of any bucket of the table that is `current`,
 * `size` its buckets. Looks at the packet anew, from the frame's byte `at` on, in a function of its own:
 * others need the registers.
 */
__noinline int find_named(struct xdp_md *ctx, __u32 at, __u32 flags, __u64 current, __u32 size)
{
	struct cursor cursor = whole_frame(ctx);
	const __u8 *start = cursor.at + (at & FRAME_MASK);
	struct packet packet;
	enum fault fault;
	__u32 named;

	if (!(flags & BUCKET_QUIC) || (void *)(start + 1) > cursor.end)
		return 0;
	cursor.at = (void *)start;
	fault = *start >> 4 == FAMILY_IP4 ? parse_ip(&cursor, FAMILY_IP4, &packet)
					  : parse_ip(&cursor, FAMILY_IP6, &packet);
	if (fault != PARSED || packet.is_fragment || packet.protocol != IPPROTO_UDP)
		return 0;
	named = read_named(ctx, cursor.at, cursor.left, flags >> BUCKET_QUIC_SHIFT & QUIC_CONFIG_MASK);
	return named && is_member(current, size, named) ? named : 0;
}

#endif
