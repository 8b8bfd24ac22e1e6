/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the rest of a program knows of a packet, and why there may be nothing to know. */
#ifndef EVENKEEL_PACKET_H
#define EVENKEEL_PACKET_H

#include <linux/types.h>
#include <stdbool.h>

#include "layout.h"

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

#endif
