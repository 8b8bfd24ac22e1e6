/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Echo replies. Options and extension headers of the request are left out, all else comes back: its type of
 * service, IPv4's identification and DF, IPv6's flow label, and the message behind its type.
 */
#ifndef EVENKEEL_ECHO_H
#define EVENKEEL_ECHO_H

#include "answer.h"

#define IP6_FLOW_ECN 0x00300000

/*
 * The type changes, and the checksum with it: RFC 1624. What was damaged on the way stays so. The pseudo
 * header that counts in IPv6 is the same in both directions.
 */
static __always_inline void turn_echo(struct icmp_head *icmp, __u8 reply)
{
	__u32 sum = (__u16)~icmp->checksum + (__u16)~icmp->type + reply;

	icmp->type = reply;
	icmp->checksum = fold(sum);
}

static __always_inline enum outcome answer_echo(struct xdp_md *ctx, const struct packet *packet)
{
	__u32 header = packet->transport - packet->ip, size = ip_size(packet->family);
	struct answer answer = {.size = packet->size - header, .tos = packet->dscp};
	struct icmp_head *icmp;

	if (!is_from_host(ctx, packet))
		return OUTCOME_drop_unanswerable;
	if (!spend(BUDGET_ECHOES))
		return OUTCOME_drop_echo_limit;
	if (!begin_answer(ctx, packet, &answer) || !turn_link(ctx, header - size))
		return OUTCOME_drop_inconsistent;
	answer.flow &= ~bpf_htonl(IP6_FLOW_ECN);
	icmp = write_header(ctx, &answer);
	if (!icmp)
		return OUTCOME_drop_inconsistent;
	turn_echo(icmp, answer.family == FAMILY_IP4 ? ICMP_ECHO_REPLY : ICMP6_ECHO_REPLY);
	return OUTCOME_answered_echo;
}

#endif
