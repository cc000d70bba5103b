// SPDX-License-Identifier: GPL-2.0
/*
 * A fault of the host maps those neighbours that are present, up to date and shared, and no
 * others.
 */
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <linux/sizes.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

#define AROUND_PAGES	(SZ_2M / PAGE_SIZE)
#define WINDOW_PAGES	(SZ_64K / PAGE_SIZE)
#define MOST_FAULTS	40

FIXTURE(around) {
	struct gmem_vm g;
};

FIXTURE_SETUP(around)
{
	gmem_vm_create(&self->g, AROUND_PAGES, GMEM_IN_PLACE);
	memset(self->g.mem, 'a', SZ_2M);
}

FIXTURE_TEARDOWN(around)
{
	gmem_vm_destroy(&self->g);
}

static long nr_faults(void)
{
	struct rusage usage;

	TEST_ASSERT(!getrusage(RUSAGE_THREAD, &usage), "getrusage() failed");

	return usage.ru_minflt;
}

static long faults_of_reading(struct gmem_vm *g)
{
	long before = nr_faults();
	u64 i;

	for (i = 0; i < AROUND_PAGES; i++)
		TEST_ASSERT_EQ(touch(g, i), 'a');

	return nr_faults() - before;
}

static long faults_of_writing(struct gmem_vm *g)
{
	long before = nr_faults();
	u64 i;

	for (i = 0; i < AROUND_PAGES; i++)
		WRITE_ONCE(g->mem[i * PAGE_SIZE], 'a');

	return nr_faults() - before;
}

static void back_and_forth(struct gmem_vm *g)
{
	gmem_convert(g, 0, AROUND_PAGES, PRIVATE, PRESERVE);
	gmem_convert(g, 0, AROUND_PAGES, SHARED, PRESERVE);
}

