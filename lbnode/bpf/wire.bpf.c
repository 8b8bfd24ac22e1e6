// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Makes a veth pair carry what a cable carries: bytes, and no flow hash of the sender's socket.
 *
 * A socket's hash travels with its packets across veth, and a router takes it for the layer-4 hash of its
 * ECMP decision (fib_multipath_hash(), "short-circuit if we already have L4 hash present"). It is random, and
 * drawn anew after each retransmission timeout: flows would leave a dead node by themselves, as no flow on a
 * real network does.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>

#include <bpf/bpf_helpers.h>

SEC("tc")
int forget_hash(struct __sk_buff *skb)
{
	bpf_set_hash_invalid(skb);
	return TC_ACT_OK;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
