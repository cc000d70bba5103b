// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The library's map of states compared with a plain array.  SEED= replays. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* Before cmocka, which has a macro fail(). */
#include "internal.h"
#include <cmocka.h>

#define CHUNK		(4096ul * 8)
/* Two and a half chunks, the last one neither whole nor a multiple of 64. */
#define PAGES		(2 * CHUNK + CHUNK / 2 + 7)
#define ROUNDS		4000

static bool model[PAGES];

static uint64_t model_find(uint64_t start, uint64_t end, bool is_private)
{
	while (start < end && model[start] != is_private)
		start++;
	return start;
}

/* Boundaries are where mistakes are. */
static uint64_t somewhere(unsigned int *state)
{
	static const uint64_t edges[] = { 0, 1, 63, 64, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, PAGES };

	if (rand_r(state) % 4 == 0)
		return edges[rand_r(state) % (sizeof(edges) / sizeof(edges[0]))];
	return rand_r(state) % (PAGES + 1);
}

static void random_ranges_are_as_in_an_array(void **unused)
{
	const char *text = getenv("SEED");
	unsigned int seed = text ? strtoul(text, NULL, 0) : (unsigned int)time(NULL), state = seed;
	struct states states;
	int round, i;

	(void)unused;
	printf("# SEED=%u\n", seed);
	assert_int_equal(states_init(&states, PAGES, 4096, true), 0);
	memset(model, true, sizeof(model));
	for (round = 0; round < ROUNDS; round++) {
		uint64_t start = somewhere(&state), end = somewhere(&state);
		bool is_private = rand_r(&state) % 2;

		if (start > end)
			end = start;
		states_set(&states, start, end, is_private);
		memset(model + start, is_private, end - start);
		for (i = 0; i < 8; i++) {
			start = somewhere(&state);
			end = somewhere(&state);
			is_private = rand_r(&state) % 2;
			if (start < PAGES)
				assert_int_equal(states_is_private(&states, start), model[start]);
			if (start <= end)
				assert_int_equal(states_find(&states, start, end, is_private),
						 model_find(start, end, is_private));
		}
	}
	states_exit(&states);
}

/* How many pages of a mapping are allocated. */
static size_t resident(const void *memory, size_t size)
{
	unsigned char *pages = calloc(size / 4096 + 1, 1);
	size_t i, nr = 0;

	assert_int_equal(mincore((void *)memory, size, pages), 0);
	for (i = 0; i < size / 4096; i++)
		nr += pages[i] & 1;
	free(pages);
	return nr;
}

static void chunk_of_one_state_gives_its_page_back(void **unused)
{
	struct states states;
	uint64_t page;

	(void)unused;
	assert_int_equal(states_init(&states, 4 * CHUNK, 4096, false), 0);
	for (page = 0; page < 4 * CHUNK; page += 2)
		states_set(&states, page, page + 1, true);
	assert_int_equal(resident(states.bits, 4 * 4096), 4);
	for (page = 1; page < CHUNK; page += 2)
		states_set(&states, page, page + 1, true);
	assert_int_equal(resident(states.bits, 4 * 4096), 3);
	states_set(&states, 0, 4 * CHUNK, false);
	assert_int_equal(resident(states.bits, 4 * 4096), 0);
	assert_int_equal(states_find(&states, 0, 4 * CHUNK, true), 4 * CHUNK);
	states_exit(&states);
}

/* mlockall() keeps all pages of a VMM's memory. */
static void locked_chunk_forgets_its_bits(void **unused)
{
	struct states states;

	(void)unused;
	assert_int_equal(states_init(&states, CHUNK, 4096, false), 0);
	/* The sanitizer's mlock() does nothing. */
	if (syscall(SYS_mlock, states.bits, 4096)) {
		states_exit(&states);
		skip();
	}
	states_set(&states, 3, 4, true);
	states_set(&states, 0, CHUNK, false);
	states_set(&states, 9, 10, true);
	assert_false(states_is_private(&states, 3));
	assert_int_equal(states_find(&states, 0, CHUNK, true), 9);
	states_exit(&states);
}

static void sixteen_tebibytes_cost_little(void **unused)
{
	const uint64_t pages = (16ull << 40) / 4096;
	struct states states;

	(void)unused;
	assert_int_equal(states_init(&states, pages, 4096, true), 0);
	states_set(&states, pages - 1, pages, false);
	assert_int_equal(states_find(&states, 0, pages, false), pages - 1);
	assert_false(states_is_private(&states, pages - 1));
	assert_true(states_is_private(&states, pages - 2));
	states_set(&states, 0, pages, false);
	assert_int_equal(states_find(&states, 0, pages, true), pages);
	assert_true(resident(states.chunks, states.nr_chunks) <= 32);
	states_exit(&states);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_ranges_are_as_in_an_array),
		cmocka_unit_test(chunk_of_one_state_gives_its_page_back),
		cmocka_unit_test(locked_chunk_forgets_its_bits),
		cmocka_unit_test(sixteen_tebibytes_cost_little),
	};

	return cmocka_run_group_tests_name("states", tests, NULL, NULL);
}
