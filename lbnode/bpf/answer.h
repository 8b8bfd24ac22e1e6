/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the node says itself, in the name of a VIP: the frame is turned round and leaves as it came, with a
 * new IP header before an ICMP message (RFC 792, RFC 1122 3.2.2, RFC 1812 4.3.2; RFC 4443).
 */
#ifndef EVENKEEL_ANSWER_H
#define EVENKEEL_ANSWER_H

#include "budget.h"
#include "encap.h"
#include "icmp.h"
#include "layout.h"

#define IP_DO_NOT_FRAGMENT 0x4000

/* The headers of an answer, in front of what stays of the packet. */
struct answer {
	struct address source;
	struct address destination;
	__u32 link; /* size of Ethernet and its tags */
	__u32 size; /* of the ICMP message */
	__u8 family;
	__be32 flow; /* IPv6: the first word */
	__be16 id;   /* IPv4 */
	__be16 fragment;
	__u8 tos;
};

/* Ethernet, its tags and 2 bytes of the IP header when there are fewer. */
struct link {
	__u8 destination[ETH_ALEN];
	__u8 source[ETH_ALEN];
	__u8 rest[LINK_MAX - 2 * ETH_ALEN];
};

static __always_inline __u64 frame_size(const struct xdp_md *ctx)
{
	__u64 size = (void *)(long)ctx->data_end - (void *)(long)ctx->data;

	SETTLE(size); /* else clang subtracts in 32 bits, what no pointer may be part of */
	return size;
}

static __always_inline bool is_host_ipv4(const struct address *address)
{
	__u8 first = address->word[3];

	return first != 0 && first != 127 && first < 224;
}

static __always_inline bool is_host_ipv6(const struct address *address)
{
	const __u32 *word = address->word;
	bool is_small = !(word[0] | word[1] | word[2]) && bpf_ntohl(word[3]) <= 1;

	return !is_small && (word[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000);
}

/* May it be answered? Not if nobody in particular sent it, or it was sent to nobody in particular. */
static __always_inline bool is_from_host(const struct xdp_md *ctx, const struct packet *packet)
{
	const __u8 *mac = frame_start(ctx);

	if ((void *)(mac + ETH_HLEN) > (void *)(long)ctx->data_end || mac[0] & 1)
		return false;
	return packet->family == FAMILY_IP4 ? is_host_ipv4(&packet->source) : is_host_ipv6(&packet->source);
}

/* What the answer takes over of the packet. */
static __always_inline bool begin_answer(const struct xdp_md *ctx, const struct packet *packet,
					 struct answer *answer)
{
	const struct iphdr *ip = packet->ip;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end)
		return false;
	answer->source = packet->destination;
	answer->destination = packet->source;
	answer->link = packet->ip - frame_start(ctx);
	answer->family = packet->family;
	answer->flow = *(const __be32 *)ip;
	answer->id = ip->id;
	answer->fragment = ip->frag_off & bpf_htons(IP_DO_NOT_FRAGMENT);
	return true;
}

/* Moves the frame's start by `shift` bytes, and what stands before IP with it, the addresses exchanged. */
static __always_inline bool turn_link(struct xdp_md *ctx, int shift)
{
	struct link *link = frame_start(ctx);
	struct link was;

	if ((void *)(link + 1) > (void *)(long)ctx->data_end)
		return false;
	was = *link;
	if (bpf_xdp_adjust_head(ctx, shift))
		return false;
	link = frame_start(ctx);
	if ((void *)(link + 1) > (void *)(long)ctx->data_end)
		return false;
	__builtin_memcpy(link->destination, was.source, sizeof(was.source));
	__builtin_memcpy(link->source, was.destination, sizeof(was.destination));
	__builtin_memcpy(link->rest, was.rest, sizeof(was.rest));
	return true;
}

static __always_inline __u32 sum_header(const struct iphdr *ip)
{
	const __be16 *word = (const __be16 *)ip;
	__u32 sum = 0;

	for (__u32 i = 0; i < sizeof(*ip) / sizeof(*word); i++)
		sum += word[i];
	return sum;
}

static __always_inline void write_ipv4_header(struct iphdr *ip, const struct answer *answer)
{
	*ip = (struct iphdr){
		.version = 4,
		.ihl = 5,
		.tos = answer->tos,
		.tot_len = bpf_htons(sizeof(*ip) + answer->size),
		.id = answer->id,
		.frag_off = answer->fragment,
		.ttl = HOPS,
		.protocol = IPPROTO_ICMP,
		.saddr = answer->source.word[3],
		.daddr = answer->destination.word[3],
	};
	ip->check = fold(sum_header(ip));
}

static __always_inline void write_ipv6_header(struct ipv6hdr *ip, const struct answer *answer)
{
	*(__be32 *)ip = answer->flow;
	ip->payload_len = bpf_htons(answer->size);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = HOPS;
	__builtin_memcpy(&ip->saddr, &answer->source, sizeof(ip->saddr));
	__builtin_memcpy(&ip->daddr, &answer->destination, sizeof(ip->daddr));
}

/* Writes the IP header and returns where the message is, NULL when the frame ends before. */
static __always_inline struct icmp_head *write_header(const struct xdp_md *ctx, const struct answer *answer)
{
	void *ip = frame_start(ctx) + (answer->link & LINK_MASK);
	void *end = (void *)(long)ctx->data_end;

	if (answer->family == FAMILY_IP4) {
		if (ip + sizeof(struct iphdr) + sizeof(struct icmp_head) > end)
			return NULL;
		write_ipv4_header(ip, answer);
		return ip + sizeof(struct iphdr);
	}
	if (ip + sizeof(struct ipv6hdr) + sizeof(struct icmp_head) > end)
		return NULL;
	write_ipv6_header(ip, answer);
	return ip + sizeof(struct ipv6hdr);
}

#endif
