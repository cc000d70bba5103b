// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Patterns of real guests: bounce buffers, random ranges of 4 to 64 KiB in a pool of
 * 64 MiB, and packets, single pages in a ring.  A sample is the mean of many steps.
 */
#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define POOL		(64 * MIB)
#define NR_STEPS	64
#define MAX_PAGES	16
#define RING_PAGES	256
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE

/* The same ranges for each way and in every run. */
static uint32_t random_state;

static uint32_t next_random(void)
{
	random_state = random_state * 1664525 + 1013904223;
	return random_state >> 8;
}

static void step(struct memory *memory, uint64_t offset, uint64_t size)
{
	memory_convert(memory, offset, size, false, PRESERVE);
	memory_host_touch(memory, offset, size);
	memory_convert(memory, offset, size, true, PRESERVE);
	memory_guest_touch(memory, offset, size);
}

static void bounce(struct memory *memory, unsigned int round)
{
	unsigned int i;

	random_state = round;
	for (i = 0; i < NR_STEPS; i++) {
		uint64_t size = (1 + next_random() % MAX_PAGES) * BENCH_PAGE;

		step(memory, next_random() % ((POOL - size) / BENCH_PAGE) * BENCH_PAGE, size);
	}
}

static void packets(struct memory *memory, unsigned int round)
{
	unsigned int i;

	for (i = 0; i < NR_STEPS; i++)
		step(memory, (round * NR_STEPS + i) % RING_PAGES * BENCH_PAGE, BENCH_PAGE);
}

static void sample(struct memory *memory, const char *name, uint64_t bytes,
		   void (*pattern)(struct memory *, unsigned int), unsigned int round)
{
	struct key key = {
		.measure = name,
		.way = way_names[memory->way],
		.direction = "-",
		.policy = memory->way == NEW ? "preserve" : "-",
		.touched = "-",
		.unit = clock_unit(),
		.bytes = bytes,
		.count = 1,
	};
	uint64_t began = clock_now();
	double cost;

	pattern(memory, round);
	cost = clock_since(began);
	record(&key, cost / NR_STEPS);
}

static void run(void)
{
	struct memory memories[3];
	struct guest guests[3];
	struct budget budget;
	int way;

	for (way = NEW; way <= OLD_KEEP; way++) {
		guest_create(&guests[way], 1);
		memory_create(&memories[way], &guests[way], way, SLOT, GUEST_GPA, POOL, false);
		memory_guest_touch(&memories[way], 0, POOL);
		packets(&memories[way], 0);
	}
	budget_start(&budget, 15);
	while (budget_left(&budget, 3, 21)) {
		for (way = NEW; way <= OLD_KEEP; way++)
			sample(&memories[way], "bounce", POOL, bounce, budget.done);
		for (way = NEW; way <= OLD_KEEP; way++)
			sample(&memories[way], "packets", BENCH_PAGE, packets, budget.done);
	}
	for (way = NEW; way <= OLD_KEEP; way++) {
		memory_destroy(&memories[way]);
		guest_destroy(&guests[way]);
	}
}

const struct bench bench_pattern = {
	.name = "pattern",
	.help = "bounce buffers of 4 to 64 KiB, packets of one page; the mean of 64 steps",
	.run = run,
	.countable = true,
};
