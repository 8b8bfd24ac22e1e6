/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps that the backend's program has beside the node's (maps.h). The agent pins them: they outlive it.
 */
#ifndef EVENKEEL_DECAP_MAPS_H
#define EVENKEEL_DECAP_MAPS_H

#include "decap_layout.h"
#include "maps.h"

/* Off, packets are taken out of the tunnel and delivered, whoever holds their flow. Set before loading. */
const volatile __u32 second_chance = 1;

/*
 * Where this backend takes GRE, and what it sends from; zero: nowhere by this family. Set before loading:
 * another address is a new program.
 */
const volatile struct address own_ipv4;
const volatile struct address own_ipv6;

const volatile struct decap_vocabulary decap_vocabulary;

/* Addresses of the tunnels of nodes and backends: who may send to us (design.md §5.1). */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 16384);
	__type(key, struct sender);
	__type(value, __u32); /* enum member_kind */
} sources SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct agent);
} agent_state SEC(".maps");

#endif
