// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * One call over memory in which every other page is private: its cost should follow
 * what exists, not how often the state changes.  Without folios, 2^18 pages; and with
 * all of them allocated, a part of that.
 */
#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE

static void mixed(uint64_t size, bool resident, bool to_private, uint64_t policy)
{
	struct key key = {
		.measure = "mixed", .way = "in_place",
		.direction = to_private ? "to_private" : "to_shared",
		.policy = policy_names[policy], .touched = resident ? "host" : "never",
		.unit = clock_unit(), .bytes = size, .count = 1,
	};
	struct memory memory;
	struct guest guest;
	uint64_t began, i;
	double cost;

	/* A new file: what a policy has left must not affect the next. */
	guest_create(&guest, 1);
	memory_create(&memory, &guest, NEW, SLOT, GUEST_GPA, size, true);
	if (resident)
		memory_host_touch(&memory, 0, size);
	for (i = 0; i < size; i += 2 * BENCH_PAGE)
		memory_convert(&memory, i, BENCH_PAGE, true, PRESERVE);
	began = clock_now();
	memory_convert(&memory, 0, size, to_private, policy);
	cost = clock_since(began);
	record(&key, cost);
	memory_destroy(&memory);
	guest_destroy(&guest);
}

static void run(void)
{
	unsigned int policy, round;
	int to_private;

	/* Setting up takes most of the time, and counts are repeatable. */
	for (round = 0; round < (clock_is_instructions() ? 1 : 3); round++) {
		for (to_private = 0; to_private < 2; to_private++) {
			for (policy = 0; policy < 3; policy++) {
				mixed(GIB, false, to_private, policy);
				mixed(64 * MIB, true, to_private, policy);
			}
		}
	}
}

const struct bench bench_mixed = {
	.name = "mixed",
	.help = "one call over memory in which every other page is private, by policy",
	.run = run,
	.countable = true,
};
