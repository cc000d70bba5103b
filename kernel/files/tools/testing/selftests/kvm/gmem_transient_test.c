// SPDX-License-Identifier: GPL-2.0
/*
 * Short-lived references: they are no reason to refuse a conversion, and a conversion does
 * not wait for a CPU that somebody keeps busy.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>
#include <linux/mman.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "gmem_wait.h"

/*
 * Another process that maps, drops, locks, moves and splices the pages, looks them up in
 * the page cache, and uses futexes in them.  It holds none of them for long.
 */
#define STORM_PAGES	64
#define STORM_SIZE	(STORM_PAGES * PAGE_SIZE)
#define STORM_ROUNDS	200

struct storm {
	int fd;
	/* Counts how often the splicing thread has released its page. */
	u64 spliced;
};

static u8 *storm_map(struct storm *storm)
{
	return kvm_mmap(STORM_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, storm->fd);
}

static void *storm_map_and_unmap(void *data)
{
	u8 *mem;

	for (;;) {
		mem = storm_map(data);
		(void)madvise(mem, STORM_SIZE, MADV_POPULATE_READ);
		kvm_munmap(mem, STORM_SIZE);
	}
	return NULL;
}

static void *storm_lock(void *data)
{
	u8 *mem = storm_map(data);
	u64 i;

	for (i = 0; ; i++) {
		(void)mlock(mem + i % STORM_PAGES * PAGE_SIZE, PAGE_SIZE);
		(void)munlock(mem + i % STORM_PAGES * PAGE_SIZE, PAGE_SIZE);
	}
	return NULL;
}

static void *storm_move(void *data)
{
	u8 *mem = storm_map(data), *to = storm_map(data), *was;

	for (;;) {
		(void)madvise(mem, STORM_SIZE, MADV_POPULATE_WRITE);
		was = mem;
		/* The old range stays reserved, as others call mmap() all the time. */
		mem = mremap(mem, STORM_SIZE, STORM_SIZE,
			     MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
		TEST_ASSERT(mem != MAP_FAILED, "mremap() failed");
		to = was;
	}
	return NULL;
}

static void *storm_look(void *data)
{
	unsigned char resident[STORM_PAGES];
	u8 *mem = storm_map(data);

	for (;;)
		TEST_ASSERT(!mincore(mem, STORM_SIZE, resident), "mincore() failed");
	return NULL;
}

static void *storm_splice(void *data)
{
	struct storm *storm = data;
	u8 *mem = storm_map(storm);
	char page[PAGE_SIZE];
	int pipefd[2];
	u64 i;

	TEST_ASSERT(!pipe(pipefd), "pipe() failed");
	for (i = 0; ; i++) {
		struct iovec iov = {
			.iov_base = mem + i % STORM_PAGES * PAGE_SIZE,
			.iov_len = PAGE_SIZE,
		};

		if (vmsplice(pipefd[1], &iov, 1, 0) == PAGE_SIZE)
			TEST_ASSERT_EQ(read(pipefd[0], page, PAGE_SIZE), PAGE_SIZE);
		WRITE_ONCE(storm->spliced, i);
	}
	return NULL;
}

static void *storm_futex(void *data)
{
	u8 *mem = storm_map(data);
	u64 i;

	for (i = 0; ; i++)
		(void)syscall(__NR_futex, mem + i % STORM_PAGES * PAGE_SIZE, FUTEX_WAKE, 1, NULL,
			      NULL, 0);
	return NULL;
}

FIXTURE(storm) {
	struct gmem_vm g;
};

FIXTURE_SETUP(storm)
{
	gmem_vm_create(&self->g, STORM_PAGES, GMEM_IN_PLACE);
	memset(self->g.mem, 'a', STORM_SIZE);
}

FIXTURE_TEARDOWN(storm)
{
	gmem_vm_destroy(&self->g);
}

TEST_F(storm, what_passes_is_no_reason_to_refuse)
{
	static void *(*const threads[])(void *) = {
		storm_map_and_unmap, storm_lock, storm_move, storm_look, storm_splice, storm_futex,
		storm_map_and_unmap,
	};
	struct gmem_vm *g = &self->g;
	u64 where, spliced, round, i;
	struct storm *storm;
	pthread_t thread;
	int r, status;
	pid_t pid;

	storm = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
	storm->fd = g->fd;
	pid = fork();
	if (!pid) {
		for (i = 0; i < ARRAY_SIZE(threads); i++)
			kvm_pthread_create(&thread, NULL, threads[i], storm);
		pause();
		_exit(0);
	}
	while (READ_ONCE(storm->spliced) < STORM_PAGES)
		usleep(1000);

	for (round = 0; round < STORM_ROUNDS; round++) {
		u64 first = rand() % STORM_PAGES, nr = min_t(u64, 8, STORM_PAGES - first);

		do {
			spliced = READ_ONCE(storm->spliced);
			r = __gmem_convert(g->fd, first * PAGE_SIZE, nr * PAGE_SIZE, PRIVATE,
					   PRESERVE, &where);
			/* A thread that did not get a CPU did hold its page all the time. */
		} while (r == -EAGAIN && spliced == READ_ONCE(storm->spliced));
		TEST_ASSERT(!r, "Round %lu: %s at %#lx, which nobody holds", round,
			    strerror(-r), where);
		gmem_convert(g, first, nr, SHARED, PRESERVE);
		/* Give the others time to take references to the pages again. */
		usleep(rand() % 1000);
		show_progress("rounds", round, STORM_ROUNDS);
	}
	TEST_ASSERT_EQ(waitpid(pid, &status, WNOHANG), 0);
	kill(pid, SIGKILL);
	TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
	TEST_ASSERT_EQ(host_read(g, STORM_PAGES - 1), 'a');
}

/*
 * A real-time thread that keeps its CPU busy, as a pinned vCPU of a real-time guest does,
 * on a host that does not throttle it.  It has just touched a page, so the page is in the
 * CPU's own caches of pages.
 */
#define RT_NSECS	(5ull * NSEC_PER_SEC)
#define RT_PRIORITY	50

static const char rt_runtime[] = "/proc/sys/kernel/sched_rt_runtime_us";

static struct {
	struct gmem_vm *g;
	int cpu;
	bool has_touched;
	bool shall_end;
	bool has_given_up;
} rt;

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	kvm_sched_setaffinity(0, sizeof(set), &set);
}

