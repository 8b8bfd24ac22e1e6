/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* From a frame to a packet: Ethernet, IPv4 and the head of TCP or UDP. Bounds are checked before anything is
 * read. */
#ifndef EVENKEEL_PARSE_H
#define EVENKEEL_PARSE_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>

#include "layout.h"

/* The compiler must neither split nor repeat the one load that makes a change atomic. */
#define READ_ONCE(x) (*(const volatile typeof(x) *)&(x))

/* Keeps the compiler from computing a pointer anew at each use, which costs registers and time. */
#define SETTLE(pointer) asm volatile("" : "+r"(pointer))

#define PARSED	   OUTCOME_COUNT /* no outcome yet: go on */
#define FAMILY_IP4 4

#define IP_MORE_FRAGMENTS  0x2000
#define IP_FRAGMENT_OFFSET 0x1fff

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
	void *at;
	void *end;
};

/* What the rest of the program knows of a packet. Words as a host loads them. */
struct packet {
	struct address source;
	struct address destination;
	__u32 ports;	/* source and destination port; 0 when the packet has none */
	__u32 protocol; /* IP protocol number */
	__u32 size;	/* of the IP packet, in bytes */
	__u8 family;
	__u8 dscp; /* upper six bits of the type of service */
	bool is_fragment;
	bool is_syn; /* opens a connection: SYN without ACK */
};

/* The next `size` bytes, or NULL when the frame ends before. */
static __always_inline void *take(struct cursor *cursor, __u32 size)
{
	void *header = cursor->at;

	if (header + size > cursor->end)
		return NULL;
	cursor->at = header + size;
	return header;
}

static __always_inline enum outcome parse_tcp(struct cursor *cursor, struct packet *packet, __u32 size)
{
	const struct tcp_head *tcp = cursor->at;

	if (size < TCP_SIZE || (void *)tcp + TCP_SIZE > cursor->end)
		return OUTCOME_drop_truncated;
	packet->ports = *(const __u32 *)tcp;
	packet->is_syn = (tcp->flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
	return PARSED;
}

static __always_inline enum outcome parse_udp(struct cursor *cursor, struct packet *packet, __u32 size)
{
	const struct udphdr *udp = cursor->at;

	if (size < sizeof(*udp) || (void *)(udp + 1) > cursor->end)
		return OUTCOME_drop_truncated;
	packet->ports = *(const __u32 *)udp;
	return PARSED;
}

/* `size` is what the IP header leaves for the transport: the frame may be longer. */
static __always_inline enum outcome parse_transport(struct cursor *cursor, struct packet *packet, __u32 size)
{
	if (packet->protocol == IPPROTO_TCP)
		return parse_tcp(cursor, packet, size);
	if (packet->protocol == IPPROTO_UDP)
		return parse_udp(cursor, packet, size);
	return packet->protocol == IPPROTO_ICMP ? OUTCOME_drop_icmp : OUTCOME_drop_protocol;
}

/*
 * Returns PARSED, or a pass_* outcome for what is no proper IPv4, or the drop_* outcome that is due if the
 * packet's destination is ours: only then may it be dropped.
 */
static __always_inline enum outcome parse_ipv4(struct cursor *cursor, struct packet *packet)
{
	const struct iphdr *ip = take(cursor, sizeof(*ip));
	__u32 header, fragment;

	if (!ip || ip->version != 4 || ip->ihl < 5)
		return OUTCOME_pass_malformed;
	header = ip->ihl * 4;
	packet->family = FAMILY_IP4;
	packet->source = (struct address){{0, 0, 0, ip->saddr}};
	packet->destination = (struct address){{0, 0, 0, ip->daddr}};
	packet->protocol = ip->protocol;
	packet->dscp = ip->tos & 0xfc;
	packet->size = bpf_ntohs(ip->tot_len);
	packet->ports = 0;
	packet->is_syn = false;
	packet->is_fragment = false;
	if (packet->size < header)
		return OUTCOME_pass_malformed;
	if ((__u64)(cursor->end - (void *)ip) < packet->size)
		return OUTCOME_drop_truncated;
	fragment = bpf_ntohs(ip->frag_off) & (IP_MORE_FRAGMENTS | IP_FRAGMENT_OFFSET);
	if (fragment) {
		packet->is_fragment = true;
		return PARSED;
	}
	if (header != sizeof(*ip)) {
		/* Options are rare: let the processor guess where the ports are and not wait for the length.
		 */
		cursor->at = (void *)ip + header;
		SETTLE(cursor->at);
	}
	return parse_transport(cursor, packet, packet->size - header);
}

#define MAC_SHIFT 16 /* a MAC is the first six bytes of a word: what remains of it, shifted */

/* `own` is the MAC of the interface, shifted; 0: frames for every MAC are taken. */
static __always_inline enum outcome parse(struct cursor *cursor, __u64 own, struct packet *packet)
{
	const __be16 *ethernet = take(cursor, ETH_HLEN);

	if (!ethernet || ethernet[ETH_ALEN] != bpf_htons(ETH_P_IP))
		return OUTCOME_pass_not_ip;
	if (*(const __u64 *)ethernet << MAC_SHIFT != own && own)
		return OUTCOME_pass_not_ours;
	return parse_ipv4(cursor, packet);
}

#endif
