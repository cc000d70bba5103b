// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The states of the pages of a memory: lookup, search, change.  No locks here. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "internal.h"

#define BITS_PER_WORD	64u

enum { SHARED, PRIVATE, MIXED };

static uint64_t chunk_pages(const struct states *states)
{
	return states->page_size * 8;
}

static uint64_t *chunk_bits(const struct states *states, uint64_t chunk)
{
	return states->bits + chunk * (states->page_size / sizeof(*states->bits));
}

static uint64_t min_u64(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static void *reserve(uint64_t size)
{
	void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	return memory == MAP_FAILED ? NULL : memory;
}

int states_init(struct states *states, uint64_t nr_pages, size_t page_size, bool is_private)
{
	*states = (struct states){ .nr_pages = nr_pages, .page_size = page_size };
	states->nr_chunks = (nr_pages + chunk_pages(states) - 1) / chunk_pages(states);

	states->chunks = reserve(states->nr_chunks);
	states->bits = reserve(states->nr_chunks * page_size);
	if (!states->chunks || !states->bits) {
		states_exit(states);
		return -ENOMEM;
	}

	if (is_private)
		memset(states->chunks, PRIVATE, states->nr_chunks);
	return 0;
}

void states_exit(struct states *states)
{
	if (states->chunks)
		munmap(states->chunks, states->nr_chunks);
	if (states->bits)
		munmap(states->bits, states->nr_chunks * states->page_size);
	*states = (struct states){};
}

bool states_is_private(const struct states *states, uint64_t page)
{
	uint64_t chunk = page / chunk_pages(states), bit = page % chunk_pages(states);

	if (states->chunks[chunk] != MIXED)
		return states->chunks[chunk] == PRIVATE;

	return chunk_bits(states, chunk)[bit / BITS_PER_WORD] >> (bit % BITS_PER_WORD) & 1;
}

uint64_t states_find(const struct states *states, uint64_t start, uint64_t end, bool is_private)
{
	uint64_t page = start;

	while (page < end) {
		uint64_t chunk = page / chunk_pages(states), bit = page % chunk_pages(states);
		uint64_t word;

		if (states->chunks[chunk] != MIXED) {
			if ((states->chunks[chunk] == PRIVATE) == is_private)
				return page;
			page = (chunk + 1) * chunk_pages(states);
			continue;
		}

		word = chunk_bits(states, chunk)[bit / BITS_PER_WORD];
		word = (is_private ? word : ~word) >> (bit % BITS_PER_WORD);
		if (word)
			return min_u64(page + __builtin_ctzll(word), end);
		page += BITS_PER_WORD - bit % BITS_PER_WORD;
	}

	return end;
}

/* The bits of one chunk, [start, end) within it. */
static void set_bits(uint64_t *bits, uint64_t start, uint64_t end, bool is_private)
{
	while (start < end) {
		uint64_t shift = start % BITS_PER_WORD;
		uint64_t nr = min_u64(end - start, BITS_PER_WORD - shift);
		uint64_t mask = (nr == BITS_PER_WORD ? ~0ull : (1ull << nr) - 1) << shift;

		if (is_private)
			bits[start / BITS_PER_WORD] |= mask;
		else
			bits[start / BITS_PER_WORD] &= ~mask;
		start += nr;
	}
}

/* A chunk that has one state again gives its page back, or zeros it if the page is locked. */
static void settle(struct states *states, uint64_t chunk, uint8_t state)
{
	uint64_t *bits = chunk_bits(states, chunk);

	if (states->chunks[chunk] == MIXED && madvise(bits, states->page_size, MADV_DONTNEED))
		memset(bits, 0, states->page_size);
	states->chunks[chunk] = state;
}

void states_set(struct states *states, uint64_t start, uint64_t end, bool is_private)
{
	uint8_t state = is_private ? PRIVATE : SHARED;

	while (start < end) {
		uint64_t chunk = start / chunk_pages(states), first = chunk * chunk_pages(states);
		uint64_t stop = min_u64(first + chunk_pages(states), states->nr_pages);
		uint64_t until = min_u64(end, stop);

		if (start == first && until == stop) {
			settle(states, chunk, state);
		} else if (states->chunks[chunk] != state) {
			if (states->chunks[chunk] == PRIVATE)
				set_bits(chunk_bits(states, chunk), 0, stop - first, true);
			states->chunks[chunk] = MIXED;
			set_bits(chunk_bits(states, chunk), start - first, until - first,
				 is_private);
			if (states_find(states, first, stop, !is_private) == stop)
				settle(states, chunk, state);
		}
		start = until;
	}
}
