/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What the node's program shares with user space: every structure in its maps, and the names of its counters.
 * Python reads names and offsets from the object's BTF; tests/bpf/test_layout.py compares what it packs with
 * it.
 *
 * How changes become visible: a writer fills memory that no packet uses yet, then stores one aligned 64-bit
 * word (control.directory, control.tunnels, pool.current). A packet reads each such word once. Memory that
 * was in use is written again only after an RCU grace period.
 */
#ifndef EVENKEEL_LAYOUT_H
#define EVENKEEL_LAYOUT_H

#include <linux/types.h>

/* What becomes of a packet. One counter each; every drop has a name of its own. */
#define OUTCOMES(X)                                                                                          \
	X(forwarded)	     /* to a backend, GRE without key */                                             \
	X(forwarded_keyed)   /* to a backend, GRE with key: the bucket has earlier owners */                 \
	X(forwarded_error)   /* an ICMP error, to the backend of the flow that it quotes */                  \
	X(answered_echo)     /* an echo request to a VIP's address, answered here */                         \
	X(answered_too_big)  /* too big for the tunnel; its sender was told what fits */                     \
	X(pass_not_ip)	     /* neither IPv4 nor IPv6 behind at most two tags (ARP, …): to the stack */    \
	X(pass_not_ours)     /* for another MAC than the interface's: flooding, broadcast: to the stack */   \
	X(pass_malformed)    /* a bad IP header: to the stack, which counts it too */                        \
	X(pass_not_vip)	     /* the address is not ours: to the stack */                                     \
	X(pass_wrong_port)   /* our address, no such VIP, and `wrong_port: pass` */                          \
	X(drop_wrong_port)   /* our address, no such VIP */                                                  \
	X(drop_icmp)	     /* ICMP to a VIP's address that asks nothing of it */                           \
	X(drop_icmp_quote)   /* an ICMP error that quotes no packet of a VIP */                              \
	X(drop_unanswerable) /* to be answered, and from or to nobody in particular (broadcast) */           \
	X(drop_echo_limit)   /* an echo request beyond the rate at which this CPU answers */                 \
	X(drop_error_limit)  /* too big, and beyond the rate at which this CPU says so */                    \
	X(drop_protocol)     /* neither TCP, UDP nor ICMP to a VIP's address */                              \
	X(drop_fragment)     /* a fragment that shows no port, and none whose ports are known */             \
	X(drop_truncated)    /* the frame ends before the length or the header that the packet names */      \
	X(drop_extensions)   /* more IPv6 extension headers than RFC 8200 has places for */                  \
	X(drop_no_table)     /* the pool has no table yet */                                                 \
	X(drop_no_backend)   /* the bucket's owner is none, or unknown to this node */                       \
	X(drop_no_next_hop)  /* the way to the backend is not known (yet) */                                 \
	X(drop_too_big)	     /* for the tunnel, and no packet that may be answered */                        \
	X(drop_no_headroom)  /* the driver leaves no room for the outer header */                            \
	X(drop_inconsistent) /* the maps contradict each other: cannot happen */                             \
	X(flow_recorded)     /* no outcome: the flow's backend was written down */                           \
	X(flow_opened)	     /* likewise, of a flow that begins */                                           \
	X(flow_kept)	     /* no outcome: sent to an earlier owner, whose flow it is or may be */          \
	X(flow_named)	     /* no outcome: sent to the backend that its QUIC connection id names */         \
	X(fragment_recorded) /* no outcome: the first one, which shows the ports for all of its packet */    \
	X(fragment_followed) /* no outcome: a later one, treated as the first one was */

#define AS_OUTCOME(name) OUTCOME_##name,
enum outcome {
	OUTCOMES(AS_OUTCOME) OUTCOME_COUNT,
};
#undef AS_OUTCOME

/* Capacities fixed in the object. That of the tables is set when it is loaded. */
enum capacity {
	VIP_PLACES = 4096,
	PREFIX_LENGTHS = 128, /* of one family: as many as there are */
	STRETCHES = 8192,     /* of ports, all prefixes together */
	TABLE_ROW = 1 << 19,  /* places in one element of `tables`: 4 MiB, the most that older kernels take */
	POOL_PLACES = 1024,
	SOURCE_PLACES = 256,
	INTERFACE_PLACES = 256,
	BACKEND_PLACES = 65536, /* ids are 16 bits */
	TUNNELS_IPV6 = 2,	/* where in map `tunnels` those of IPv6 begin */
	COUNT_ROWS = 16384,	/* a CPU's counters: outcomes, then VIPs and backends */
	OUTCOME_ROWS = 64,
	MEMBER_PLACES = BACKEND_PLACES / 64,
};

/* An IPv6 address, or an IPv4 address in the last word (the others zero); words as a host loads them. */
struct address {
	__u32 word[4];
};

