/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The ICMP messages that matter here (RFC 792, RFC 4443, RFC 4861), by what is done with them. */
#ifndef EVENKEEL_ICMP_H
#define EVENKEEL_ICMP_H

#include "parse.h"

/* The first 8 bytes of every message. */
struct icmp_head {
	__u8 type;
	__u8 code;
	__be16 checksum;
	__be32 rest; /* of a "too big": the MTU */
};

/* The protocol of a family's ICMP. */
static __always_inline __u32 icmp_of(__u8 family)
{
	return family == FAMILY_IP4 ? IPPROTO_ICMP : IPPROTO_ICMPV6;
}

/* Types and codes; the kernel's header for IPv4 needs a C library. */
enum icmp_type {
	ICMP_ECHO_REPLY = 0,
	ICMP_UNREACHABLE = 3,
	ICMP_ECHO_REQUEST = 8,
	ICMP_TIME_EXCEEDED = 11,
	ICMP_PARAMETER_PROBLEM = 12,
	ICMP_CODE_TOO_BIG = 4, /* of ICMP_UNREACHABLE: fragmentation needed */
	ICMP6_UNREACHABLE = 1,
	ICMP6_TOO_BIG = 2,
	ICMP6_PARAMETER_PROBLEM = 4,
	ICMP6_ECHO_REQUEST = 128,
	ICMP6_ECHO_REPLY = 129,
};

enum icmp_kind {
	ICMP_IS_OTHER,
	ICMP_IS_ECHO,  /* a request */
	ICMP_IS_ERROR, /* quotes the packet that it is about */
};

static __always_inline enum icmp_kind kind_of_ipv4(__u8 type)
{
	switch (type) {
	case ICMP_ECHO_REQUEST:
		return ICMP_IS_ECHO;
	case ICMP_UNREACHABLE:
	case ICMP_TIME_EXCEEDED:
	case ICMP_PARAMETER_PROBLEM:
		return ICMP_IS_ERROR;
	default:
		return ICMP_IS_OTHER;
	}
}

static __always_inline enum icmp_kind kind_of_ipv6(__u8 type)
{
	if (type == ICMP6_ECHO_REQUEST)
		return ICMP_IS_ECHO;
	return type >= ICMP6_UNREACHABLE && type <= ICMP6_PARAMETER_PROBLEM ? ICMP_IS_ERROR : ICMP_IS_OTHER;
}

static __always_inline enum icmp_kind kind_of(__u8 family, __u8 type)
{
	return family == FAMILY_IP4 ? kind_of_ipv4(type) : kind_of_ipv6(type);
}

#endif
