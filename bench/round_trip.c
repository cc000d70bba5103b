// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The round trip as the guest sees it: its memory becomes shared, the host touches
 * all of it, it becomes private again, and the guest touches all of it.
 */
#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1

#define ZERO		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE
#define NONE		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE

/* The last is libgmem's default, and the most that SNP and TDX offer. */
static const struct policies {
	const char *name;
	uint64_t to_shared;
	uint64_t to_private;
} policies[] = {
	{ "zero", ZERO, ZERO },
	{ "preserve", PRESERVE, PRESERVE },
	{ "none", NONE, NONE },
	{ "zero+none", ZERO, NONE },
};

#define NR_POLICIES (sizeof(policies) / sizeof(policies[0]))

static void trip(struct memory *memory, uint64_t bytes, const struct policies *policy)
{
	memory_convert(memory, 0, bytes, false, policy->to_shared);
	memory_host_touch(memory, 0, bytes);
	memory_convert(memory, 0, bytes, true, policy->to_private);
	memory_guest_touch(memory, 0, bytes);
}

static void one_trip(struct memory *memory, uint64_t bytes, const struct policies *policy)
{
	struct key key = {
		.measure = "round_trip",
		.way = way_names[memory->way],
		.direction = "-",
		.policy = memory->way == NEW ? policy->name : "-",
		.touched = "-",
		.unit = clock_unit(),
		.bytes = bytes,
		.count = 1,
	};
	uint64_t began = clock_now();
	double cost;

	trip(memory, bytes, policy);
	cost = clock_since(began);
	record(&key, cost);
}

/* The host's part of a round trip: it touches all pages after the conversion. */
static void one_touch(struct memory *memory, uint64_t bytes)
{
	struct key key = {
		.measure = "touch_shared", .way = way_names[memory->way], .direction = "-",
		.policy = "preserve", .touched = "-", .unit = clock_unit(), .bytes = bytes,
		.count = 1,
	};
	uint64_t began;
	double cost;

	memory_convert(memory, 0, bytes, false, PRESERVE);
	began = clock_now();
	memory_host_touch(memory, 0, bytes);
	cost = clock_since(began);
	record(&key, cost);
	memory_convert(memory, 0, bytes, true, PRESERVE);
}

static void one_size(uint64_t bytes)
{
	struct memory memories[3];
	struct guest guests[3];
	struct budget budget;
	size_t policy;
	int way;

	for (way = NEW; way <= OLD_KEEP; way++) {
		guest_create(&guests[way], 1);
		memory_create(&memories[way], &guests[way], way, SLOT, GUEST_GPA, bytes, false);
		memory_guest_touch(&memories[way], 0, bytes);
		/* Warm up: from here on, every round is like the previous one. */
		trip(&memories[way], bytes, &policies[0]);
	}
	budget_start(&budget, 6);
	while (budget_left(&budget, 3, 21)) {
		for (policy = 0; policy < NR_POLICIES; policy++) {
			one_trip(&memories[NEW], bytes, &policies[policy]);
			one_trip(&memories[OLD], bytes, &policies[0]);
		}
		one_trip(&memories[OLD_KEEP], bytes, &policies[0]);
		one_touch(&memories[NEW], bytes);
	}
	for (way = NEW; way <= OLD_KEEP; way++) {
		memory_destroy(&memories[way]);
		guest_destroy(&guests[way]);
	}
}

static void run(void)
{
	one_size(4 * KIB);
	one_size(64 * KIB);
	one_size(2 * MIB);
	if (!clock_is_instructions())
		one_size(64 * MIB);
}

const struct bench bench_round_trip = {
	.name = "round_trip",
	.help = "to shared, host touches all, to private, guest touches all",
	.run = run,
	.countable = true,
};
