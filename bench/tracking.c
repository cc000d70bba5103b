// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The cost of knowing who may use each page: whole files of any size, mixed files,
 * the memory for it, and the lookup.
 */
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define ZERO		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE
/* The number of pages that the smallest piece of the tree covers. */
#define LEAF		(1024 * BENCH_PAGE)

/*
 * Short calls after long ones of the other way would find caches full of the
 * latter, so warm up on a separate page.
 */
static void warm_up(struct memory *memory)
{
	memory_convert(memory, 0, BENCH_PAGE, true, ZERO);
	memory_convert(memory, 0, BENCH_PAGE, false, ZERO);
}

static void timed(struct memory *memory, const char *measure, uint64_t offset, uint64_t bytes,
		  bool to_private, unsigned int count)
{
	struct key key = {
		.measure = measure,
		.way = way_names[memory->way],
		.direction = to_private ? "to_private" : "to_shared",
		.policy = memory->way == NEW ? "zero" : "-",
		.touched = "never",
		.unit = clock_unit(),
		.bytes = bytes,
		.count = count,
	};
	uint64_t began = clock_now();
	double cost;

	memory_convert(memory, offset, bytes, to_private, ZERO);
	cost = clock_since(began);
	record(&key, cost);
}

/* Bound to the guest, nothing allocated, compared with the old attributes. */
static void whole_bound(uint64_t bytes)
{
	struct memory new, old;
	struct guest guests[2];
	struct budget budget;

	guest_create(&guests[0], 1);
	guest_create(&guests[1], 1);
	memory_create(&new, &guests[0], NEW, SLOT, GUEST_GPA, bytes, true);
	memory_create(&old, &guests[1], OLD_KEEP, SLOT, GUEST_GPA, bytes, true);
	budget_start(&budget, 6);
	while (budget_left(&budget, 3, 21)) {
		warm_up(&new);
		timed(&new, "whole_bound", 0, bytes, true, 1);
		timed(&new, "whole_bound", 0, bytes, false, 1);
		warm_up(&old);
		timed(&old, "whole_bound", 0, bytes, true, 1);
		timed(&old, "whole_bound", 0, bytes, false, 1);
	}
	memory_destroy(&new);
	memory_destroy(&old);
	guest_destroy(&guests[0]);
	guest_destroy(&guests[1]);
}

/* Too large for a slot of most machines, so not bound. */
static void whole_sparse(struct guest *guest)
{
	static const uint64_t sizes[] = { GIB, 64 * GIB, TIB, 16 * TIB };
	struct memory memories[4];
	struct budget budget;
	size_t i;

	/* Nor mapped: the cost of unmapping nothing depends on where it would be. */
	for (i = 0; i < 4; i++) {
		memory_create(&memories[i], guest, NEW, NO_SLOT, 0, sizes[i], true);
		munmap(memories[i].host, sizes[i]);
	}
	budget_start(&budget, 6);
	while (budget_left(&budget, 3, 21)) {
		for (i = 0; i < 4; i++) {
			timed(&memories[i], "whole_sparse", 0, sizes[i], true, 1);
			timed(&memories[i], "whole_sparse", 0, sizes[i], false, 1);
		}
	}
	for (i = 0; i < 4; i++)
		close(memories[i].fd);
}

/*
 * One page, in a file in which @nr others, far from each other, are private; and the
 * whole of that file back to shared.
 */
static void fragmented_by(enum way way, uint64_t nr)
{
	uint64_t size = 4 * GIB, at = size / BENCH_PAGE / 2, step = nr ? size / nr : 0, i;
	struct memory memory;
	struct guest guest;

	guest_create(&guest, 1);
	memory_create(&memory, &guest, way, NO_SLOT, 4 * GIB, size, true);
	for (i = 0; i < nr; i++)
		memory_convert(&memory, i * step, BENCH_PAGE, true, ZERO);
	warm_up(&memory);
	for (i = 0; i < 7; i++) {
		timed(&memory, "fragmented", (at + 1) * BENCH_PAGE, BENCH_PAGE, true, nr);
		timed(&memory, "fragmented", (at + 1) * BENCH_PAGE, BENCH_PAGE, false, nr);
	}
	timed(&memory, "defragment", 0, size, false, nr);
	memory_destroy(&memory);
	guest_destroy(&guest);
}

static void fragmented(void)
{
	static const uint64_t numbers[] = { 0, 256, 4096, 65536, 262144 };
	size_t n;
	int round;

	for (round = 0; round < 3; round++) {
		for (n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
			fragmented_by(NEW, numbers[n]);
			fragmented_by(OLD_KEEP, numbers[n]);
		}
	}
}

