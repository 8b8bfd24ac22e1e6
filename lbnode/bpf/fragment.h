/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Fragments (docs/adr/0028-fragments.md). Only the first of a packet shows ports and flags: what it shows is
 * written down and lent to the others, so that each is treated as the whole packet would be. Where the first
 * has not come by, the others are nobody's. lbnode/dataplane/fragment_model.py says the same in Python.
 */
#ifndef EVENKEEL_FRAGMENT_H
#define EVENKEEL_FRAGMENT_H

#include <bpf/bpf_helpers.h>

#include "parse.h"

/* Whose fragment it is (RFC 791; RFC 8200, 4.5). */
struct fragment {
	struct address source;
	struct address destination;
	__u32 id; /* as in the packet */
	__u16 protocol;
	__u16 family;
};

_Static_assert(sizeof(struct fragment) == 40, "fragment has no holes");

/* What first fragments showed: ports, and of TCP the flags. How many is set when loaded; the least recently
 * used makes room. */
struct head {
	__u32 ports;
	__u32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct fragment);
	__type(value, struct head);
} fragments SEC(".maps");

/* find_head() returns ports, flags and one of these in a word. */
#define HEAD_FLAGS_SHIFT  32
#define HEAD_SOURCE_SHIFT 40

enum head_source {
	HEAD_UNKNOWN,
	HEAD_SHOWN,    /* by this fragment, and written down */
	HEAD_RECALLED, /* from an earlier one */
};

static __always_inline __u64 head_word(const struct head *head, enum head_source source)
{
	return (__u64)source << HEAD_SOURCE_SHIFT | (__u64)(head->flags & 0xff) << HEAD_FLAGS_SHIFT |
	       head->ports;
}

static __always_inline bool read_head(struct xdp_md *ctx, __u32 protocol, struct head *head, __u32 at)
{
	const struct tcp_head *tcp = frame_start(ctx) + (at & FRAME_MASK);
	void *end = (void *)(long)ctx->data_end;

	if ((void *)tcp + sizeof(struct udphdr) > end)
		return false;
	head->ports = *(const __u32 *)tcp;
	if (protocol != IPPROTO_TCP)
		return true;
	if ((void *)tcp + TCP_SIZE > end)
		return false;
	head->flags = tcp->flags;
	return true;
}

/* `at`: where in the frame the first fragment's transport header lies; 0 for the others. */
__noinline __u64 find_head(struct xdp_md *ctx, const struct fragment *asked, __u32 at)
{
	const struct head *known;
	struct head head = {};
	struct fragment
		fragment; /* the verifier of Linux 6.1 takes no key from a global function's argument */

	if (!asked)
		return HEAD_UNKNOWN;
	fragment = *asked;
	if (at) {
		if (!read_head(ctx, fragment.protocol, &head, at) ||
		    bpf_map_update_elem(&fragments, &fragment, &head, BPF_ANY))
			return HEAD_UNKNOWN;
		return head_word(&head, HEAD_SHOWN);
	}
	known = bpf_map_lookup_elem(&fragments, &fragment);
	return known ? head_word(known, HEAD_RECALLED) : HEAD_UNKNOWN;
}

static __always_inline __u32 head_size(__u32 protocol)
{
	if (protocol == IPPROTO_TCP)
		return TCP_SIZE;
	return protocol == IPPROTO_UDP ? sizeof(struct udphdr) : 0;
}

/*
 * Makes a fragment show what the whole packet would, but for TCP's numbers, if that is known. A first
 * fragment that does not hold the whole head of the transport is nobody's: nobody sends such, but to get past
 * filters (RFC 1858).
 */
static __always_inline enum head_source lend_head(struct xdp_md *ctx, struct packet *packet)
{
	struct fragment fragment = {packet->source, packet->destination, packet->fragment_id,
				    packet->protocol, packet->family};
	__u32 size = head_size(packet->protocol);
	__u64 head;

	if (!size || (packet->is_first && packet->left < size))
		return HEAD_UNKNOWN;
	head = find_head(ctx, &fragment, packet->is_first ? packet->head_at : 0);
	if (!head)
		return HEAD_UNKNOWN;
	packet->is_fragment = false;
	packet->has_ports = true;
	packet->ports = head;
	packet->is_syn = packet->protocol == IPPROTO_TCP &&
			 (head >> HEAD_FLAGS_SHIFT & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return head >> HEAD_SOURCE_SHIFT;
}

#endif
