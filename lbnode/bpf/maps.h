/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps of the node's program, pinned by the daemon; they outlive it. */
#ifndef EVENKEEL_MAPS_H
#define EVENKEEL_MAPS_H

#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#include "layout.h"

/* Set before the object is loaded. Off, the verifier removes the code. */
const volatile __u32 count_buckets;

const volatile struct vocabulary vocabulary;

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct state);
} node_state SEC(".maps");

/* Twice, for a change is written aside; and those of IPv6 behind those of IPv4 (TUNNELS_IPV6). */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, struct tunnels);
} tunnels SEC(".maps");

/* Every pool's tables, staged and current ones. The first places are never used. How many rows is set when
 * loaded. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct table_row);
} tables SEC(".maps");

/* One element for each possible CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cpu_counts);
} counts SEC(".maps");

/* Packets by bucket, all CPUs together: only filled with `count_buckets`. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} bucket_counts SEC(".maps");

/* Not read here. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, POOL_PLACES);
	__type(key, __u32);
	__type(value, struct pool_record);
} pool_records SEC(".maps");

#endif