struct count {
	__u64 packets;
	__u64 bytes; /* of the frame as it came */
};

/* `directory` says which of each two directories holds, `tunnels` which half of `tunnels` (0 or 1). */
struct control {
	__u64 directory;
	__u64 tunnels;
	__u64 source_mask[2]; /* bucket & source_mask is the index of the outer source; 2^n - 1; IPv4, IPv6 */
	__u64 table_places;   /* that may be used */
	__u64 unused[3];
};

enum vip_flags {
	VIP_WRONG_PASS = 1, /* of an address that is ours: `wrong_port: pass` */
	VIP_SIPHASH = 2,    /* of a VIP: its pool's hash is SipHash */
};

/* struct vip's key: the port as in the packet, then these. The family (4) keeps a key in use from being 0. */
enum vip_key {
	VIP_PROTOCOL_SHIFT = 16,
	VIP_FAMILY_SHIFT = 24,
	VIP_FRAGMENTS = 1 << 30,
};

/*
 * One entry of a directory. VIPs of one address and port: address, port and protocol; or address,
 * VIP_FRAGMENTS and protocol: that takes the fragments, when all VIPs of the two are hashed by source into
 * one pool. Prefixes (an address is one, too): no protocol, and for the port the prefix's length; `row` is
 * the first of their stretches, `size` how many they have.
 */
struct vip {
	struct address address;
	__u32 key;
	__u16 pool;
	__u16 flags;
	__u32 row; /* of the counters */
	/* What follows are copies of the pool's, so that hashing need not wait for it. */
	__u32 size;
	__u64 hash;    /* the part of the hash that all packets for this VIP share */
	__u64 sources; /* key of the last word of the source */
	__u64 ports;   /* key of the ports; 0 when hashed by source */
	/* Of a VIP of many addresses or ports, for user space alone: which. */
	__u16 first_port;
	__u16 last_port;
	__u32 prefix_length;
};

/* Hash and displace: collision-free, so that one look tells. Seeds are chosen by user space until all keys
 * fit. */
struct directory {
	__u64 seed[6]; /* constant, 4 words of the address, the key */
	__u64 mask; /* of displacements and places: as few as there are keys, so that they stay in the cache
		     */
	__u64 unused;
	__u16 displacement[VIP_PLACES];
	struct vip place[VIP_PLACES];
};

/* A prefix length that is in use: what it leaves of an address, and the key of its prefixes. */
struct prefix_length {
	struct address mask;
	__u32 key; /* 0: no more of this family */
	__u32 unused[3];
};

enum stretch_key {
	STRETCH_PROTOCOL_SHIFT = 16,
	STRETCH_FRAGMENTS = 1 << 30, /* and no port */
};

/* Consecutive ports of a prefix and whose they are: the number in `vip`. */
struct stretch {
	__u32 first; /* protocol and port */
	__u32 last;
	__u32 vip;
	__u32 unused;
};

/*
 * All that is ours, asked for what is for no VIP of one address and port: the prefixes, and the VIPs that
 * have many addresses or ports (prefix.h). A prefix's stretches lie
 * side by side, sorted; those of shorter prefixes are among them.
 */
struct prefixes {
	struct prefix_length ipv4[PREFIX_LENGTHS]; /* the longest first */
	struct prefix_length ipv6[PREFIX_LENGTHS];
	struct directory directory;
	struct stretch stretch[STRETCHES];
	struct vip vip[VIP_PLACES];
};

enum pool_flags {
	POOL_BY_SOURCE = 1,
	POOL_SIPHASH = 2,
};

/*
 * What says which table a sender went by: the low 15 bits of the epoch's number, and whether the sender put
 * its own verdicts on top (design.md §6, the local view; docs/adr/0010).
 */
enum stamp_bits {
	STAMP_NUMBER = 0x7fff,
	STAMP_LOCAL = 0x8000,
};

/*
 * `current` is base << 32 | the two of enum current_bits: where in `tables` the table starts (the row and the
 * place in it; 0: there is none), the outer header's family, and the stamp that it carries.
 */
enum current_bits {
	CURRENT_STAMP = 0xffff,
	CURRENT_TUNNEL_IPV6 = 1 << 16,
};

struct pool {
	__u64 current;
	__u32 size; /* buckets */
	__u32 flags;
	__u64 key[11]; /* constant, source, destination, ports, protocol */
	__u64 sip[2];
	__u32 bucket_counts; /* where in `bucket_counts` this pool's begin */
	__u32 unused;
};

