/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * From a packet to its bucket (docs/adr/0004-bucket-hash.md): 32 bits of a keyed hash over ten words, reduced
 * to the table's size by a multiplication. The same arithmetic as in ring/bucket.py.
 */
#ifndef EVENKEEL_HASH_H
#define EVENKEEL_HASH_H

#include "parse.h"

/*
 * Multilinear over 64-bit secrets, strongly universal in its upper half (Lemire and Kaser, 2014). The VIP
 * knows the part that does not change from packet to packet, and the keys of what does; by source, that of
 * the ports is 0.
 */
static __always_inline __u64 hash_multiply(const struct vip *vip, const struct pool *pool,
					   const struct packet *packet)
{
	const __u32 *from = packet->source.word;

	return vip->hash + packet->hash + pool->key[1] * from[0] + pool->key[2] * from[1] +
	       pool->key[3] * from[2] + vip->sources * from[3] + vip->ports * packet->ports;
}

/* A bijection, so universality stays; without it, flows that differ alike land equally far apart. */
static __always_inline __u32 finish(__u32 hash)
{
	return (hash ^ hash >> 16) * 0x9e3779b1u;
}

static __always_inline __u64 rotate(__u64 word, __u32 bits)
{
	return word << bits | word >> (64 - bits);
}

struct sip {
	__u64 v0, v1, v2, v3;
};

static __always_inline void sip_round(struct sip *sip)
{
	sip->v0 += sip->v1;
	sip->v2 += sip->v3;
	sip->v1 = rotate(sip->v1, 13) ^ sip->v0;
	sip->v3 = rotate(sip->v3, 16) ^ sip->v2;
	sip->v0 = rotate(sip->v0, 32) + sip->v3;
	sip->v2 += sip->v1;
	sip->v1 = rotate(sip->v1, 17) ^ sip->v2;
	sip->v3 = rotate(sip->v3, 21) ^ sip->v0;
	sip->v2 = rotate(sip->v2, 32);
}

static __always_inline void sip_absorb(struct sip *sip, __u64 word)
{
	sip->v3 ^= word;
	sip_round(sip);
	sip->v0 ^= word;
}

static __always_inline __u64 pair(__u32 low, __u32 high)
{
	return (__u64)high << 32 | low;
}

struct sip_key {
	__u64 half[2];
};

#define SIP_LENGTH (40ULL << 56) /* the last word of a string of 40 bytes */

/* The ten words as pairs; by source, all but the source are zero. */
struct sip_words {
	__u64 pair[5];
};

/* SipHash-1-3 (Aumasson and Bernstein, 2012) of 40 bytes. A function of its own: the other hash needs the
 * registers. */
__noinline __u64 hash_sip(const struct sip_key *key, const struct sip_words *words)
{
	struct sip sip;

	if (!key || !words)
		return 0;
	sip.v0 = key->half[0] ^ 0x736f6d6570736575ULL;
	sip.v1 = key->half[1] ^ 0x646f72616e646f6dULL;
	sip.v2 = key->half[0] ^ 0x6c7967656e657261ULL;
	sip.v3 = key->half[1] ^ 0x7465646279746573ULL;
	for (int i = 0; i < 5; i++)
		sip_absorb(&sip, words->pair[i]);
	sip_absorb(&sip, SIP_LENGTH);
	sip.v2 ^= 0xff;
	sip_round(&sip);
	sip_round(&sip);
	sip_round(&sip);
	return sip.v0 ^ sip.v1 ^ sip.v2 ^ sip.v3;
}

static __always_inline __u64 hash_words(const struct pool *pool, const struct packet *packet)
{
	const __u32 *from = packet->source.word, *to = packet->destination.word;
	__u64 rest = pool->flags & POOL_BY_SOURCE ? 0 : ~0ULL;
	struct sip_words words = {{
		pair(from[0], from[1]),
		pair(from[2], from[3]),
		pair(to[0], to[1]) & rest,
		pair(to[2], to[3]) & rest,
		pair(packet->ports, packet->protocol) & rest,
	}};

	return hash_sip((const struct sip_key *)pool->sip, &words);
}

static __always_inline __u32 find_bucket(const struct vip *vip, const struct pool *pool,
					 const struct packet *packet)
{
	__u64 hash = vip->flags & VIP_SIPHASH ? hash_words(pool, packet) >> 32
					      : finish(hash_multiply(vip, pool, packet) >> 32);

	return hash * vip->size >> 32;
}

#endif
