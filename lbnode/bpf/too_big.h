/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * A packet that does not fit into the tunnel is answered with the size that does (RFC 1191, RFC 8201): the
 * way's MTU without outer header and GRE, the key always counted, so that the number does not change with the
 * table (design.md §4). In IPv4 also without DF: nobody fragments here (docs/adr/0017).
 */
#ifndef EVENKEEL_TOO_BIG_H
#define EVENKEEL_TOO_BIG_H

#include "answer.h"

/* How large an error may be: RFC 1812 4.3.2.3, RFC 4443 2.4 (c). */
#define IPV4_ERROR_MAX 576
#define IPV6_ERROR_MAX 1280

#define MESSAGE_WORDS ((IPV6_ERROR_MAX - sizeof(struct ipv6hdr)) / 4)
/* A verdict that is none: too big, and what fits. */
#define TOO_BIG	  (1 << 16)
#define ROOM_MASK (TOO_BIG - 1)

#define TOS_CONTROL 0xc0 /* internetwork control: RFC 1812 4.3.2.5 */
#define IP6_CONTROL 0x6c000000

static __always_inline int too_big(__u32 room)
{
	return TOO_BIG | (room & ROOM_MASK);
}

static __always_inline bool is_too_big(int verdict)
{
	return verdict & TOO_BIG;
}

static __always_inline __u32 room_of(int verdict)
{
	return verdict & ROOM_MASK;
}

/*
 * Errors are not answered, nor, in IPv4, fragments but the first: RFC 1812 4.3.2.7, RFC 4443 2.4 (e). Other
 * messages of ICMP are never too big for a tunnel: they end here.
 */
static __always_inline bool may_be_answered(const struct xdp_md *ctx, const struct packet *packet)
{
	const struct iphdr *ip = packet->ip;

	if ((void *)(ip + 1) > (void *)(long)ctx->data_end || packet->protocol == icmp_of(packet->family))
		return false;
	return packet->family != FAMILY_IP4 || !(ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET));
}

/* How much of the packet is quoted: a whole number of words. */
static __always_inline __u32 quote_size(const struct packet *packet)
{
	__u32 most = (packet->family == FAMILY_IP4 ? IPV4_ERROR_MAX : IPV6_ERROR_MAX) -
		     ip_size(packet->family) - sizeof(struct icmp_head);

	return (packet->size < most ? packet->size : most) & ~3U;
}

/* The sum of the ICMP message, a whole number of words that ends with the frame. */
static __always_inline __u64 sum_message(const struct icmp_head *icmp, const void *end)
{
	const __be32 *word = (const __be32 *)icmp;
	__u64 sum = 0;

	for (__u32 i = 0; i < MESSAGE_WORDS && (void *)(word + 1) <= end; i++)
		sum += *word++;
	return sum;
}

/* What an ICMPv6 checksum counts of the header (RFC 8200 8.1); ICMP's counts nothing of it. */
static __always_inline __u64 sum_pseudo_header(const struct answer *answer)
{
	__u64 sum = bpf_htonl(answer->size) + (__u64)bpf_htonl(IPPROTO_ICMPV6);

	if (answer->family == FAMILY_IP4)
		return 0;
	for (int i = 0; i < 4; i++)
		sum += (__u64)answer->source.word[i] + answer->destination.word[i];
	return sum;
}

static __always_inline __u16 fold_long(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	return fold(sum_of(sum) + (sum >> 32));
}

/* Ends the frame after `size` bytes. */
static __always_inline bool cut(struct xdp_md *ctx, __u32 size)
{
	return !bpf_xdp_adjust_tail(ctx, (int)size - (int)frame_size(ctx));
}

static __always_inline void write_too_big(const struct xdp_md *ctx, struct icmp_head *icmp,
					  const struct answer *answer, __u32 room)
{
	if (answer->family == FAMILY_IP4)
		*icmp = (struct icmp_head){ICMP_UNREACHABLE, ICMP_CODE_TOO_BIG, 0, bpf_htonl(room)};
	else
		*icmp = (struct icmp_head){ICMP6_TOO_BIG, 0, 0, bpf_htonl(room)};
	icmp->checksum =
		fold_long(sum_pseudo_header(answer) + sum_message(icmp, (void *)(long)ctx->data_end));
}

/* `room`: the size of the largest packet that fits. */
static __always_inline enum outcome answer_too_big(struct xdp_md *ctx, const struct packet *packet,
						   __u32 room)
{
	struct answer answer = {.size = sizeof(struct icmp_head) + quote_size(packet), .tos = TOS_CONTROL};
	__u32 pushed = ip_size(packet->family) + sizeof(struct icmp_head);
	struct icmp_head *icmp;

	if (!may_be_answered(ctx, packet))
		return OUTCOME_drop_too_big;
	if (!is_from_host(ctx, packet))
		return OUTCOME_drop_unanswerable;
	if (!spend(BUDGET_ERRORS))
		return OUTCOME_drop_error_limit;
	if (!begin_answer(ctx, packet, &answer))
		return OUTCOME_drop_inconsistent;
	if (!turn_link(ctx, -(int)pushed))
		return OUTCOME_drop_no_headroom;
	if (!cut(ctx, answer.link + ip_size(answer.family) + answer.size))
		return OUTCOME_drop_inconsistent;
	answer.flow = bpf_htonl(IP6_CONTROL);
	icmp = write_header(ctx, &answer);
	if (!icmp)
		return OUTCOME_drop_inconsistent;
	write_too_big(ctx, icmp, &answer, room);
	return OUTCOME_answered_too_big;
}

#endif
