/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a frame to a packet: Ethernet with its tags, IPv4 and IPv6 with all that may stand before the
 * transport, the heads of TCP and UDP. The same for the node, and for the backend inside and outside of the
 * tunnel. Nothing is read before its bounds were checked, and no layer reaches beyond what the layer around
 * it says that there is.
 */
#ifndef EVENKEEL_PARSE_H
#define EVENKEEL_PARSE_H

#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>

#include "layout.h"

/* The compiler must neither split nor repeat the one load that makes a change atomic. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

/* Keeps the compiler from computing a pointer anew at each use, which costs registers and time. */
#define SETTLE(pointer) asm volatile("" : "+r"(pointer))

#define FAMILY_IP4 4
#define FAMILY_IP6 6

#define IP_MORE_FRAGMENTS  0x2000
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP_IS_FRAGMENT	   (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET)
#define IP6_IS_FRAGMENT	   0xfff9 /* the same two in IPv6's fragment header */
#define IP6_OFFSET	   0xfff8

#define FRAME_MASK                                                                                           \
	0x3fff	       /* more than all headers together: keeps an offset within what the verifier takes     \
			*/
#define LINK_MASK 0x1f /* likewise within Ethernet and tags */

#define TAG_SIZE       4
#define LINK_MAX       (ETH_HLEN + TAGS_MAX * TAG_SIZE)
#define TAGS_MAX       2 /* 802.1Q within 802.1ad */
#define EXTENSIONS_MAX 6 /* as many as RFC 8200 (4.1) has a place for */

/* Why a packet has no meaning. From FAULT_TRUNCATED on, its addresses are known. */
enum fault {
	PARSED,		    /* none */
	FAULT_CUT,	    /* the frame ends before the IP header does */
	FAULT_MALFORMED,    /* an IP header that contradicts itself */
	FAULT_TRUNCATED,    /* ends before the length or the header that it names */
	FAULT_MANY_HEADERS, /* more than EXTENSIONS_MAX extension headers */
};

/* The first 14 of a TCP header's 20 bytes: all that we look at. */
struct tcp_head {
	__be16 source;
	__be16 dest;
	__be32 seq;
	__be32 ack_seq;
	__u8 offset;
	__u8 flags;
};

#define TCP_SIZE 20
#define TCP_SYN	 0x02
#define TCP_ACK	 0x10

struct cursor {
	struct xdp_md *ctx;
	void *at;
	void *end;  /* of the frame */
	__u32 left; /* bytes that the layer around leaves: the frame may be longer (padding) */
};

/* What the rest of a program knows of a packet. Words as a host loads them. */
struct packet {
	struct address source;
	struct address destination;
	const void *ip;		    /* its header */
	const void *transport;	    /* what follows all IP headers */
	const struct tcp_head *tcp; /* NULL unless it is TCP and its 20 bytes are there */
	__u32 ports;		    /* source and destination port; 0 when the packet shows none */
	__u32 protocol;		    /* of the transport */
	__u32 size;		    /* of the IP packet, in bytes */
	__u64 hash;		    /* what the destination adds to the hash of a VIP of many addresses */
	/* Only of a fragment: */
	__u32 fragment_id;
	__u32 head_at; /* where the transport begins, in bytes from the frame's start */
	__u32 left;    /* how many bytes of it there are */
	bool is_first;
	__u8 family;
	__u8 dscp; /* upper six bits of the type of service, of the traffic class */
	bool is_fragment;
	bool has_ports; /* TCP or UDP, and its head is there: 20 or 8 bytes */
	bool is_syn;	/* opens a connection: SYN without ACK */
};

static __always_inline void *frame_start(const struct xdp_md *ctx)
{
	return (void *)(long)ctx->data;
}

/* `left` is a constant until a header names a length: tests against it cost nothing. */
static __always_inline struct cursor whole_frame(struct xdp_md *ctx)
{
	return (struct cursor){ctx, frame_start(ctx), (void *)(long)ctx->data_end, ~0u};
}

/* The next `size` bytes, or NULL when the frame or the layer around ends before. */
static __always_inline void *take(struct cursor *cursor, __u32 size)
{
	void *header = cursor->at;

	if (cursor->left < size || header + size > cursor->end)
		return NULL;
	cursor->at = header + size;
	cursor->left -= size;
	return header;
}

/* Go on behind `size` bytes that were not looked at, if there are as many. */
static __always_inline bool skip(struct cursor *cursor, __u32 size)
{
	if (size > cursor->left)
		return false;
	cursor->at += size;
	SETTLE(cursor->at);
	cursor->left -= size;
	return true;
}

/* A header says that `size` bytes follow it: believe it when they are there, and forget what comes after
 * them. */
