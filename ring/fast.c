// SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0
/*
 * The table builder's inner loops: byte for byte what ring/reference.py says, which is the text to read.
 *
 * Members and slots are named by their index in the caller's arrays, 0..65534; NOBODY marks a place without
 * one. The caller has checked all arguments (ring/maglev.py, ring/slots.py). Integers only: the same result
 * on every machine.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define NOBODY		   UINT16_MAX
#define LOG_BITS	   10 /* the logarithm's table has 2^LOG_BITS + 1 entries */
#define BITMAP_WORDS(size) (((size) + 63) / 64)

/* Counted up with every change of a signature below; ring/fast.py asks for the same number. */
uint32_t ring_interface(void)
{
	return 2;
}

/* ---- home: whose turn it is ---- */

struct crew {
	uint32_t members;
	const uint16_t *weights;
	uint32_t largest; /* of the weights */
	uint64_t total;	  /* of the weights */
};

/*
 * A member's turns: its t-th falls in round ceil(t * largest / weight), where its accumulated credit reaches
 * the largest weight for the t-th time. Stepped without dividing: `behind` is round * weight - t * largest.
 */
struct turns {
	uint32_t round;
	uint32_t stride;
	uint32_t rest;
	uint32_t behind;
	uint32_t weight;
};

static struct turns turns_of(const struct crew *crew, uint32_t member)
{
	uint32_t weight = crew->weights[member];

	return (struct turns){0, crew->largest / weight, crew->largest % weight, 0, weight};
}

static uint32_t next_round(struct turns *turns)
{
	turns->round += turns->stride;
	if (turns->behind < turns->rest) {
		turns->behind += turns->weight;
		turns->round++;
	}
	turns->behind -= turns->rest;
	return turns->round;
}

static struct crew crew_of(uint32_t members, const uint16_t *weights)
{
	struct crew crew = {members, weights, 0, 0};

	for (uint32_t i = 0; i < members; i++) {
		crew.total += weights[i];
		if (weights[i] > crew.largest)
			crew.largest = weights[i];
	}
	return crew;
}

static uint64_t turns_until(const struct crew *crew, uint64_t round)
{
	uint64_t turns = 0;

	for (uint32_t i = 0; i < crew->members; i++)
		turns += round * crew->weights[i] / crew->largest;
	return turns;
}

