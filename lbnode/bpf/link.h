/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Ethernet with at most two tags in front of what it carries: whose family that is, and where it begins. */
#ifndef EVENKEEL_LINK_H
#define EVENKEEL_LINK_H

#include <linux/if_ether.h>

#include <bpf/bpf_endian.h>

#include "cursor.h"

#define FAMILY_IP4 4
#define FAMILY_IP6 6

#define TAG_SIZE  4
#define TAGS_MAX  2 /* 802.1Q within 802.1ad */
#define LINK_MAX  (ETH_HLEN + TAGS_MAX * TAG_SIZE)
#define LINK_MASK 0x1f /* keeps an offset within Ethernet and tags */

static __always_inline bool is_tag(__be16 type)
{
	return type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD);
}

/*
 * Where a frame's tags end, and in the upper half the type of what follows them: 0 when the frame ends
 * before. Global, like all that is rare: the verifier looks at it once, and not once for each way that leads
 * there; and what it returns is any number to the verifier, so that all that follow are one case.
 */
__noinline __u32 find_network(struct xdp_md *ctx)
{
	struct cursor cursor = whole_frame(ctx);
	const __be16 *ethernet = take(&cursor, ETH_HLEN);
	__u32 size = ETH_HLEN;
	__be16 type;

	if (!ethernet)
		return 0;
	type = ethernet[ETH_ALEN];
	for (int i = 0; i < TAGS_MAX && is_tag(type); i++) {
		const __be16 *tag = take(&cursor, TAG_SIZE);

		if (!tag)
			return 0;
		type = tag[1];
		size += TAG_SIZE;
	}
	return (__u32)type << 16 | size;
}

/* The type of what follows the tags, for a frame whose own type is `type`. */
static __always_inline __be16 skip_tags(struct cursor *cursor, __be16 type)
{
	__u32 network;

	if (!is_tag(type))
		return type;
	network = find_network(cursor->ctx);
	cursor->at = frame_start(cursor->ctx) + (network & LINK_MASK);
	return network >> 16;
}

/* The family of an Ethernet type, 0 for what is no IP. */
static __always_inline __u8 family_of(__be16 type)
{
	if (type == bpf_htons(ETH_P_IP))
		return FAMILY_IP4;
	return type == bpf_htons(ETH_P_IPV6) ? FAMILY_IP6 : 0;
}

/* From the frame's start to what Ethernet carries; 0 for what is no IP. */
static __always_inline __u8 take_link(struct cursor *cursor)
{
	const __be16 *ethernet = take(cursor, ETH_HLEN);

	return ethernet ? family_of(skip_tags(cursor, ethernet[ETH_ALEN])) : 0;
}

#endif
