// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Lower bounds of the cost: a call that does nothing, memset of the same bytes,
 * one minor fault, removing the mapping, a walk through the page cache.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1

#ifndef SYS_cachestat
#define SYS_cachestat	451
#endif

static void floor_sample(const char *name, uint64_t bytes, double cost)
{
	struct key key = {
		.measure = name, .way = "floor", .direction = "-", .policy = "-",
		.touched = "-", .unit = clock_unit(), .bytes = bytes, .count = 1,
	};

	record(&key, cost);
}

static void *map(struct memory *memory, uint64_t bytes)
{
	void *mem = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory->fd, 0);

	if (mem == MAP_FAILED)
		die("mmap of %llu bytes", (unsigned long long)bytes);
	return mem;
}

static void touch(volatile uint8_t *mem, uint64_t bytes)
{
	uint64_t i;

	for (i = 0; i < bytes; i += BENCH_PAGE)
		mem[i]++;
}

static double cost_of_munmap(struct memory *memory, uint64_t bytes)
{
	void *mem = map(memory, bytes);
	uint64_t began;
	double cost;

	touch(mem, bytes);
	began = clock_now();
	munmap(mem, bytes);
	cost = clock_since(began);

	return cost;
}

static double cost_of_dontneed(struct memory *memory, uint64_t bytes)
{
	void *mem = map(memory, bytes);
	uint64_t began;
	double cost;

	touch(mem, bytes);
	began = clock_now();
	madvise(mem, bytes, MADV_DONTNEED);
	cost = clock_since(began);
	munmap(mem, bytes);

	return cost;
}

static double cost_of_memset(struct memory *memory, uint64_t bytes)
{
	void *mem = map(memory, bytes);
	uint64_t began;
	double cost;

	touch(mem, bytes);
	began = clock_now();
	memset(mem, 1, bytes);
	cost = clock_since(began);
	munmap(mem, bytes);

	return cost;
}

/* A walk through the page cache that looks at each folio. */
static void walk(struct memory *memory, uint64_t bytes)
{
	struct { uint64_t offset, size; } range = { 0, bytes };
	struct { uint64_t cached, dirty, writeback, evicted, recent; } stat;
	uint64_t began = clock_now();
	double cost;
	int r;

	r = syscall(SYS_cachestat, memory->fd, &range, &stat, 0);
	cost = clock_since(began);
	if (r && errno == ENOSYS)
		return;
	if (r || stat.cached != bytes / BENCH_PAGE)
		die("cachestat has found %llu pages", (unsigned long long)stat.cached);
	floor_sample("page_cache_walk", bytes, cost);
}

static void faults(struct memory *memory)
{
	uint8_t *mem = map(memory, 64 * BENCH_PAGE);
	uint64_t began, i;
	double cost;

	for (i = 0; i < 64; i++) {
		began = clock_now();
		touch(mem + i * BENCH_PAGE, BENCH_PAGE);
		cost = clock_since(began);
		floor_sample("minor_fault", BENCH_PAGE, cost);
	}
	munmap(mem, 64 * BENCH_PAGE);
}

static void calls(struct guest *guest)
{
	uint64_t began;
	double cost;
	int i;

	for (i = 0; i < 101; i++) {
		began = clock_now();
		ioctl(guest->fd, KVM_CHECK_EXTENSION, KVM_CAP_USER_MEMORY);
		cost = clock_since(began);
		floor_sample("ioctl", 0, cost);
	}
}

static void one_size(struct guest *guest, uint64_t bytes)
{
	struct budget budget;
	struct memory memory;

	memory_create(&memory, guest, NEW, SLOT, GUEST_GPA, bytes, true);
	memory_host_touch(&memory, 0, bytes);
	budget_start(&budget, 4);
	while (budget_left(&budget, 3, 21)) {
		floor_sample("munmap", bytes, cost_of_munmap(&memory, bytes));
		floor_sample("dontneed", bytes, cost_of_dontneed(&memory, bytes));
		floor_sample("memset", bytes, cost_of_memset(&memory, bytes));
		walk(&memory, bytes);
	}
	if (bytes == 2 * MIB)
		faults(&memory);
	memory_destroy(&memory);
}

static void run(void)
{
	struct guest guest;

	guest_create(&guest, 1);
	calls(&guest);
	one_size(&guest, 4 * KIB);
	one_size(&guest, 64 * KIB);
	one_size(&guest, 2 * MIB);
	if (!clock_is_instructions()) {
		one_size(&guest, 64 * MIB);
		one_size(&guest, GIB);
	}
	guest_destroy(&guest);
}

const struct bench bench_floors = {
	.name = "floors",
	.help = "an empty ioctl, memset, a minor fault, munmap, a page-cache walk",
	.run = run,
	.countable = true,
};
