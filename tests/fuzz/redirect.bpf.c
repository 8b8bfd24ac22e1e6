// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * Where did a program redirect a packet to? BPF_PROG_TEST_RUN does not say. With live frames and towards an
 * interface that does not exist, the kernel's tracepoint does: nothing is sent, and the number is shown.
 */
#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual MIT/GPL";

/* The process whose packets count. Set before loading. */
const volatile __u32 process;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} targets SEC(".maps");

/* Of xdp_redirect_err: device, program, target, error, type and id of a map, index of the interface. */
#define INTERFACE 6

SEC("tp_btf/xdp_redirect_err")
int watch(const __u64 *arguments)
{
	__u32 zero = 0;
	__u64 *target = bpf_map_lookup_elem(&targets, &zero);

	if (target && bpf_get_current_pid_tgid() >> 32 == process)
		*target = (__u32)arguments[INTERFACE];
	return 0;
}
