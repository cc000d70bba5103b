// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Cells: one call each, in states that are as plain as possible, so that another
 * implementation can be measured in the same ones. results/peer.csv has the counts
 * of one, and check compares them.  Counted in instructions only, with PRESERVE.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE
#define NR_SAMPLES	5
/* For ranges that take long to touch. */
#define NR_LARGE	3
/* What one page table maps. */
#define TABLE		(2 * MIB)

static void cell_sample(const char *name, const char *direction, uint64_t bytes, double cost)
{
	struct key key = {
		.measure = "cell", .way = "in_place", .direction = direction,
		.policy = "preserve", .touched = name, .unit = clock_unit(),
		.bytes = bytes, .count = 1,
	};

	record(&key, cost);
}

/* Including the cost of reading the clock, as in peer.csv. */
static double passed_since(uint64_t began)
{
	return clock_now() - began;
}

static const char *direction_name(bool to_private)
{
	return to_private ? "to_private" : "to_shared";
}

static double cost_of(struct memory *memory, uint64_t offset, uint64_t bytes, bool to_private)
{
	uint64_t began = clock_now();
	double cost;

	memory_convert(memory, offset, bytes, to_private, PRESERVE);
	cost = passed_since(began);

	return cost;
}

static void cell(struct memory *memory, const char *name, uint64_t offset, uint64_t bytes,
		 bool to_private)
{
	cell_sample(name, direction_name(to_private), bytes,
		    cost_of(memory, offset, bytes, to_private));
}

static void allocate(struct memory *memory, uint64_t offset, uint64_t bytes)
{
	if (fallocate(memory->fd, FALLOC_FL_KEEP_SIZE, offset, bytes))
		die("fallocate of %llu bytes", (unsigned long long)bytes);
}

static void punch(struct memory *memory, uint64_t offset, uint64_t bytes)
{
	if (fallocate(memory->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, bytes))
		die("punching a hole");
}

/* Do not read first: a write fault costs more than a read fault. */
static void host_write(struct memory *memory, uint64_t offset, uint64_t bytes, uint64_t stride)
{
	volatile uint8_t *at = memory->host + offset;
	uint64_t i;

	for (i = 0; i < bytes; i += stride)
		at[i] = 1;
}

/* The mean cost of a call. */
static double every_other(struct memory *memory, uint64_t offset, uint64_t bytes, bool to_private)
{
	double cost = 0;
	uint64_t i;

	for (i = 0; i < bytes; i += 2 * BENCH_PAGE)
		cost += cost_of(memory, offset + i, BENCH_PAGE, to_private);

	return cost / (bytes / BENCH_PAGE / 2);
}

struct place {
	struct guest guest;
	struct memory memory;
};

/* A file that is bound and mapped. */
static void place_create(struct place *place, uint64_t size)
{
	guest_create(&place->guest, 1);
	memory_create(&place->memory, &place->guest, NEW, SLOT, GUEST_GPA, size, true);
}

/*
 * The same, with nothing else of the process in the page tables that map it: then
 * unmapping does not depend on where the kernel puts mappings.  Faults do, a little,
 * as they look for their mapping among one more.
 */