/* The first round by whose end `size` turns were taken; a round has total / largest, less roundings. */
static uint32_t last_round(const struct crew *crew, uint32_t size)
{
	uint64_t low = (uint64_t)size * crew->largest / crew->total;
	uint64_t high = ((uint64_t)size + crew->members) * crew->largest / crew->total + 1;

	while (low < high) {
		uint64_t middle = (low + high) / 2;

		if (turns_until(crew, middle) >= size)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/* Who takes the turns of rounds 1..last: sorted by round, in a round by member; NULL without memory. */
static uint16_t *schedule(const struct crew *crew, uint32_t last)
{
	uint32_t *start = calloc((size_t)last + 2, sizeof(*start));
	uint16_t *order = malloc(turns_until(crew, last) * sizeof(*order));

	if (!start || !order)
		goto out_of_memory;
	for (uint32_t i = 0; i < crew->members; i++) {
		struct turns turns = turns_of(crew, i);

		while (next_round(&turns) <= last)
			start[turns.round + 1]++;
	}
	for (uint32_t round = 1; round <= last; round++)
		start[round] += start[round - 1];
	for (uint32_t i = 0; i < crew->members; i++) {
		struct turns turns = turns_of(crew, i);

		while (next_round(&turns) <= last)
			order[start[turns.round]++] = i;
	}
	free(start);
	return order;

out_of_memory:
	free(start);
	free(order);
	return NULL;
}

/* ---- home: filling the table ---- */

static uint32_t next_place(uint32_t place, uint32_t skip, uint32_t size)
{
	place += skip;
	return place < size ? place : place - size;
}

/* Each turn claims the next place of the member's permutation that is still free. */
static void fill(const uint16_t *order, uint32_t *places, const uint32_t *skips, uint32_t size,
		 uint64_t *taken, uint16_t *home)
{
	for (uint32_t turn = 0; turn < size; turn++) {
		uint32_t member = order[turn];
		uint32_t place = places[member];
		uint32_t skip = skips[member];

		while (taken[place / 64] >> (place % 64) & 1)
			place = next_place(place, skip, size);
		taken[place / 64] |= 1ULL << (place % 64);
		home[place] = member;
		places[member] = next_place(place, skip, size);
	}
}

/* Maglev's table over 1..65535 members; 0, or -1 without memory. `places` (in: offsets) is overwritten. */
int ring_populate(uint32_t members, uint32_t *places, const uint32_t *skips, const uint16_t *weights,
		  uint32_t size, uint16_t *home)
{
	struct crew crew = crew_of(members, weights);
	uint16_t *order = schedule(&crew, last_round(&crew, size));
	uint64_t *taken = calloc(BITMAP_WORDS(size), sizeof(*taken));
	int result = -1;

	if (order && taken) {
		fill(order, places, skips, size, taken, home);
		result = 0;
	}
	free(order);
	free(taken);
	return result;
}

/* ---- failover: weighted rendezvous ---- */

/* The finaliser of MurmurHash3 (64 bits): a bijection that mixes every bit into every other. */
static uint64_t mix(uint64_t word)
{
	word ^= word >> 33;
	word *= 0xff51afd7ed558ccdULL;
	word ^= word >> 33;
	word *= 0xc4ceb9fe1a85ec53ULL;
	return word ^ word >> 33;
}

/* -log2((draw + 1) / 2^32), 32 fraction bits; `logs` is log2(1 + i / 2^LOG_BITS), straight lines between. */
static uint64_t minus_log2(uint32_t draw, const uint64_t *logs)
{
	uint64_t number = (uint64_t)draw + 1;
	uint32_t exponent = 63 - __builtin_clzll(number);
	uint64_t mantissa = (number << (32 - exponent)) - (1ULL << 32);
	const uint64_t *entry = logs + (mantissa >> (32 - LOG_BITS));
	uint64_t rest = mantissa & ((1ULL << (32 - LOG_BITS)) - 1);
	uint64_t fraction = entry[0] + ((entry[1] - entry[0]) * rest >> (32 - LOG_BITS));

	return ((uint64_t)(32 - exponent) << 32) - fraction;
}

/* The slots as columns: one entry each, in the order of their numbers. */
struct lineup {
	uint32_t slots;
	const uint16_t *numbers;
	const uint16_t *weights;
	const uint8_t *serving;
};

struct candidate {
	uint64_t key;
	uint32_t weight;
	uint16_t index;
};

/* Keys are drawn from two sequences of the pool, one of the buckets and one of the slots. */
static uint64_t key_of(uint64_t base, uint32_t number)
{
	return mix(base + (number + 1ULL) * 0x9e3779b97f4a7c15ULL);
}

static uint32_t candidates_of(const struct lineup *lineup, uint64_t slot_base, struct candidate *candidates)
{
	uint32_t count = 0;

	for (uint32_t i = 0; i < lineup->slots; i++)
		if (lineup->serving[i])
			candidates[count++] = (struct candidate){key_of(slot_base, lineup->numbers[i]),
								 lineup->weights[i], i};
	return count;
}

/*
 * The candidate with the least minus_log2(draw) / weight; the first of equals. Most are turned away by
 * minus_log2(draw) >= 1 - draw (in units of 2^32), which costs no table look-up and no division.
 */
static uint16_t best_for(uint64_t bucket_key, const struct candidate *candidates, uint32_t count,
			 const uint64_t *logs)
{
	const uint64_t most =
		(1ULL << 48) - 1; /* above every quick bound, and times a weight it still fits */
	uint64_t best = UINT64_MAX;
	uint16_t winner = NOBODY;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t draw = mix(bucket_key ^ candidates[i].key) >> 32;
		uint64_t at_least = (uint64_t)(UINT32_MAX - draw) << 16;
		uint64_t score;

		if (at_least >= (best < most ? best : most) * candidates[i].weight)
			continue;
		score = (minus_log2(draw, logs) << 16) / candidates[i].weight;
		if (score < best) {
			best = score;
			winner = candidates[i].index;
		}
	}
	return winner;
}

/* The slot that serves each bucket: its home, else the best that does, else NOBODY. -1 without memory. */
int ring_failover(uint32_t size, const uint16_t *home, uint32_t slots, const uint16_t *numbers,
		  const uint16_t *weights, const uint8_t *serving, uint64_t bucket_base, uint64_t slot_base,
		  const uint64_t *logs, uint16_t *server)
{
	struct lineup lineup = {slots, numbers, weights, serving};
	struct candidate *candidates = malloc(((size_t)slots + 1) * sizeof(*candidates));
	uint32_t count;

	if (!candidates)
		return -1;
	count = candidates_of(&lineup, slot_base, candidates);
	for (uint32_t bucket = 0; bucket < size; bucket++) {
		uint16_t slot = home[bucket];

		if (!serving[slot])
			slot = best_for(key_of(bucket_base, bucket), candidates, count, logs);
		server[bucket] = slot;
	}
	free(candidates);
	return 0;
}

/* ---- alternates ---- */

/* Take one epoch's owners, later epochs having been taken before, into the alternates of today's `owners`. */
void ring_remember(uint32_t size, const uint16_t *owners, const uint16_t *earlier, const uint8_t *allowed,
		   uint16_t *first, uint16_t *second)
{
	for (uint32_t bucket = 0; bucket < size; bucket++) {
		uint16_t backend = earlier[bucket];

		if (backend == owners[bucket] || !allowed[backend])
			continue;
		if (!first[bucket])
			first[bucket] = backend;
		else if (!second[bucket] && backend != first[bucket])
			second[bucket] = backend;
	}
}

/* ---- admission ---- */

/* The buckets whose allowed owner in an earlier epoch is neither owner nor alternate now: how many. */
uint32_t ring_left_out(uint32_t size, const uint16_t *owners, const uint16_t *first, const uint16_t *second,
		       const uint16_t *earlier, const uint8_t *allowed, uint32_t *buckets)
{
	uint32_t count = 0;

	for (uint32_t bucket = 0; bucket < size; bucket++) {
		uint16_t backend = earlier[bucket];

		buckets[count] = bucket; /* kept, or overwritten by the next one */
		count += backend != owners[bucket] && backend != first[bucket] && backend != second[bucket] &&
			 allowed[backend];
	}
	return count;
}
