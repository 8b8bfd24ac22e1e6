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
	return 3;
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

#define BLOCK 2048 /* buckets taken at a time: what is written again and again stays in the first cache */

/* The alternates of today's owners, one entry a bucket. */
struct lists {
	const uint16_t *restrict owners;
	uint16_t *restrict first;
	uint16_t *restrict second;
};

/* Earlier epochs, latest first. Those that are `mixed` have owners that are not `allowed`. */
struct past {
	uint32_t epochs;
	const uint16_t *const *owners;
	const uint8_t *mixed;
	const uint8_t *allowed;
};

/* Some buckets' owners in an earlier epoch: a copy in `room` without those that are not allowed, if there are
 * any. */
static const uint16_t *admitted(const struct past *past, uint32_t epoch, uint32_t start, uint32_t count,
				uint16_t *room)
{
	const uint16_t *owners = past->owners[epoch] + start;

	if (!past->mixed[epoch])
		return owners;
	for (uint32_t i = 0; i < count; i++)
		room[i] = past->allowed[owners[i]] ? owners[i] : 0;
	return room;
}

/* All bits set where an earlier owner (0: nobody) is in no list. Written so that compilers make vectors of
 * it. */
static inline uint16_t is_new(uint16_t backend, uint16_t owner, uint16_t first, uint16_t second)
{
	return -(uint16_t)((backend != 0) & (backend != owner) & (backend != first) & (backend != second));
}

/* Take an epoch's owners into the lists where there is a place; tell whether somebody found none. */
static uint16_t take(struct lists lists, const uint16_t *restrict earlier, uint32_t count)
{
	uint16_t turned_away = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint16_t first = lists.first[i], second = lists.second[i];
		uint16_t comer = earlier[i] & is_new(earlier[i], lists.owners[i], first, second);
		uint16_t no_first = -(uint16_t)(first == 0), no_second = -(uint16_t)(second == 0);

		lists.first[i] = first | (comer & no_first);
		lists.second[i] = second | (comer & ~no_first & no_second);
		turned_away |= comer & ~no_first & ~no_second;
	}
	return turned_away;
}

/*
 * Take the owners of earlier epochs into the alternates of today's `owners`. Returns 1 when the allowed owner
 * of some bucket found no place.
 */
int ring_remember(uint32_t size, const uint16_t *owners, uint32_t epochs, const uint16_t *const *earlier,
		  const uint8_t *mixed, const uint8_t *allowed, uint16_t *first, uint16_t *second)
{
	struct past past = {epochs, earlier, mixed, allowed};
	uint16_t room[BLOCK], turned_away = 0;

	for (uint32_t start = 0; start < size; start += BLOCK) {
		struct lists lists = {owners + start, first + start, second + start};
		uint32_t count = size - start < BLOCK ? size - start : BLOCK;

		for (uint32_t epoch = 0; epoch < epochs; epoch++)
			turned_away |= take(lists, admitted(&past, epoch, start, count, room), count);
	}
	return turned_away != 0;
}

/* ---- admission ---- */

#define CHUNK 16 /* buckets looked at together: seldom is one of them left out */

/* Where the backends that are left out of some buckets are marked: see ring_left_out(). */
struct marks {
	const uint16_t *row;
	uint8_t *flags;
	uint32_t size;
};

static void mark(struct marks marks, const struct lists *lists, const uint16_t *earlier, uint32_t start,
		 uint32_t end)
{
	for (uint32_t i = start; i < end; i++) {
		uint16_t row = marks.row[earlier[i]];

		if (row && is_new(earlier[i], lists->owners[i], lists->first[i], lists->second[i]))
			marks.flags[(size_t)(row - 1) * marks.size + i] = 1;
	}
}

/* Whether an earlier owner of some buckets is in no list, and was not the owner in the epoch after. */
static int is_any_out(const struct lists *lists, const uint16_t *earlier, const uint16_t *later,
		      uint32_t start, uint32_t end)
{
	uint16_t out = 0;

	for (uint32_t i = start; i < end; i++)
		out |= is_new(earlier[i], lists->owners[i], lists->first[i], lists->second[i]) &
		       (earlier[i] ^ later[i]);
	return out != 0;
}

static void mark_block(struct marks marks, const struct lists *lists, const uint16_t *earlier,
		       const uint16_t *later, uint32_t start, uint32_t end)
{
	uint32_t at = start;

	for (; at + CHUNK <= end; at += CHUNK)
		if (is_any_out(lists, earlier, later, at, at + CHUNK))
			mark(marks, lists, earlier, at, at + CHUNK);
	mark(marks, lists, earlier, at, end);
}

/*
 * Mark the buckets whose owner in an earlier epoch is neither owner nor alternate now: in the row of that
 * backend, one of `size` flags. `row` has the number of the row, from 1 on, of each backend that counts, 0 of
 * the others.
 */
void ring_left_out(uint32_t size, const uint16_t *owners, uint16_t *first, uint16_t *second, uint32_t epochs,
		   const uint16_t *const *earlier, const uint16_t *row, uint8_t *flags)
{
	struct marks marks = {row, flags, size};
	struct lists lists = {owners, first, second};

	for (uint32_t start = 0; start < size; start += BLOCK) {
		uint32_t end = size - start < BLOCK ? size : start + BLOCK;

		for (uint32_t epoch = 0; epoch < epochs;
		     epoch++) /* nobody is left out of what is his today */
			mark_block(marks, &lists, earlier[epoch], epoch ? earlier[epoch - 1] : owners, start,
				   end);
	}
}