static void place_create_apart(struct place *place, uint64_t size)
{
	struct memory *memory = &place->memory;
	uint64_t room = size + 4 * TABLE;
	uint8_t *reserved, *host;

	guest_create(&place->guest, 1);
	memory_create(memory, &place->guest, NEW, NO_SLOT, GUEST_GPA, size, true);
	munmap(memory->host, size);

	reserved = mmap(NULL, room, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (reserved == MAP_FAILED)
		die("reserving addresses");
	host = reserved + 2 * TABLE - (uintptr_t)reserved % TABLE;
	memory->host = mmap(host, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
			    memory->fd, 0);
	if (memory->host == MAP_FAILED)
		die("mmap of %llu bytes", (unsigned long long)size);
	munmap(reserved, host - reserved);
	munmap(host + size, reserved + room - (host + size));
	memory->slot = SLOT;
	memory_bind(memory);
}

static void place_destroy(struct place *place)
{
	memory_destroy(&place->memory);
	guest_destroy(&place->guest);
}

/*
 * A cell is what is done with a range that is shared at first, and shared again when
 * the next cell begins, one letter for each step:
 *
 *	0 punch		a allocate	h host touches	n host touches what is beside
 *	g guest touches	p to private	s to shared	m every other page to private
 *	P S as p and s, measured
 */
struct cell {
	const char *name;
	const char *steps;
};

/* In a region that host and guest have used before, so that page tables exist. */
static const struct cell used[] = {
	{ "mapped", "hgPgS" },
	{ "hostmapped", "0hPs" },
	{ "resident", "0aPS" },
	{ "absent", "0PS" },
	{ "nochange-absent", "0S" },
	{ "nochange-mapped", "hgS" },
};

/* In a region that nobody has touched yet. */
static const struct cell fresh[] = {
	{ "fresh-resident", "aPS" },
	{ "fresh-absent", "PS" },
	{ "fresh-hostmapped", "hPS" },
	{ "nochange-private", "npgP" },
	{ "guestmapped", "pgS" },
	{ "just-converted", "anpsP" },
	/* At 64 KiB and 2 MiB. */
	{ "mixed", "hmP" },
	{ "mixed", "hmS" },
};

static void step(struct memory *memory, const struct cell *c, char what, uint64_t offset,
		 uint64_t bytes, bool measured)
{
	double cost;

	switch (what) {
	case '0':
		punch(memory, offset, bytes);
		break;
	case 'a':
		allocate(memory, offset, bytes);
		break;
	case 'h':
		host_write(memory, offset, bytes, BENCH_PAGE);
		break;
	case 'n':
		/* A smaller range has page tables of its own. */
		if (bytes < TABLE)
			break;
		host_write(memory, offset - BENCH_PAGE, BENCH_PAGE, BENCH_PAGE);
		host_write(memory, offset + bytes, BENCH_PAGE, BENCH_PAGE);
		break;
	case 'g':
		memory_guest_touch(memory, offset, bytes);
		break;
	case 'm':
		every_other(memory, offset, bytes, true);
		break;
	case 'p':
	case 's':
		memory_convert(memory, offset, bytes, what == 'p', PRESERVE);
		break;
	case 'P':
	case 'S':
		cost = cost_of(memory, offset, bytes, what == 'P');
		if (measured)
			cell_sample(c->name, direction_name(what == 'P'), bytes, cost);
		break;
	}
}

static void steps(struct memory *memory, const struct cell *c, uint64_t offset, uint64_t bytes,
		  bool measured)
{
	const char *what;

	for (what = c->steps; *what; what++)
		step(memory, c, *what, offset, bytes, measured);
}

static unsigned int nr_samples(uint64_t bytes)
{
	return bytes > 2 * MIB ? NR_LARGE : NR_SAMPLES;
}

static void used_cells(uint64_t bytes)
{
	unsigned int round;
	struct place place;
	size_t i;

	place_create_apart(&place, 192 * MIB);
	for (i = 0; i < sizeof(used) / sizeof(used[0]); i++) {
		for (round = 0; round <= nr_samples(bytes); round++)
			steps(&place.memory, &used[i], 64 * MIB, bytes, round);
	}
	place_destroy(&place);
}

static void fresh_cells(uint64_t bytes)
{
	unsigned int round;
	struct place place;
	size_t i;

	for (i = 0; i < sizeof(fresh) / sizeof(fresh[0]); i++) {
		if (!strcmp(fresh[i].name, "mixed") && (bytes == BENCH_PAGE || bytes > 2 * MIB))
			continue;
		for (round = 0; round < nr_samples(bytes); round++) {
			place_create_apart(&place, 512 * MIB);
			/* Across two page tables, in one piece of the tracking up to 2 MiB. */
			steps(&place.memory, &fresh[i], 257 * MIB, bytes, true);
			place_destroy(&place);
		}
	}
}

/*
 * Like bench_round_trip, but without the cost of aiming the guest; in
 * "roundtrip-both" the guest also touches the range while it is shared.
 */
static void round_trips(uint64_t bytes, bool both)
{
	uint64_t offset = 64 * MIB, began;
	unsigned int round;
	struct place place;
	double cost;

	place_create(&place, 192 * MIB);
	memory_convert(&place.memory, offset, bytes, true, PRESERVE);
	guest_aim(&place.guest, GUEST_GPA + offset, bytes);
	for (round = 0; round <= nr_samples(bytes); round++) {
		began = clock_now();
		memory_convert(&place.memory, offset, bytes, false, PRESERVE);
		host_write(&place.memory, offset, bytes, BENCH_PAGE);
		if (both)
			guest_run(&place.guest);
		memory_convert(&place.memory, offset, bytes, true, PRESERVE);
		guest_run(&place.guest);
		cost = passed_since(began);
		if (round)
			cell_sample(both ? "roundtrip-both" : "roundtrip", "-", bytes, cost);
	}
	place_destroy(&place);
}

/*
 * The mean of the pages of 2 MiB, one after another; in order, or with a stride that meets
 * all.
 */
static void page_by_page(struct memory *memory, const char *name, uint64_t stride)
{
	uint64_t nr = 2 * MIB / BENCH_PAGE, i;
	int to_private;
	double cost;

	host_write(memory, 0, 2 * MIB, BENCH_PAGE);
	for (to_private = 1; to_private >= 0; to_private--) {
		memory_guest_touch(memory, 0, 2 * MIB);
		cost = 0;
		for (i = 0; i < nr; i++)
			cost += cost_of(memory, i * stride % nr * BENCH_PAGE, BENCH_PAGE,
					to_private);
		cell_sample(name, direction_name(to_private), BENCH_PAGE, cost / nr);
	}
}

static void pages(void)
{
	unsigned int round;
	struct place place;

	place_create_apart(&place, 512 * MIB);
	for (round = 0; round < NR_SAMPLES; round++) {
		page_by_page(&place.memory, "sequential", 1);
		page_by_page(&place.memory, "random", 197);
	}
	place_destroy(&place);
}

/* A whole file, bound and mapped; with pages that have been through a conversion. */
static void whole(const char *name, unsigned int nr_pages)
{
	uint64_t size = 512 * MIB;
	unsigned int round;
	struct place place;

	for (round = 0; round < NR_SAMPLES; round++) {
		place_create_apart(&place, size);
		if (nr_pages) {
			host_write(&place.memory, 64 * MIB, nr_pages * BENCH_PAGE, BENCH_PAGE);
			memory_convert(&place.memory, 0, size, true, PRESERVE);
			memory_convert(&place.memory, 0, size, false, PRESERVE);
		}
		cell(&place.memory, name, 0, size, true);
		cell(&place.memory, name, 0, size, false);
		place_destroy(&place);
	}
}

/* Neither bound nor mapped. */
static void unbound(void)
{
	uint64_t size = 512 * MIB, offset = 257 * MIB;
	struct memory memory;
	struct guest guest;
	unsigned int round;
	int to_private;

	guest_create(&guest, 1);
	for (round = 0; round < NR_SAMPLES; round++) {
		memory_create(&memory, &guest, NEW, NO_SLOT, 0, size, true);
		munmap(memory.host, size);
		for (to_private = 1; to_private >= 0; to_private--)
			cell(&memory, "unbound-sparse", 0, size, to_private);
		for (to_private = 1; to_private >= 0; to_private--)
			cell(&memory, "unbound-sparse", offset, BENCH_PAGE, to_private);
		allocate(&memory, offset, 2 * MIB);
		memory_convert(&memory, offset, 2 * MIB, true, PRESERVE);
		memory_convert(&memory, offset, 2 * MIB, false, PRESERVE);
		for (to_private = 1; to_private >= 0; to_private--)
			cell(&memory, "unbound-resident", offset, 2 * MIB, to_private);
		close(memory.fd);
	}
	guest_destroy(&guest);
}

/* The cost of the file itself: creating, closing, emptying it. */
static void files(void)
{
	struct kvm_create_guest_memfd args = {
		.size = 512 * MIB, .flags = GUEST_MEMFD_FLAG_MMAP | GUEST_MEMFD_FLAG_INIT_SHARED,
	};
	unsigned int round;
	struct place place;
	uint64_t began;
	double cost;
	int fd;

	place_create_apart(&place, 512 * MIB);
	for (round = 0; round <= NR_SAMPLES; round++) {
		began = clock_now();
		fd = ioctl(place.guest.fd, KVM_CREATE_GUEST_MEMFD, &args);
		cost = passed_since(began);
		if (fd < 0)
			die("guest_memfd of %llu bytes", (unsigned long long)args.size);
		if (round)
			cell_sample("create", "-", args.size, cost);
		began = clock_now();
		close(fd);
		cost = passed_since(began);
		if (round)
			cell_sample("close", "-", args.size, cost);

		host_write(&place.memory, 2 * MIB, 2 * MIB, BENCH_PAGE);
		began = clock_now();
		punch(&place.memory, 2 * MIB, 2 * MIB);
		cost = passed_since(began);
		if (round)
			cell_sample("punch", "-", 2 * MIB, cost);
	}
	place_destroy(&place);
}

/* The mean of first touches; if @allocated, of pages that exist but are not cleared yet. */
static void faults(struct place *place, const char *name, uint64_t offset, uint64_t stride,
		   bool by_guest, bool allocated)
{
	uint64_t bytes = 64 * MIB, began;
	double cost;

	if (allocated)
		allocate(&place->memory, offset, bytes);
	if (by_guest)
		guest_aim(&place->guest, GUEST_GPA + offset, bytes);
	began = clock_now();
	if (by_guest)
		guest_run(&place->guest);
	else
		host_write(&place->memory, offset, bytes, stride);
	cost = passed_since(began);
	cell_sample(name, "-", BENCH_PAGE, cost / (bytes / stride));
}

static void uniform(void)
{
	struct place place;

	place_create(&place, GIB);
	faults(&place, "uniform-guest-fault-resident", 64 * MIB, BENCH_PAGE, true, true);
	faults(&place, "uniform-host-fault-resident", 128 * MIB, BENCH_PAGE, false, true);
	faults(&place, "uniform-guest-fault-alloc", 192 * MIB, BENCH_PAGE, true, false);
	faults(&place, "uniform-host-fault-alloc", 256 * MIB, BENCH_PAGE, false, false);
	place_destroy(&place);
}

/* A file in which every other page is private, 2^18 pages. */
static void fragmented(void)
{
	struct memory *memory;
	unsigned int round;
	struct place place;

	place_create(&place, GIB);
	memory = &place.memory;
	cell_sample("frag-every-other", "to_private", BENCH_PAGE,
		    every_other(memory, 0, GIB, true));
	for (round = 0; round < NR_SAMPLES; round++) {
		cell(memory, "frag-one-more", 32 * MIB + BENCH_PAGE, BENCH_PAGE, true);
		cell(memory, "frag-one-more", 32 * MIB + BENCH_PAGE, BENCH_PAGE, false);
	}
	faults(&place, "frag-guest-fault", 64 * MIB, BENCH_PAGE, true, true);
	/* Starting from a shared page. */
	faults(&place, "frag-host-fault", 128 * MIB + BENCH_PAGE, 2 * BENCH_PAGE, false, true);
	punch(memory, 0, GIB);
	/* With nothing allocated. */
	cell(memory, "frag-whole", 0, GIB, false);
	every_other(memory, 0, GIB, true);
	cell_sample("frag-every-other", "to_shared", BENCH_PAGE,
		    every_other(memory, 0, GIB, false));
	place_destroy(&place);
}

static void run(void)
{
	static const uint64_t sizes[] = { 4 * KIB, 64 * KIB, 2 * MIB, 64 * MIB };
	size_t i;

	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		used_cells(sizes[i]);
		round_trips(sizes[i], false);
		round_trips(sizes[i], true);
		fresh_cells(sizes[i]);
	}
	pages();
	whole("whole-sparse", 0);
	whole("whole-16pages", 16);
	unbound();
	files();
	uniform();
	fragmented();
}

const struct bench bench_cells = {
	.name = "cells",
	.help = "one call in each of many plain states, to set beside another kernel's; counted",
	.run = run,
	.countable = true,
	.only_counted = true,
};
