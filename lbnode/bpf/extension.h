/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The headers that may stand between IPv6's own and the transport (RFC 8200). */
#ifndef EVENKEEL_EXTENSION_H
#define EVENKEEL_EXTENSION_H

#include <linux/in.h>
#include <linux/in6.h>

#include <bpf/bpf_endian.h>

#include "cursor.h"
#include "packet.h"

#define IP6_IS_FRAGMENT 0xfff9 /* of a fragment header: more of them follow, or this is not the first */
#define IP6_OFFSET	0xfff8

#define EXTENSIONS_MAX 6 /* as many as RFC 8200 (4.1) has a place for */

/* What all extension headers have in common, and the fragment header's own. */
struct extension {
	__u8 next;
	__u8 size;
	__be16 fragment;
	__be32 id;
};

/* Where the walk along a chain of IPv6's headers has come to. */
struct chain {
	__u32 at; /* in bytes from the frame's start */
	__u32 left;
	__u32 protocol; /* of what comes next */
	__u32 fragment; /* which bits of a fragment header end the walk */
	__u32 id;	/* of a fragment */
	bool is_fragment;
	bool is_first;
};

static __always_inline bool is_extension(__u32 protocol)
{
	return protocol == IPPROTO_HOPOPTS || protocol == IPPROTO_ROUTING || protocol == IPPROTO_FRAGMENT ||
	       protocol == IPPROTO_AH || protocol == IPPROTO_DSTOPTS;
}

static __always_inline __u32 extension_size(const struct extension *header, __u32 protocol)
{
	if (protocol == IPPROTO_FRAGMENT)
		return sizeof(*header);
	return protocol == IPPROTO_AH ? (header->size + 2) * 4 : (header->size + 1) * 8;
}

static __always_inline const struct extension *find_extension(const struct xdp_md *ctx,
							      const struct chain *chain)
{
	const struct extension *header = frame_start(ctx) + (chain->at & FRAME_MASK);

	if (chain->left < sizeof(*header) || (void *)(header + 1) > (void *)(long)ctx->data_end)
		return NULL;
	return header;
}

/*
 * Behind the extension headers (RFC 8200), or behind the fragment header of a real fragment: what follows
 * that is nobody's before it has been put together.
 */
__noinline int walk_extensions(struct xdp_md *ctx, struct chain *chain)
{
	if (!chain)
		return FAULT_TRUNCATED;
	for (int i = 0; i < EXTENSIONS_MAX && is_extension(chain->protocol); i++) {
		const struct extension *header = find_extension(ctx, chain);
		__u32 protocol = chain->protocol, size;

		if (!header)
			return FAULT_TRUNCATED;
		chain->protocol = header->next;
		chain->is_fragment =
			protocol == IPPROTO_FRAGMENT && header->fragment & bpf_htons(chain->fragment);
		chain->is_first = !(header->fragment & bpf_htons(IP6_OFFSET));
		chain->id = header->id;
		size = extension_size(header, protocol);
		if (size > chain->left)
			return FAULT_TRUNCATED;
		chain->at += size;
		chain->left -= size;
		if (chain->is_fragment)
			return PARSED;
	}
	return is_extension(chain->protocol) ? FAULT_MANY_HEADERS : PARSED;
}

static __always_inline enum fault skip_extensions(struct cursor *cursor, struct packet *packet,
						  __u32 fragment)
{
	void *start = frame_start(cursor->ctx);
	struct chain chain = {cursor->at - start, cursor->left, packet->protocol, fragment, 0, false, false};
	enum fault fault = walk_extensions(cursor->ctx, &chain);

	cursor->at = start + (chain.at & FRAME_MASK);
	cursor->left = chain.left;
	packet->protocol = chain.protocol;
	packet->is_fragment = chain.is_fragment;
	packet->is_first = chain.is_first;
	packet->fragment_id = chain.id;
	return fault;
}

#endif
