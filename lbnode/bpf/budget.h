/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * How many packets the node may write itself, each CPU for itself: at a steady rate, with a burst after
 * silence. Kept as one time, that at which all allowances would be used up (the generic cell rate algorithm,
 * ITU-T I.371).
 */
#ifndef EVENKEEL_BUDGET_H
#define EVENKEEL_BUDGET_H

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>
#include <stdbool.h>

#define BURST 64 /* answers */

enum budget {
	BUDGET_ECHOES,
	BUDGET_ERRORS,
	BUDGET_COUNT,
};

/* Nanoseconds for each answer, by budget; 0: none is given. Set before the object is loaded. */
const volatile __u64 answer_interval[BUDGET_COUNT] = {100000, 1000000};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BUDGET_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} budgets SEC(".maps");

static __always_inline bool spend(enum budget budget)
{
	__u64 interval = answer_interval[budget], now = bpf_ktime_get_ns();
	__u32 index = budget;
	__u64 *spent_until = bpf_map_lookup_elem(&budgets, &index);

	if (!interval || !spent_until || *spent_until > now + (BURST - 1) * interval)
		return false;
	*spent_until = (*spent_until > now ? *spent_until : now) + interval;
	return true;
}

#endif
