/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps of the backend's programs. The agent pins them: they outlive it, and the next release adopts them.
 */
#ifndef EVENKEEL_DECAP_MAPS_H
#define EVENKEEL_DECAP_MAPS_H

#include <linux/bpf.h>

#include <bpf/bpf_helpers.h>

#include "decap_layout.h"

/* The VIPs of this backend: which inner packets it takes, and whose MSS it clamps. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct decap_service);
	__type(value, struct decap_membership);
} services SEC(".maps");

#endif
