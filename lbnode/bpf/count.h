/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Counters: packets and bytes by outcome, by VIP and by backend, each CPU its own; packets by bucket when
 * asked for. */
#ifndef EVENKEEL_COUNT_H
#define EVENKEEL_COUNT_H

#include "maps.h"

static __always_inline struct cpu_counts *own_counts(void)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return bpf_map_lookup_elem(&counts, &cpu);
}

static __always_inline void count(struct cpu_counts *counts, __u32 row, __u32 bytes)
{
	struct count *count = &counts->row[row & (COUNT_ROWS - 1)];

	count->packets++;
	count->bytes += bytes;
}

static __always_inline void count_bucket(const struct pool *pool, __u32 bucket)
{
	__u64 *packets;
	__u32 place;

	if (!count_buckets)
		return;
	place = pool->bucket_counts + bucket;
	packets = bpf_map_lookup_elem(&bucket_counts, &place);
	if (packets)
		__sync_fetch_and_add(packets, 1);
}

#endif
