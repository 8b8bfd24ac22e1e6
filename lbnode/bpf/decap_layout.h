/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the backend's programs share with the agent beside the node's structures (layout.h): the names of
 * their counters, and what only a backend knows. The agent takes names and offsets from the object's BTF.
 */
#ifndef EVENKEEL_DECAP_LAYOUT_H
#define EVENKEEL_DECAP_LAYOUT_H

#include "layout.h"

/*
 * What became of a packet: one counter each. Those up to delivered_last reach the local stack, the next ones
 * another backend. The last lines are no outcomes: what else was seen on the way to one.
 */
#define DECAP_OUTCOMES(X)                                                                                    \
	X(untouched)	       /* no GRE for this backend: passed on as it came */                           \
	X(delivered_in_sync)   /* keyless, unmarked, stamp = my epoch: the steady state */                   \
	X(delivered_syn)       /* a new flow, and this backend takes them */                                 \
	X(delivered_held)      /* a socket holds the flow: established or closing */                         \
	X(delivered_handshake) /* it acknowledges what this backend answered to the flow's SYN */            \
	X(delivered_cookie)    /* it brings back a SYN cookie of this backend */                             \
	X(delivered_time_wait) /* near the end of a flow that was closed here */                             \
	X(delivered_udp)       /* neither SYN nor socket tells whose UDP is */                               \
	X(delivered_portless)  /* no port, none of a VIP, ICMP about no flow, at a VIP's address */          \
	X(delivered_no_chance) /* second chance is off: everywhere, or for this VIP */                       \
	X(delivered_last)      /* nobody is left to be asked: the local stack answers */                     \
	X(forwarded_syn)       /* a new flow, to its owner: this backend takes none */                       \
	X(forwarded_keyed)     /* to the next alternate, which knows one more */                             \
	X(forwarded_keyless)   /* to the last alternate */                                                   \
	X(forwarded_restarted) /* the list is empty, the sender's epoch another one: along mine, marked */   \
	X(forwarded_named)     /* UDP, to the backend that its QUIC connection id names, marked */           \
	X(drop_stranger)       /* the outer source is no member of the fleet */                              \
	X(drop_truncated)      /* ends before its headers, or before the lengths that they name */           \
	X(drop_outer)	       /* outer header with options or more headers, or a fragment */                \
	X(drop_gre)	       /* another version of GRE, a checksum, routing, a sequence number */          \
	X(drop_inner)	       /* carries neither IPv4 nor IPv6, or a badly formed header */                 \
	X(drop_extensions)     /* carries more IPv6 extension headers than RFC 8200 has places for */        \
	X(drop_not_vip)	       /* the inner destination is no VIP of this backend */                         \
	X(drop_no_next_hop)    /* one that may hold the flow cannot be asked now: it must not be reset */    \
	X(drop_too_big)	       /* to be passed on, and longer than the next hop takes */                     \
	X(drop_failed)	       /* the kernel would not move the packet's start */                            \
	X(drop_inconsistent)   /* the maps contradict each other: cannot happen */                           \
	X(extra_hop)	       /* came from another backend */                                               \
	X(skipped_self)	       /* this backend was next in the list: a loop refused */                       \
	X(skipped_unknown)     /* next in the list, and no member that this backend knows */                 \
	X(put_off)	       /* next in the list, and this backend knows no way there: asked last */       \
	X(fragment_recorded)   /* the first one of TCP, which shows the ports for all of its packet */       \
	X(fragment_followed)   /* a later one, treated as the first one was */

#define DECAP_ENUM(name) DECAP_##name,
enum decap_outcome {
	DECAP_OUTCOMES(DECAP_ENUM) DECAP_OUTCOME_COUNT,
};
#undef DECAP_ENUM

#define DECAP_FIRST_FORWARDED DECAP_forwarded_syn
#define DECAP_FIRST_DROP      DECAP_drop_stranger

/* Who may send to this backend. */
enum member_kind {
	MEMBER_NODE = 1,
	MEMBER_BACKEND = 2,
};

/* Which new flows of a pool this backend takes: of senders by which epoch. The others go to their owner. */
enum intake {
	INTAKE_NONE = 0,
	INTAKE_ONE_BEHIND = 1, /* mine, a newer one, or the one before */
	INTAKE_IN_STEP = 2,    /* mine or a newer one */
};

/* Whose packet it is: an outer source. The family too, for an address of IPv4 is one of IPv6 in four words.
 */
struct sender {
	struct address address;
	__u32 family;
};

struct member {
	struct sender sender; /* of family 0: nobody lies here */
	__u32 kind;	      /* enum member_kind */
};

#define NEAR_BITS   12
#define NEAR_PLACES (1 << NEAR_BITS)

/* What only a backend knows. */
struct agent {
	__u64 self;			 /* this backend's id, 0 while it has none */
	__u8 intake[POOL_PLACES];	 /* by the pool's number: enum intake */
	__u8 is_heard[COUNT_ROWS];	 /* by the VIP's row: a listener for it was seen here */
	struct member near[NEAR_PLACES]; /* members by near_place() */
};

/* Makes the compiler put the enums into the object's BTF. */
struct decap_vocabulary {
	enum decap_outcome outcome;
	enum member_kind member_kind;
	enum intake intake;
};

_Static_assert(sizeof(struct sender) == 20, "sender has no holes");
_Static_assert(sizeof(struct agent) == 8 + POOL_PLACES + COUNT_ROWS + NEAR_PLACES * sizeof(struct member),
	       "agent has no holes");
_Static_assert((int)DECAP_OUTCOME_COUNT <= (int)OUTCOME_ROWS, "rows of the outcomes");

#endif