struct cost {
	uint64_t size;
	uint64_t step;
	uint64_t policy;
	enum way way;
	uint64_t bytes;
};

static void fragment_in_cgroup(void *arg)
{
	struct cost *cost = arg;
	struct memory memory;
	uint64_t before, i;
	struct guest guest;

	guest_create(&guest, 1);
	memory_create(&memory, &guest, cost->way, NO_SLOT, 0, cost->size, true);
	before = cgroup_kernel();
	for (i = 0; i < cost->size; i += cost->step)
		memory_convert(&memory, i, BENCH_PAGE, true, cost->policy);
	cost->bytes = cgroup_kernel() - before;
}

static void bytes_of(struct cost *cost, const char *touched)
{
	struct key key = {
		.measure = "tracking", .way = way_names[cost->way], .direction = "to_private",
		.policy = cost->way == NEW ? policy_names[cost->policy] : "-",
		.touched = touched, .unit = "bytes/page", .bytes = cost->size, .count = 1,
	};

	in_cgroup(fragment_in_cgroup, cost);
	record(&key, (double)cost->bytes / (cost->size / BENCH_PAGE));
}

static void memory_of_tracking(void)
{
	struct cost *cost = mmap(NULL, BENCH_PAGE, PROT_READ | PROT_WRITE,
				 MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (cost == MAP_FAILED)
		die("mmap");
	/* Really every other page; for 64 GiB, one in each leaf, which takes as much memory. */
	*cost = (struct cost){ .size = 8 * GIB, .step = 2 * BENCH_PAGE, .policy = PRESERVE };
	bytes_of(cost, "every_other");
	*cost = (struct cost){ .size = GIB, .step = 2 * BENCH_PAGE, .way = OLD_KEEP };
	bytes_of(cost, "every_other");
	*cost = (struct cost){ .size = 8 * GIB, .step = LEAF, .policy = PRESERVE };
	bytes_of(cost, "each_leaf");
	*cost = (struct cost){ .size = 64 * GIB, .step = LEAF, .policy = PRESERVE };
	bytes_of(cost, "each_leaf");
	*cost = (struct cost){ .size = 64 * GIB, .step = LEAF,
			       .policy = KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_NONE };
	bytes_of(cost, "each_leaf");
	*cost = (struct cost){ .size = 16 * TIB, .step = 16 * TIB, .policy = PRESERVE };
	bytes_of(cost, "one_page");
	munmap(cost, BENCH_PAGE);
}

/* A minor fault, which looks the page up: in a file of one state, and in a mixed one. */
static void fault_with_lookup(struct guest *guest)
{
	uint64_t size = 64 * MIB, i, began;
	struct memory memories[2];
	int mixed, round;
	double cost;

	for (mixed = 0; mixed < 2; mixed++) {
		memory_create(&memories[mixed], guest, NEW, NO_SLOT, 0, size, true);
		memory_host_touch(&memories[mixed], 0, size);
		for (i = 0; mixed && i < size; i += 2 * BENCH_PAGE)
			memory_convert(&memories[mixed], i, BENCH_PAGE, true, PRESERVE);
	}
	for (round = 0; round < 5; round++) {
		for (mixed = 0; mixed < 2; mixed++) {
			struct key key = {
				.measure = "fault_with_lookup", .way = "in_place", .direction = "-",
				.policy = "-", .touched = mixed ? "mixed" : "uniform",
				.unit = clock_unit(), .bytes = size, .count = 1,
			};

			madvise(memories[mixed].host, size, MADV_DONTNEED);
			began = clock_now();
			for (i = BENCH_PAGE; i < size; i += 2 * BENCH_PAGE)
				memory_host_touch(&memories[mixed], i, BENCH_PAGE);
			cost = clock_since(began);
			record(&key, cost / (size / BENCH_PAGE / 2));
		}
	}
	memory_destroy(&memories[0]);
	memory_destroy(&memories[1]);
}

static void run(void)
{
	struct guest guest;

	guest_create(&guest, 1);
	whole_sparse(&guest);
	fault_with_lookup(&guest);
	guest_destroy(&guest);
	whole_bound(512 * MIB);
	if (clock_is_instructions())
		return;
	fragmented();
	memory_of_tracking();
}

const struct bench bench_tracking = {
	.name = "tracking",
	.help = "whole files of 512 MiB to 16 TiB, mixed files, bytes per page, lookup",
	.run = run,
	.countable = true,
};
