// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Passes every frame on. Sits on the far end of a veth pair whose near end answers with XDP_TX:
 * without a program there, the kernel drops each frame that is sent back (docs/operations, "veth").
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	(void)ctx;
	return XDP_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