static void *keep_the_cpu(void *data)
{
	struct sched_param param = { .sched_priority = RT_PRIORITY };
	struct timespec used = {};

	stay_on(rt.cpu);
	TEST_ASSERT(!sched_setscheduler(0, SCHED_FIFO, &param), "sched_setscheduler() failed");
	touch(rt.g, 0);
	touch(rt.g, 1);
	WRITE_ONCE(rt.has_touched, true);

	/* The CPU time it has used, not the time that has passed. */
	while (!READ_ONCE(rt.shall_end) && used.tv_sec * NSEC_PER_SEC + used.tv_nsec < RT_NSECS)
		clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	WRITE_ONCE(rt.has_given_up, !READ_ONCE(rt.shall_end));

	return NULL;
}

/* How much CPU time others get despite real-time threads; old kernels have no such file. */
static void set_fair_server(const char *nsecs)
{
	char path[80];
	int cpu;

	for (cpu = 0; cpu < 8; cpu++) {
		snprintf(path, sizeof(path), "/sys/kernel/debug/sched/fair_server/cpu%d/runtime",
			 cpu);
		(void)write_file(path, nsecs);
	}
}

GMEM_FIXTURE(realtime, GMEM_PAGES)

TEST_F(realtime, thread_that_keeps_its_cpu_holds_up_no_conversion)
{
	struct gmem_vm *g = &self->g;
	bool before_it_gave_up;
	int cpu, cpus[2], n = 0;
	pthread_t thread;
	cpu_set_t set;

	kvm_sched_getaffinity(0, sizeof(set), &set);
	for (cpu = 0; cpu < CPU_SETSIZE && n < 2; cpu++) {
		if (CPU_ISSET(cpu, &set))
			cpus[n++] = cpu;
	}
	if (n < 2)
		SKIP(return, "needs two CPUs");
	/*
	 * In this order: once real-time threads are unlimited, the fair server cannot be
	 * changed.
	 */
	set_fair_server("0");
	if (write_file(rt_runtime, "-1"))
		SKIP(return, "needs root, for %s", rt_runtime);

	stay_on(cpus[0]);
	rt.g = g;
	rt.cpu = cpus[1];
	kvm_pthread_create(&thread, NULL, keep_the_cpu, NULL);
	while (!READ_ONCE(rt.has_touched))
		usleep(1000);
	gmem_convert(g, 0, 2, PRIVATE, PRESERVE);
	touch(g, 8);
	gmem_convert(g, 8, 1, PRIVATE, ANY_TO_PRIVATE);
	punch_hole(g, 8, 1);
	before_it_gave_up = !READ_ONCE(rt.has_given_up);
	WRITE_ONCE(rt.shall_end, true);
	kvm_pthread_join(thread, NULL);

	TEST_ASSERT(!write_file(rt_runtime, "950000"), "Cannot restore the limit");
	set_fair_server("50000000");
	TEST_ASSERT(before_it_gave_up, "The conversions took until the thread gave up its CPU");
}

TEST_HARNESS_MAIN