static __always_inline bool narrow(struct cursor *cursor, __u32 size)
{
	if (size > cursor->left || (__u64)(cursor->end - cursor->at) < size)
		return false;
	cursor->left = size;
	return true;
}

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

static __always_inline enum fault parse_tcp(struct cursor *cursor, struct packet *packet)
{
	const struct tcp_head *tcp = take(cursor, TCP_SIZE);

	if (!tcp)
		return FAULT_TRUNCATED;
	packet->ports = *(const __u32 *)tcp;
	packet->has_ports = true;
	packet->tcp = tcp;
	packet->is_syn = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return PARSED;
}

static __always_inline enum fault parse_udp(struct cursor *cursor, struct packet *packet)
{
	const struct udphdr *udp = take(cursor, sizeof(*udp));

	if (!udp)
		return FAULT_TRUNCATED;
	packet->ports = *(const __u32 *)udp;
	packet->has_ports = true;
	return PARSED;
}

/* Other protocols show no ports. */
static __always_inline enum fault parse_transport(struct cursor *cursor, struct packet *packet)
{
	packet->transport = cursor->at;
	if (packet->is_fragment) {
		__u64 at = cursor->at - frame_start(cursor->ctx);

		SETTLE(at); /* else clang subtracts in 32 bits, what no pointer may be part of */
		packet->head_at = at;
		packet->left = cursor->left;
		return PARSED;
	}
	if (packet->protocol == IPPROTO_TCP)
		return parse_tcp(cursor, packet);
	if (packet->protocol == IPPROTO_UDP)
		return parse_udp(cursor, packet);
	return PARSED;
}

static __always_inline enum fault parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	const struct iphdr *ip = take(cursor, sizeof(*ip));
	__u32 header;

	if (!ip)
		return FAULT_CUT;
	header = ip->ihl * 4;
	packet->size = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || packet->size < header)
		return FAULT_MALFORMED;
	packet->ip = ip;
	packet->source = (struct address){{0, 0, 0, ip->saddr}};
	packet->destination = (struct address){{0, 0, 0, ip->daddr}};
	packet->protocol = ip->protocol;
	packet->dscp = ip->tos & 0xfc;
	packet->is_fragment = ip->frag_off & bpf_htons(IP_IS_FRAGMENT);
	if (packet->is_fragment) {
		packet->fragment_id = ip->id;
		packet->is_first = !(ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET));
	}
	if (!narrow(cursor, packet->size - sizeof(*ip)))
		return FAULT_TRUNCATED;
	/* Options are rare: let the processor guess where the ports are and not wait for the length. */
	if (header != sizeof(*ip))
		skip(cursor, header - sizeof(*ip));
	return parse_transport(cursor, packet);
}

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

static __always_inline struct address ipv6_address(const struct in6_addr *address)
{
	const __be32 *word = address->in6_u.u6_addr32;

	return (struct address){{word[0], word[1], word[2], word[3]}};
}

static __always_inline enum fault parse_ipv6(struct cursor *cursor, struct packet *packet)
{
	const struct ipv6hdr *ip = take(cursor, sizeof(*ip));
	__u32 payload;

	if (!ip)
		return FAULT_CUT;
	if (ip->version != 6)
		return FAULT_MALFORMED;
	payload = bpf_ntohs(ip->payload_len);
	packet->ip = ip;
	packet->source = ipv6_address(&ip->saddr);
	packet->destination = ipv6_address(&ip->daddr);
	packet->protocol = ip->nexthdr;
	packet->dscp = (ip->priority << 4 | ip->flow_lbl[0] >> 4) & 0xfc;
	packet->size = sizeof(*ip) + payload;
	packet->is_fragment = false;
	if (!narrow(cursor, payload))
		return FAULT_TRUNCATED;
	if (is_extension(packet->protocol)) {
		enum fault fault = skip_extensions(cursor, packet, IP6_IS_FRAGMENT);

		if (fault != PARSED)
			return fault;
	}
	return parse_transport(cursor, packet);
}

/* `family` is a constant at every place of use: the compiler makes a straight run of each. */
static __always_inline enum fault parse_ip(struct cursor *cursor, __u8 family, struct packet *packet)
{
	packet->family = family;
	packet->hash = 0;
	packet->tcp = NULL;
	packet->ports = 0;
	packet->has_ports = false;
	packet->is_syn = false;
	return family == FAMILY_IP4 ? parse_ipv4(cursor, packet) : parse_ipv6(cursor, packet);
}

/* The family of an Ethernet type, 0 for what is no IP. */
static __always_inline __u8 family_of(__be16 type)
{
	if (type == bpf_htons(ETH_P_IP))
		return FAMILY_IP4;
	return type == bpf_htons(ETH_P_IPV6) ? FAMILY_IP6 : 0;
}

#endif
