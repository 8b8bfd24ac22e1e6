/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The flow table (design.md §6), for flows that the second chance does not cover: UDP, and TCP of buckets
 * whose list cannot be walked to its end, because somebody before the last has no agent. Only packets of
 * buckets that user space has flagged come here; what the table says counts as long as the bucket still lists
 * that backend. lbnode/dataplane/flow_model.py says the same in Python.
 */
#ifndef EVENKEEL_FLOW_H
#define EVENKEEL_FLOW_H

#include "count.h"
#include "table.h"

/* A flow's packets, all that tells them from others. */
struct flow {
	struct address source;
	struct address destination;
	__u32 ports; /* 0 for UDP of a pool that hashes the source alone: fragments have none */
	__u32 protocol;
};

/* Flows and their backends' ids. How many is set when loaded; the least recently used makes room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow);
	__type(value, __u32);
} flows SEC(".maps");

/* TCP flows of which only the SYN was seen: a flood of them pushes out nothing but each other. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct flow);
	__type(value, __u32);
} new_flows SEC(".maps");

static __always_inline void record(void *map, const struct flow *flow, __u32 backend, enum outcome done)
{
	struct cpu_counts *counts = own_counts();

	if (!bpf_map_update_elem(map, flow, &backend, BPF_ANY) && counts)
		count(counts, done, 0);
}

/*
 * The bucket as a flow of `backend` sees it: that one first, the others after it. False when the bucket does
 * not list it, or no longer for UDP: a failed backend has nobody there who answers.
 */
static __always_inline bool turn(struct bucket *bucket, __u32 backend, bool is_udp)
{
	struct bucket was = *bucket;
	__u32 unfit = is_udp ? was.flags : 0;

	if (backend == was.owner)
		return true;
	if (backend == was.first && !(unfit & BUCKET_FIRST_FAILED)) {
		bucket->first = was.second ? was.second : was.owner;
		bucket->second = was.second ? was.owner : 0;
	} else if (backend == was.second && !(unfit & BUCKET_SECOND_FAILED)) {
		bucket->first = was.first;
		bucket->second = was.owner;
	} else {
		return false;
	}
	bucket->owner = backend;
	return true;
}

static __always_inline bool is_known(void *map, const struct flow *flow, struct bucket *bucket)
{
	const __u32 *backend = bpf_map_lookup_elem(map, flow);

	return backend && *backend && turn(bucket, *backend, flow->protocol == IPPROTO_UDP);
}

static __always_inline void follow_udp(const struct flow *flow, struct bucket *bucket)
{
	if (!is_known(&flows, flow, bucket) && bucket->flags & BUCKET_RECORDED)
		record(&flows, flow, bucket->owner, OUTCOME_flow_recorded);
}

static __always_inline bool has_agent(const struct tunnels *tunnels, __u32 backend)
{
	return tunnels->backend[backend & (BACKEND_PLACES - 1)].flags & TUNNEL_AGENT;
}

/* Whether the second chance reaches all of them. */
static __always_inline bool is_whole(const struct tunnels *tunnels, const struct bucket *bucket)
{
	return has_agent(tunnels, bucket->owner) && (!bucket->second || has_agent(tunnels, bucket->first));
}

/*
 * A flow that nobody knows is older than the table: it may be the first alternate's. An owner with the agent
 * finds out by itself.
 */
static __always_inline void follow_tcp(const struct flow *flow, struct bucket *bucket, bool asks_owner)
{
	if (is_known(&flows, flow, bucket))
		return;
	if (!is_known(&new_flows, flow, bucket)) {
		if (asks_owner)
			return;
		if (bucket->first)
			turn(bucket, bucket->first, false);
	}
	record(&flows, flow, bucket->owner, OUTCOME_flow_recorded);
}

static __always_inline void open_tcp(const struct flow *flow, const struct bucket *bucket)
{
	bpf_map_delete_elem(&flows, flow);
	record(&new_flows, flow, bucket->owner, OUTCOME_flow_opened);
}

/* Returns the bucket, a word, as this flow sees it. */
__noinline __u64 follow(const struct flow *asked, __u64 word, bool is_syn, bool asks_owner, bool is_whole)
{
	struct bucket bucket = *(struct bucket *)&word;
	struct cpu_counts *counts = own_counts();
	__u32 owner = bucket.owner;
	struct flow flow; /* the verifier of Linux 6.1 takes no key from a global function's argument */

	if (!asked || !counts)
		return word;
	flow = *asked;
	if (flow.protocol == IPPROTO_UDP)
		follow_udp(&flow, &bucket);
	else if (is_whole || !(bucket.flags & BUCKET_CHANGED))
		return word;
	else if (is_syn)
		open_tcp(&flow, &bucket);
	else
		follow_tcp(&flow, &bucket, asks_owner);
	if (bucket.owner != owner)
		count(counts, OUTCOME_flow_kept, 0);
	return *(__u64 *)&bucket;
}

static __always_inline struct bucket follow_flow(const struct pool *pool, const struct tunnels *tunnels,
						 const struct packet *packet, struct bucket bucket)
{
	bool is_portless = pool->flags & POOL_BY_SOURCE && packet->protocol == IPPROTO_UDP;
	struct flow flow = {packet->source, packet->destination, is_portless ? 0 : packet->ports,
			    packet->protocol};
	bool asks_owner = has_agent(tunnels, bucket.owner);
	__u64 word = follow(&flow, *(__u64 *)&bucket, packet->is_syn, asks_owner, is_whole(tunnels, &bucket));

	return *(struct bucket *)&word;
}

#endif
