// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Clamps the MSS that a backend offers to clients in SYN and SYN-ACK, so that their segments fit into the
 * tunnel (design.md §4). On the way out of the interface; only for packets whose source is a VIP. Lowers,
 * never raises.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "prefix.h"
#include "table.h"

#define TCP_OPTION_END	   0
#define TCP_OPTION_NOP	   1
#define TCP_OPTION_MSS	   2
#define TCP_OPTION_MSS_LEN 4
#define TCP_OPTIONS_MAX	   40

/* Bytes by which an outer header of IPv6 is larger than one of IPv4. */
#define IPV6_MORE (sizeof(struct ipv6hdr) - sizeof(struct iphdr))

/* Largest MSS that fits into a tunnel of IPv4, for an inner packet of each family. Set before loading. */
const volatile __u16 mss_ipv4 = 1432;
const volatile __u16 mss_ipv6 = 1412;

/* Where the TCP header of a packet from a VIP is, and what it may offer. */
struct segment {
	struct address source;
	__u32 tcp; /* offset in bytes */
	__u32 family;
	__u16 limit;
};

static __always_inline bool find_ipv4(struct __sk_buff *skb, struct segment *segment)
{
	struct iphdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.protocol != IPPROTO_TCP)
		return false;
	segment->source = (struct address){{0, 0, 0, ip.saddr}};
	segment->family = FAMILY_IP4;
	segment->tcp = ETH_HLEN + ip.ihl * 4;
	segment->limit = mss_ipv4;
	return true;
}

static __always_inline bool find_ipv6(struct __sk_buff *skb, struct segment *segment)
{
	struct ipv6hdr ip;

	if (bpf_skb_load_bytes(skb, ETH_HLEN, &ip, sizeof(ip)) || ip.nexthdr != IPPROTO_TCP)
		return false;
	__builtin_memcpy(&segment->source, &ip.saddr, sizeof(segment->source));
	segment->family = FAMILY_IP6;
	segment->tcp = ETH_HLEN + sizeof(ip);
	segment->limit = mss_ipv6;
	return true;
}

static __always_inline bool find(struct __sk_buff *skb, struct segment *segment)
{
	switch (skb->protocol) {
	case bpf_htons(ETH_P_IP):
		return find_ipv4(skb, segment);
	case bpf_htons(ETH_P_IPV6):
		return find_ipv6(skb, segment);
	default:
		return false;
	}
}

/* The pool that the packets go by which answer this segment; NULL when no VIP takes them. */
static __always_inline const struct pool *find_pool(const struct state *state, const struct vip *prefix,
						    __u32 half, struct packet *answer)
{
	const struct vip *vip = find_exact(&state->vips[half], answer);

	if (!vip)
		vip = find_wide(state, half, prefix, answer);
	return vip ? &state->pool[vip->pool & (POOL_PLACES - 1)] : NULL;
}

/*
 * Lowers the limit where answers come through tunnels of IPv6; false when the segment is not from an address
 * of a VIP.
 */
static __always_inline bool fit_tunnel(struct segment *segment, __be16 port)
{
	__u32 zero = 0, half;
	const struct state *state = bpf_map_lookup_elem(&node_state, &zero);
	struct packet answer = {.destination = segment->source,
				.ports = (__u32)port << 16,
				.protocol = IPPROTO_TCP,
				.family = segment->family};
	const struct vip *prefix;
	const struct pool *pool;

	if (!state)
		return false;
	half = READ_ONCE(state->control.directory) & 1;
	prefix = find_prefix(state, half, &answer.destination, segment->family);
	if (!prefix)
		return false;
	pool = find_pool(state, prefix, half, &answer);
	if (pool && tunnel_family(READ_ONCE(pool->current)) == FAMILY_IP6)
		segment->limit -= IPV6_MORE;
	return true;
}

/* Offset of the MSS option's value in the first `size` bytes of `options`, 0 when there is none. */
static __always_inline __u32 find_mss(const __u8 *options, __u32 size)
{
	__u32 at = 0;

	for (int i = 0; i < TCP_OPTIONS_MAX; i++) {
		if (at > TCP_OPTIONS_MAX - TCP_OPTION_MSS_LEN || at + TCP_OPTION_MSS_LEN > size)
			return 0;
		if (options[at] == TCP_OPTION_END)
			return 0;
		if (options[at] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (options[at] == TCP_OPTION_MSS)
			return options[at + 1] == TCP_OPTION_MSS_LEN ? at + 2 : 0;
		if (options[at + 1] < 2)
			return 0;
		at += options[at + 1];
	}
	return 0;
}

/* Writes the limit over the value at `offset`; the checksum sums aligned words, so an odd offset swaps bytes.
 */
static __always_inline void lower(struct __sk_buff *skb, const struct segment *segment, __u32 offset,
				  __be16 offered)
{
	__be16 limit = bpf_htons(segment->limit);
	bool odd = (offset - segment->tcp) & 1;
	__u16 from = odd ? __builtin_bswap16(offered) : offered;
	__u16 to = odd ? __builtin_bswap16(limit) : limit;

	bpf_l4_csum_replace(skb, segment->tcp + offsetof(struct tcphdr, check), from, to, sizeof(to));
	bpf_skb_store_bytes(skb, offset, &limit, sizeof(limit), 0);
}

SEC("tc")
int clamp(struct __sk_buff *skb)
{
	struct segment segment = {};
	__u8 options[TCP_OPTIONS_MAX] = {};
	struct tcphdr tcp;
	__u32 size, at;
	__be16 offered;

	if (!find(skb, &segment) || bpf_skb_load_bytes(skb, segment.tcp, &tcp, sizeof(tcp)) || !tcp.syn)
		return TC_ACT_UNSPEC;
	if (!fit_tunnel(&segment, tcp.source))
		return TC_ACT_UNSPEC;
	size = (tcp.doff * 4 - sizeof(tcp)) & 0x3f;
	if (size < TCP_OPTION_MSS_LEN || size > sizeof(options))
		return TC_ACT_UNSPEC;
	if (bpf_skb_load_bytes(skb, segment.tcp + sizeof(tcp), options, size))
		return TC_ACT_UNSPEC;
	at = find_mss(options, size);
	if (!at)
		return TC_ACT_UNSPEC;
	__builtin_memcpy(&offered, options + (at & 0x3f), sizeof(offered));
	if (bpf_ntohs(offered) > segment.limit)
		lower(skb, &segment, segment.tcp + sizeof(tcp) + at, offered);
	return TC_ACT_UNSPEC;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
