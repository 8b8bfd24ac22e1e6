/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * GRE as the fleet sends it: RFC 2784 without key, RFC 2890 with key, and two reserved bits as marks.
 */
#ifndef EVENKEEL_DECAP_GRE_H
#define EVENKEEL_DECAP_GRE_H

#include "decap_layout.h"
#include "encap.h"
#include "parse.h"

/* Two bits of those that receivers ignore. */
#define GRE_MARK 0x0008 /* bit 12: restarted; or a new flow that was passed on */
/*
 * Bit 11: a new flow that was passed on twice: it stays where it is now. Or a list to which somebody who knew
 * more has added: nobody else does.
 */
#define GRE_SETTLED 0x0010
/*
 * Refused: bits 1 and 3 to 5, which must be zero (RFC 2784), a checksum (bit 0), which no node sends, and
 * every version but 0. Bits 6 to 12 are ignored, but for the marks.
 */
#define GRE_REFUSED (0x8000 | 0x4000 | 0x1000 | 0x0800 | 0x0400 | 0x0007)

/* All that the sender says of a packet, and what it carries. Filled by the parsers, judged by decide(). */
struct tunnelled {
	struct packet inner;
	struct sender sender;
	__u32 key;	 /* alternates: the first's id in the upper 16 bits; 0 when there is none */
	__u16 stamp;	 /* of the sender's table: enum stamp_bits */
	__u16 flags;	 /* of GRE, as a host has them */
	__be16 protocol; /* EtherType of the inner packet */
	__u8 outer_size; /* of outer header and GRE, in bytes */
	__u8 link_size;	 /* of what stands before: Ethernet and its tags */
};

#endif
