// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * One conversion: the call alone, by size, direction, policy and what has been
 * touched before.  The ways alternate within each round, so that whatever else
 * the machine does affects all of them.
 */
#include <string.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE

static const struct variant {
	enum way way;
	uint64_t policy;
} variants[] = {
	{ NEW, KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO },
	{ OLD, 0 },
	{ NEW, PRESERVE },
	{ OLD_KEEP, 0 },
	{ NEW, KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE },
};

#define NR_VARIANTS (sizeof(variants) / sizeof(variants[0]))

/* Who has touched the range; the host can map memory only while it is shared. */
static const struct state {
	const char *name;
	bool guest;
	bool host;
} states[] = {
	{ "never", false, false },
	{ "guest", true, false },
	{ "host", false, true },
	{ "both", true, true },
};

static struct memory memories[3];

/*
 * Resident pages have been through a conversion before; those that have just been
 * allocated are a case of their own, "fresh".
 */
static void prepare(struct memory *memory, uint64_t bytes, bool to_private,
		    const struct state *state)
{
	memory_reset(memory, bytes, !to_private);
	if (state->guest || state->host) {
		if (to_private)
			memory_host_touch(memory, 0, bytes);
		else
			memory_guest_touch(memory, 0, bytes);
		memory_convert(memory, 0, bytes, to_private, PRESERVE);
		memory_convert(memory, 0, bytes, !to_private, PRESERVE);
	}
	if (state->guest)
		memory_guest_touch(memory, 0, bytes);
	if (state->host)
		memory_host_touch(memory, 0, bytes);
}

static void measure(const struct variant *variant, const struct key *key,
		    uint64_t bytes, bool to_private)
{
	struct memory *memory = &memories[variant->way];
	uint64_t began;
	double cost;

	began = clock_now();
	memory_convert(memory, 0, bytes, to_private, variant->policy);
	cost = clock_since(began);
	record(key, cost);
	/* What one way holds must not affect the next. */
	memory_reset(memory, bytes, !to_private);
}

static void one_case(uint64_t bytes, bool to_private, const struct state *state, bool fresh)
{
	bool large = bytes > 2 * MIB;
	struct budget budget;
	size_t i;

	budget_start(&budget, bytes > 64 * MIB ? 8 : 4);
	while (budget_left(&budget, 3, large ? 7 : 21)) {
		for (i = 0; i < NR_VARIANTS; i++) {
			const struct variant *v = &variants[i];
			struct key key = {
				.measure = fresh ? "fresh" : "conversion",
				.way = way_names[v->way],
				.direction = to_private ? "to_private" : "to_shared",
				.policy = v->way == NEW ? policy_names[v->policy] : "-",
				.touched = state->name,
				.unit = clock_unit(),
				.bytes = bytes,
				.count = 1,
			};

			if (fresh) {
				memory_reset(&memories[v->way], bytes, !to_private);
				memory_host_touch(&memories[v->way], 0, bytes);
			} else {
				prepare(&memories[v->way], bytes, to_private, state);
			}
			measure(v, &key, bytes, to_private);
		}
	}
}

static void one_size(uint64_t bytes)
{
	bool largest = bytes > 64 * MIB;
	struct guest guests[3];
	size_t i;
	int way;

	/* The range is a part of its file; "tracking" measures whole files. */
	for (way = NEW; way <= OLD_KEEP; way++) {
		guest_create(&guests[way], 1);
		memory_create(&memories[way], &guests[way], way, SLOT, GUEST_GPA, 2 * bytes, true);
	}
	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
		const struct state *state = &states[i];

		if (!state->host && (!largest || !state->guest || !clock_is_instructions()))
			one_case(bytes, false, state, false);
		/* A GiB takes long to touch, so measure only the most costly state of each. */
		if (!largest || state->guest == state->host)
			one_case(bytes, true, state, false);
	}
	if (bytes == BENCH_PAGE || bytes == 2 * MIB)
		one_case(bytes, true, &states[2], true);
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
	if (clock_is_instructions())
		return;
	one_size(64 * MIB);
	one_size(GIB);
}

const struct bench bench_conversion = {
	.name = "conversion",
	.help = "one call, by size, direction, policy, and what was touched",
	.run = run,
	.countable = true,
};
