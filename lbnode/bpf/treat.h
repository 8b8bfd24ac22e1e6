/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the short way does not take: ICMP, all that has to be refused, and what does not fit into the tunnel.
 * Functions of their own, which look at the frame anew: packets that go the short way have the registers for
 * themselves, and no function needs much of the stack that all in a row of calls share.
 */
#ifndef EVENKEEL_TREAT_H
#define EVENKEEL_TREAT_H

#include "echo.h"
#include "forward.h"
#include "fragment.h"
#include "prefix.h"
#include "quote.h"
#include "too_big.h"
#include "vip.h"

/* What look_anew() leaves to others; verdicts are smaller. */
enum treatment {
	TREAT_ECHO = 16,
	TREAT_FLOW,
};

/* An outcome that is none: the frame is not refused. */
#define NOT_REFUSED OUTCOME_COUNT

/*
 * A packet of a flow, left by look_anew() for serve_kept(): the frame's own, or one of the flow that the
 * frame quotes. In a map, for the stack is too small for the two together.
 */
struct kept {
	struct packet packet; /* without its pointers */
	__u64 before;	      /* bytes in front of the IP header */
	__u32 half;	      /* of the directories: lest a packet see half of a change */
	__u32 prefix;	      /* which of that half's it is for */
	__u16 due;	      /* what becomes of it if no VIP takes it */
	__u16 is_error;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct kept);
} kept_packets SEC(".maps");

/* `cursor` is at the frame's start. */
static __always_inline enum fault parse_frame(struct cursor *cursor, struct packet *packet)
{
	__u8 family = take_link(cursor);

	return family ? parse_ip(cursor, family, packet) : FAULT_CUT;
}

/* What was parsed before. */
static __always_inline bool parse_again(struct xdp_md *ctx, struct packet *packet)
{
	struct cursor cursor = whole_frame(ctx);

	return parse_frame(&cursor, packet) == PARSED;
}

static __always_inline int verdict_of(enum outcome outcome)
{
	if (outcome < FIRST_PASS)
		return XDP_TX;
	return outcome < FIRST_DROP ? XDP_PASS : XDP_DROP;
}

/* Of a packet for one of our addresses that is `due` to be dropped. */
static __always_inline enum outcome refusal_of(const struct vip *ours, enum outcome due)
{
	return ours->flags & VIP_WRONG_PASS ? OUTCOME_pass_wrong_port : due;
}

/* What a packet that is not ICMP deserves that no VIP takes and whose address is ours. */
static __always_inline enum outcome judge(enum fault fault, const struct packet *packet)
{
	if (fault == FAULT_TRUNCATED)
		return OUTCOME_drop_truncated;
	if (fault == FAULT_MANY_HEADERS)
		return OUTCOME_drop_extensions;
	if (packet->is_fragment)
		return OUTCOME_drop_fragment;
	return packet->has_ports ? OUTCOME_drop_wrong_port : OUTCOME_drop_protocol;
}

static __always_inline bool is_icmp(const struct packet *packet)
{
	return !packet->is_fragment && packet->protocol == icmp_of(packet->family);
}

/* `cursor` is behind the IP headers. An error becomes a packet of the flow that it quotes. */
static __always_inline enum outcome judge_icmp(struct cursor *cursor, struct packet *packet,
					       const struct vip *ours, enum treatment *treatment,
					       struct kept *kept)
{
	const struct icmp_head *icmp = take(cursor, sizeof(*icmp));

	if (!icmp)
		return refusal_of(ours, OUTCOME_drop_truncated);
	switch (kind_of(packet->family, icmp->type)) {
	case ICMP_IS_ERROR:
		kept->is_error = true;
		kept->due = refusal_of(ours, OUTCOME_drop_icmp_quote);
		return turn_quote(cursor, packet) ? NOT_REFUSED : kept->due;
	case ICMP_IS_ECHO:
		*treatment = TREAT_ECHO;
		return refusal_of(ours, NOT_REFUSED);
	default:
		return refusal_of(ours, OUTCOME_drop_icmp);
	}
}

static __always_inline enum outcome judge_packet(struct cursor *cursor, enum fault fault,
						 struct packet *packet, const struct vip *ours,
						 enum treatment *treatment, struct kept *kept)
{
	kept->is_error = false;
	*treatment = TREAT_FLOW;
	if (fault == PARSED && is_icmp(packet))
		return judge_icmp(cursor, packet, ours, treatment, kept);
	kept->due = refusal_of(ours, judge(fault, packet));
	return fault == PARSED && (packet->has_ports || packet->is_fragment) ? NOT_REFUSED : kept->due;
}

static __always_inline enum outcome judge_frame(struct xdp_md *ctx, const struct state *state,
						enum treatment *treatment, struct kept *kept)
{
	struct cursor cursor = whole_frame(ctx);
	struct packet packet = {};
	enum fault fault = parse_frame(&cursor, &packet);
	const struct vip *ours;
	enum outcome outcome;
	__u32 place;