/* The first four only in pools with a flow table; the others are the same in all buckets of a pool. */
enum bucket_flags {
	BUCKET_RECORDED = 1,	  /* the owner is about to change: UDP flows are written down */
	BUCKET_CHANGED = 2,	  /* the owner has changed: flows are looked up */
	BUCKET_FIRST_FAILED = 4,  /* health has given up the first alternate: no UDP for it */
	BUCKET_SECOND_FAILED = 8, /* and the second */
	BUCKET_FLOW_TABLE = 15,	  /* any of these */
	BUCKET_QUIC = 16,	  /* QUIC's connection ids may name a backend: members follow the table */
	BUCKET_QUIC_SHIFT = 8,	  /* where the number of the ids' configuration is */
};

/* A bucket: ids of its owner and of at most two alternates, 0 = none. */
struct bucket {
	__u16 owner;
	__u16 first;
	__u16 second;
	__u16 flags;
};

enum tunnel_flags {
	TUNNEL_AGENT = 1,    /* the backend takes a key */
	TUNNEL_NEXT_HOP = 2, /* the next hop is known */
};

/* How to reach a backend by tunnels of one family. */
struct tunnel {
	__u64 ethernet[2]; /* the 14 bytes of the header; the last two are the first of the IP header: 0x45
			      and 0, or 0x60 and 0 */
	struct address destination;
	__u32 sum; /* of the outer IPv4 header without length, identification, DSCP and source */
	__u32 ifindex;
	__u32 mtu; /* of the next hop, from the outer IP header on */
	__u16 row; /* of the counters; 0: no such backend */
	__u16 flags;
	__u64 unused[2];
};

/* All of a family, by the backend's id. */
struct tunnels {
	struct tunnel backend[BACKEND_PLACES];
};

/* All that a packet needs besides tables, tunnels and counters, in one element of one map. */
struct state {
	struct control control;
	struct address source[2][SOURCE_PLACES]; /* of the outer header: IPv4, IPv6 */
	struct directory vips[2];
	struct prefixes prefixes[2];
	struct pool pool[POOL_PLACES];
	/* By the interface's index, modulo: its MAC in the upper 48 bits; 0: every MAC is taken. */
	__u64 own_mac[INTERFACE_PLACES];
};

/* Tables lie side by side in a row, none in two. */
struct table_row {
	struct bucket place[TABLE_ROW];
};

/* A CPU's counters: one element of `counts` for each CPU, so that they need neither locks nor atomic
 * additions. */
struct cpu_counts {
	struct count row[COUNT_ROWS];
};

enum text_size {
	NAME_SIZE = 64,
	DIGEST_SIZE = 64,
};

/* What is in a part of `tables`. The record whose base is that of pool.current is current, the other one
 * staged. */
struct table_record {
	__u64 epoch; /* 0: this record is free */
	__u32 base;
	__u32 size;
	__u32 bits;    /* enum current_bits */
	__u32 members; /* places behind the buckets: a bit for each backend's id, MEMBER_PLACES or none */
	char digest[DIGEST_SIZE];
};

/* By the pool's number, for user space alone: what a daemon needs to know of the pools that it adopts. */
struct pool_record {
	char name[NAME_SIZE]; /* UTF-8, zero-padded; empty: this number is free */
	struct table_record table[2];
	__u64 is_recorded; /* the current table has buckets that are BUCKET_RECORDED */
};

/* A variable of this type makes the compiler put the enums into the object's BTF, where user space finds
 * them. */
struct vocabulary {
	enum outcome outcome;
	enum capacity capacity;
	enum vip_key vip_key;
	enum stretch_key stretch_key;
	enum vip_flags vip_flags;
	enum stamp_bits stamp_bits;
	enum current_bits current_bits;
	enum pool_flags pool_flags;
	enum bucket_flags bucket_flags;
	enum tunnel_flags tunnel_flags;
	enum text_size text_size;
};

_Static_assert(sizeof(struct control) == 64, "control");
_Static_assert(sizeof(struct vip) == 64, "vip");
_Static_assert(sizeof(struct directory) == 64 + (2 + 64) * VIP_PLACES, "directory");
_Static_assert(sizeof(struct prefix_length) == 32, "prefix_length");
_Static_assert(sizeof(struct stretch) == 16, "stretch");
_Static_assert(sizeof(struct pool) == 128, "pool");
_Static_assert(sizeof(struct bucket) == 8, "bucket");
_Static_assert(sizeof(struct tunnel) == 64, "tunnel");
_Static_assert(sizeof(struct state) <= 4 << 20, "state: the most that a value has on older kernels");
_Static_assert(sizeof(struct tunnels) <= 4 << 20, "tunnels: likewise");
_Static_assert(sizeof(struct table_row) <= 4 << 20, "table_row: likewise");
_Static_assert(sizeof(struct pool_record) == 248, "pool_record");
_Static_assert((int)OUTCOME_COUNT <= (int)OUTCOME_ROWS, "rows of the outcomes");

#endif
