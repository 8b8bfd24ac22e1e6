/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the backend's programs share with the agent: keys and values of their maps, names of their counters.
 * The agent takes the names from the object's BTF; a test compares its structures with the object's.
 */
#ifndef EVENKEEL_DECAP_LAYOUT_H
#define EVENKEEL_DECAP_LAYOUT_H

#include <linux/types.h>

/* What became of a packet: one counter each. Packets of the first six reach the local stack. */
#define DECAP_OUTCOMES(X)                                                                                    \
	X(untouched)		 /* no GRE for this backend: passed on as it came */                         \
	X(delivered_in_sync)	 /* keyless, unmarked, stamp = my epoch: the steady state */                 \
	X(delivered_other_epoch) /* keyless, unmarked, from another epoch than mine */                       \
	X(delivered_keyed)	 /* its bucket has earlier owners */                                         \
	X(delivered_marked)	 /* restarted along another backend's epoch */                               \
	X(delivered_portless)	 /* ICMP, a fragment or a port without VIP, at a VIP's address */            \
	X(drop_stranger)	 /* the outer source is no member of the fleet */                            \
	X(drop_truncated)	 /* ends before its headers, or before the lengths that they name */         \
	X(drop_outer)		 /* outer header with options, or a fragment: no node sends that */          \
	X(drop_gre)		 /* another version of GRE, a checksum, routing, a sequence number */        \
	X(drop_inner)		 /* carries neither IPv4 nor IPv6, or a badly formed header */               \
	X(drop_not_vip)		 /* the inner destination is no VIP of this backend */                       \
	X(drop_failed)		 /* the kernel would not move the packet's start */

#define DECAP_ENUM(name) DECAP_##name,
enum decap_outcome {
	DECAP_OUTCOMES(DECAP_ENUM) DECAP_OUTCOME_COUNT,
};
#undef DECAP_ENUM

struct decap_counter {
	__u64 packets;
	__u64 bytes; /* of whole frames as they came */
};

/* An address of either family, in network byte order; IPv4 stands in the last word and the others are zero.
 */
struct decap_address {
	__be32 word[4];
};

/* A VIP. With port and protocol zero: the address as a whole, an entry that every VIP's address has. */
struct decap_service {
	struct decap_address address;
	__be16 port;
	__u8 protocol;
	__u8 pad;
};

/* What the agent knows of the VIP's pool; all zero for an address as a whole. */
struct decap_membership {
	__u16 stamp; /* low 16 bits of the agent's newest epoch of the pool */
	__u16 self;  /* this backend's id while it has a place in the pool, else 0 */
};

_Static_assert(sizeof(struct decap_counter) == 16, "decap_counter has no holes");
_Static_assert(sizeof(struct decap_address) == 16, "decap_address has no holes");
_Static_assert(sizeof(struct decap_service) == 20, "decap_service has no holes");
_Static_assert(sizeof(struct decap_membership) == 4, "decap_membership has no holes");

#endif
