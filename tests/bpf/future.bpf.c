// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/* What a kernel refuses: a map of a type that it does not know, a program that reads what it did not check.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, 250);
	__uint(max_entries, 1);
	__uint(key_size, 4);
	__uint(value_size, 4);
} unknown SEC(".maps");

SEC("xdp")
int refused(struct xdp_md *ctx)
{
	return *(__u32 *)(long)ctx->data;
}

SEC("xdp")
int fine(struct xdp_md *ctx)
{
	__u32 zero = 0;

	(void)ctx;
	return bpf_map_lookup_elem(&unknown, &zero) ? XDP_PASS : XDP_DROP;
}