TEST_F(around, host_touches_two_mebibytes_in_forty_faults)
{
	struct gmem_vm *g = &self->g;
	long faults;

	back_and_forth(g);
	faults = faults_of_reading(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults to read 2 MiB", faults);

	back_and_forth(g);
	faults = faults_of_writing(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults to write 2 MiB", faults);

	/* A mapping created by a read can be written to. */
	back_and_forth(g);
	faults = faults_of_reading(g) + faults_of_writing(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults to read and write 2 MiB", faults);
}

TEST_F(around, so_does_another_process_that_maps_the_file)
{
	int to_child[2], to_parent[2], status;
	struct gmem_vm *g = &self->g, other;
	long faults;
	pid_t pid;

	TEST_ASSERT(!pipe(to_child) && !pipe(to_parent), "pipe() failed");
	pid = fork();
	if (!pid) {
		other = *g;
		other.mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
		faults_of_reading(&other);
		tell(to_parent[1]);
		hear(to_child[0]);
		faults = faults_of_reading(&other);
		TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults in the child", faults);
		_exit(0);
	}

	close(to_parent[1]);
	hear(to_parent[0]);
	back_and_forth(g);
	faults = faults_of_reading(g);
	TEST_ASSERT(faults <= MOST_FAULTS, "%ld faults in the parent", faults);
	tell(to_child[1]);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(status, 0);
}

TEST_F(around, only_neighbours_that_are_shared_and_there)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	/*
	 * Odd pages are private, page 20 is a hole, and page 22 is not filled, if NONE does
	 * that.
	 */
	gmem_convert(g, 0, AROUND_PAGES, PRIVATE, PRESERVE);
	for (i = 0; i < AROUND_PAGES; i += 2)
		gmem_convert(g, i, 1, SHARED, i == 22 ? NONE : PRESERVE);
	punch_hole(g, 20, 1);

	TEST_ASSERT_EQ(touch(g, 18), 'a');
	for (i = 0; i < AROUND_PAGES; i++) {
		if (is_mapped(g->mem + i * PAGE_SIZE))
			TEST_ASSERT(i + WINDOW_PAGES > 18 && i < 18 + WINDOW_PAGES && i % 2 == 0 &&
				    i != 20 && (i != 22 || expected(NONE, 'a') == 'a'),
				    "Page %lu is mapped", i);
	}
	TEST_ASSERT(!is_allocated(g, 20), "A hole was filled that nobody touched");

	for (i = AROUND_PAGES; i-- > 0; ) {
		TEST_ASSERT(is_mappable(g, i) == !(i % 2), "Page %lu", i);
		if (i % 2 == 0)
			TEST_ASSERT_EQ(host_read(g, i), i == 20 ? 0 :
				       i == 22 ? expected(NONE, 'a') : 'a');
	}
}

TEST_F(around, nothing_outside_of_the_mapping)
{
	struct gmem_vm *g = &self->g;
	u8 *mem;
	u64 i;

	/* The middle of a window, between two pages that belong to others. */
	mem = kvm_mmap(3 * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	mem = mmap(mem + PAGE_SIZE, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED,
		   g->fd, 24 * PAGE_SIZE);
	TEST_ASSERT(mem != MAP_FAILED, "mmap() in the middle failed");

	TEST_ASSERT_EQ(READ_ONCE(*mem), 'a');
	for (i = 0; i < 3; i++)
		TEST_ASSERT(is_mapped(mem + (i - 1) * PAGE_SIZE) == (i == 1),
			    "Page %lu of three", i);
	TEST_ASSERT_EQ(READ_ONCE(mem[PAGE_SIZE]), 0);
	kvm_munmap(mem - PAGE_SIZE, 3 * PAGE_SIZE);
}

/* In KiB, of the mapping that starts at @hva. */
static long smaps_kib(void *hva, const char *name)
{
	FILE *file = fopen("/proc/self/smaps", "r");
	unsigned long start = 0, first;
	long kib = -1, value;
	char line[256], key[32];

	TEST_ASSERT(file, "fopen(/proc/self/smaps) failed");
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		if (sscanf(line, "%lx-%*x ", &first) == 1)
			start = first;
		else if (start == (unsigned long)hva &&
			 sscanf(line, "%31[^:]: %ld kB", key, &value) == 2 && !strcmp(key, name))
			kib = value;
	}
	fclose(file);
	TEST_ASSERT(kib >= 0, "No %s for %p", name, hva);

	return kib;
}

/* What smaps reports for a new mapping of @fd in which one page was written. */
static void write_one_page(int fd, long *rss, long *referenced)
{
	u8 *mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	TEST_ASSERT_EQ(smaps_kib(mem, "Rss"), 0);
	WRITE_ONCE(mem[18 * PAGE_SIZE], 'w');
	*rss = smaps_kib(mem, "Rss");
	*referenced = smaps_kib(mem, "Referenced");
	kvm_munmap(mem, SZ_2M);
}

/* What smaps reports for a new mapping of @fd in which one page was read. */
static void read_one_page(int fd, long *rss, long *referenced)
{
	u8 *mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd);

	READ_ONCE(mem[18 * PAGE_SIZE]);
	*rss = smaps_kib(mem, "Rss");
	*referenced = smaps_kib(mem, "Referenced");
	kvm_munmap(mem, SZ_2M);
}

/*
 * Neighbours look as recently used as those that the kernel maps for any other file.  That
 * depends on the architecture: x86 never maps a page as old.
 */
TEST_F(around, neighbours_look_as_used_as_in_any_file)
{
	long rss, referenced, other_rss, other_referenced;
	struct gmem_vm *g = &self->g;
	u8 *mem;
	int fd;

	fd = memfd_create("other", MFD_CLOEXEC);
	TEST_ASSERT(fd >= 0 && !ftruncate(fd, SZ_2M), "memfd_create() failed");
	mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, fd);
	memset(mem, 'o', SZ_2M);
	kvm_munmap(mem, SZ_2M);
	read_one_page(fd, &other_rss, &other_referenced);
	if (other_rss != SZ_64K / SZ_1K)
		SKIP(return, "fault_around_bytes is not 64 KiB");

	/* After faults that found no neighbours, the next faults do not look for any. */
	back_and_forth(g);
	kvm_munmap(g->mem, SZ_2M);
	read_one_page(g->fd, &rss, &referenced);
	TEST_ASSERT_EQ(rss, other_rss);
	TEST_ASSERT_EQ(referenced, other_referenced);
	write_one_page(g->fd, &rss, &referenced);
	TEST_ASSERT_EQ(rss, other_rss);
	TEST_ASSERT_EQ(referenced, other_referenced);

	g->mem = kvm_mmap(SZ_2M, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
	close(fd);
}

static bool stop;

static void *map_and_drop(void *data)
{
	struct gmem_vm *g = data;

	while (!READ_ONCE(stop)) {
		touch(g, 16);
		TEST_ASSERT(!madvise(g->mem + 16 * PAGE_SIZE, WINDOW_PAGES * PAGE_SIZE,
				     MADV_DONTNEED), "madvise() failed");
	}

	return NULL;
}

/* Pages between others that are faulted in continuously: no fault may map them again. */
TEST_F(around, a_neighbour_stays_away_once_it_is_private)
{
	struct gmem_vm *g = &self->g;
	pthread_t thread;
	u64 round, i;

	kvm_pthread_create(&thread, NULL, map_and_drop, g);
	for (round = 0; round < 200; round++) {
		gmem_convert(g, 17, 4, PRIVATE, PRESERVE);
		for (i = 17; i < 21; i++)
			TEST_ASSERT(!is_mapped(g->mem + i * PAGE_SIZE),
				    "Round %lu: private page %lu is mapped", round, i);
		gmem_convert(g, 17, 4, SHARED, PRESERVE);
		TEST_ASSERT_EQ(touch(g, 17 + round % 4), 'a');
		show_progress("rounds", round, 200);
	}
	WRITE_ONCE(stop, true);
	kvm_pthread_join(thread, NULL);
}

TEST_HARNESS_MAIN