	if (fault == FAULT_CUT || fault == FAULT_MALFORMED)
		return OUTCOME_pass_malformed;
	kept->half = READ_ONCE(state->control.directory) & 1;
	place = find_longest(&packet.destination, packet.family, kept->half);
	if (!place)
		return OUTCOME_pass_not_vip;
	kept->prefix = place - 1;
	ours = prefix_at(state, kept->half, kept->prefix);
	kept->before = packet.ip - frame_start(ctx);
	outcome = judge_packet(&cursor, fault, &packet, ours, treatment, kept);
	packet.ip = packet.transport = packet.tcp = NULL;
	kept->packet = packet;
	return outcome;
}

/* What the long way's functions have at hand. */
struct desk {
	const struct state *state;
	struct cpu_counts *counts;
	struct kept *kept;
	__u32 bytes;
};

static __always_inline bool sit_down(const struct xdp_md *ctx, struct desk *desk)
{
	__u32 zero = 0;

	desk->state = bpf_map_lookup_elem(&node_state, &zero);
	desk->kept = bpf_map_lookup_elem(&kept_packets, &zero);
	desk->counts = own_counts();
	desk->bytes = frame_size(ctx);
	return desk->state && desk->kept && desk->counts;
}

/* Counts a packet that is not sent. */
static __always_inline int end(const struct desk *desk, enum outcome outcome)
{
	count(desk->counts, outcome, desk->bytes);
	return verdict_of(outcome);
}

/* A verdict, or an enum treatment. */
__noinline int look_anew(struct xdp_md *ctx)
{
	enum treatment treatment = 0;
	enum outcome outcome;
	struct desk desk;

	if (!sit_down(ctx, &desk))
		return XDP_DROP;
	outcome = judge_frame(ctx, desk.state, &treatment, desk.kept);
	return outcome == NOT_REFUSED ? (int)treatment : end(&desk, outcome);
}

static __always_inline const struct vip *find_kept_vip(const struct state *state, struct kept *kept)
{
	__u32 half = kept->half & 1;
	const struct vip *vip = find_exact(&state->vips[half], &kept->packet);

	return vip ? vip : find_wide(state, half, prefix_at(state, half, kept->prefix), &kept->packet);
}

/*
 * Lets a fragment show what the first one of its packet did; false when that is not known. Not inline: what
 * this needs of the stack is free again afterwards.
 */
static __noinline bool know_fragment(struct xdp_md *ctx, struct cpu_counts *counts, struct kept *kept)
{
	enum head_source source;

	if (!kept->packet.is_fragment || kept->is_error)
		return false;
	source = lend_head(ctx, &kept->packet);
	if (source == HEAD_UNKNOWN)
		return false;
	count(counts, source == HEAD_SHOWN ? OUTCOME_fragment_recorded : OUTCOME_fragment_followed, 0);
	return true;
}

/* A verdict, or one that is_too_big(). */
__noinline int serve_kept(struct xdp_md *ctx)
{
	const struct vip *vip;
	enum outcome outcome;
	struct kept *kept;
	struct desk desk;
	struct way way;

	if (!sit_down(ctx, &desk))
		return XDP_DROP;
	kept = desk.kept;
	vip = find_kept_vip(desk.state, kept);
	if (!vip && know_fragment(ctx, desk.counts, kept))
		vip = find_kept_vip(desk.state, kept);
	if (!vip)
		return end(&desk, kept->due);
	outcome = forward(ctx, desk.state, &kept->packet, kept->before & LINK_MASK, vip, &way);
	if (outcome == OUTCOME_drop_too_big)
		return too_big(find_room(&way));
	if (outcome > LAST_FORWARDED)
		return end(&desk, outcome);
	count(desk.counts, kept->is_error ? OUTCOME_forwarded_error : outcome, desk.bytes);
	count(desk.counts, vip->row, desk.bytes);
	count(desk.counts, way.tunnel->row, desk.bytes);
	return send(ctx, way.tunnel->ifindex);
}

__noinline int treat_echo(struct xdp_md *ctx)
{
	struct packet packet = {};
	struct desk desk;

	if (!sit_down(ctx, &desk))
		return XDP_DROP;
	if (!parse_again(ctx, &packet))
		return end(&desk, OUTCOME_drop_inconsistent);
	return end(&desk, answer_echo(ctx, &packet));
}

/* `room`: the size of the largest packet that fits. */
__noinline int treat_too_big(struct xdp_md *ctx, __u32 room)
{
	struct packet packet = {};
	struct desk desk;

	if (!sit_down(ctx, &desk))
		return XDP_DROP;
	if (!parse_again(ctx, &packet))
		return end(&desk, OUTCOME_drop_inconsistent);
	return end(&desk, answer_too_big(ctx, &packet, room));
}

static __always_inline int treat(struct xdp_md *ctx)
{
	int verdict = look_anew(ctx);

	if (verdict == TREAT_ECHO)
		return treat_echo(ctx);
	if (verdict == TREAT_FLOW)
		verdict = serve_kept(ctx);
	return is_too_big(verdict) ? treat_too_big(ctx, room_of(verdict)) : verdict;
}

#endif
