// SPDX-License-Identifier: GPL-2.0
/*
 * Everything at once on the same pages, in a process that ends in one of four ways.  What
 * is promised under all this: only a pin makes a conversion fail for long, and once the
 * process is gone nothing of it is left.
 *
 * SECONDS= limits the time; without it the number of rounds is fixed.  SEED= starts the
 * random numbers, VCPUS= is the most vCPUs that the guest has.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_stress.h"

/* Rounds, and the most conversions in a round. */
#define ROUNDS		32
#define ROUND_WORK	2000

enum ending {
	ORDERLY,
	FILE_FIRST,
	VM_FIRST,
	KILLED,
	NR_ENDINGS,
};

/*
 * Wait until there have been that many conversions and the guest has run that often, or
 * until @child, unless it is 0, has ended before.
 */
static void wait_for_work(u64 conversions, u64 guest_runs, pid_t child)
{
	siginfo_t info = {};

	while (READ_ONCE(stress.counts->conversions) < conversions ||
	       READ_ONCE(stress.counts->guest_runs) < guest_runs) {
		if (child)
			waitid(P_PID, child, &info, WEXITED | WNOHANG | WNOWAIT);
		if (info.si_pid)
			return;
		usleep(1000);
	}
}

/* The process: runs until the work is done, then ends as requested. */
static void run_process(enum ending ending, unsigned int seed, u64 conversions, u64 guest_runs)
{
	struct gmem_vm *g = &stress.g;
	size_t i;

	/* If the test itself is killed, nobody else would end this process. */
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	stress_begin(seed);
	wait_for_work(conversions, guest_runs, 0);

	switch (ending) {
	case KILLED:
		pause();
		break;
	case FILE_FIRST:
		WRITE_ONCE(stress.stop, true);
		close(g->fd);
		munmap(g->mem, STRESS_SIZE);
		break;
	case VM_FIRST:
		WRITE_ONCE(stress.stop, true);
		close(g->vm->fd);
		for (i = 0; i < stress.nr_vcpus; i++)
			close(stress.vcpus[i]->fd);
		(void)madvise(g->mem, STRESS_SIZE, MADV_POPULATE_READ);
		break;
	default:
		WRITE_ONCE(stress.stop, true);
		break;
	}

	stress_end();
	if (ending == ORDERLY) {
		/*
		 * With nobody left, everything can be converted once memory errors are
		 * punched out.  A mapping remembers them, so it has to be created again.
		 */
		punch_hole(g, 0, STRESS_PAGES);
		kvm_munmap(g->mem, STRESS_SIZE);
		g->mem = kvm_mmap(STRESS_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, g->fd);
		gmem_convert(g, 0, STRESS_PAGES, PRIVATE, ZERO);
		gmem_convert(g, 0, STRESS_PAGES, SHARED, NONE);
		TEST_ASSERT_EQ(host_read(g, STRESS_PAGES - 1), NONE_BYTE);
		gmem_vm_destroy(g);
	}
	_exit(0);
}

/* Each VM that is alive has a directory. */
static int nr_vms(void)
{
	DIR *dir = opendir("/sys/kernel/debug/kvm");
	struct dirent *entry;
	int nr = 0;

	while (dir && (entry = readdir(dir)))
		nr += entry->d_type == DT_DIR && strchr(entry->d_name, '-');
	if (dir)
		closedir(dir);

	return nr;
}

struct usage {
	long file_pages;
	long unevictable;
	long locked;
	long pins;
	long vms;
};

static struct usage usage(void)
{
	/* Add up the per-CPU counts. */
	TEST_ASSERT(!write_file("/proc/sys/vm/stat_refresh", "1"), "Cannot refresh vmstat");

	return (struct usage){
		.file_pages = read_number("/proc/vmstat", "nr_file_pages"),
		.unevictable = read_number("/proc/vmstat", "nr_unevictable"),
		.locked = read_number("/proc/vmstat", "nr_mlock"),
		.pins = read_number("/proc/vmstat", "nr_foll_pin_acquired") -
			read_number("/proc/vmstat", "nr_foll_pin_released"),
		.vms = nr_vms(),
	};
}

/* KASAN keeps freed objects in their slabs; kmemleak checks those. */
static long free_kib(void)
{
	long kib = read_number("/proc/meminfo", "MemFree");

	if (!access("/sys/kernel/debug/kmemleak", F_OK))
		kib += read_number("/proc/meminfo", "Slab");

	return kib;
}

/* What is freed after a grace period, or counted per CPU, shows up with some delay. */
static void expect_usage(struct usage before, long slack, enum ending ending)
{
	struct usage last = {}, now;
	int tries;

	for (tries = 0; tries < 10 * STUCK_SECONDS; tries++) {
		now = usage();
		if (memcmp(&now, &last, sizeof(now)))
			tries = 0;
		last = now;
		if (labs(now.file_pages - before.file_pages) <= slack &&
		    labs(now.unevictable - before.unevictable) <= 8 &&
		    now.locked <= before.locked && now.pins == before.pins &&
		    now.vms == before.vms)
			return;
		usleep(100000);
	}

	TEST_FAIL("Ending %d left: %ld file pages, %ld unevictable, %ld locked, %ld pins, %ld VMs",
		  ending, now.file_pages - before.file_pages, now.unevictable - before.unevictable,
		  now.locked - before.locked, now.pins - before.pins, now.vms - before.vms);
}

FIXTURE(stress) {
};

FIXTURE_SETUP(stress)
{
	struct gmem_vm probe;

	/* Skips if there is nothing to stress. */
	gmem_vm_create(&probe, 1, GMEM_IN_PLACE);
	gmem_vm_destroy(&probe);
	stress.counts = kvm_mmap(PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1);
}

FIXTURE_TEARDOWN(stress)
{
}

TEST_F(stress, everything_against_everything)
{
	u64 seconds = env_number("SECONDS", 0), seed = env_number("SEED", time(NULL)), round;
	u64 max_vcpus = env_number("VCPUS", 2);
	struct stress_counts *counts = stress.counts;
	time_t end = time(NULL) + seconds;
	struct usage before = usage();
	long free_before = free_kib(), free_after;
	int status;
	pid_t pid;

	TEST_ASSERT(max_vcpus && max_vcpus <= STRESS_VCPUS, "VCPUS= is 1 to %d", STRESS_VCPUS);
	for (round = 0; seconds ? time(NULL) < end : round < ROUNDS; round++) {
		u64 conversions = counts->conversions, guest_runs = counts->guest_runs + 1;
		unsigned int state = seed + round;
		enum ending ending = round % NR_ENDINGS;

		show_progress("rounds", round, seconds ? 0 : ROUNDS);
		conversions += ROUND_WORK / 5 + dice(&state, ROUND_WORK * 4 / 5);
		stress.nr_vcpus = 1 + dice(&state, max_vcpus);

		pid = fork();
		if (!pid)
			run_process(ending, state, conversions, guest_runs);
		if (ending == KILLED) {
			wait_for_work(conversions, guest_runs, pid);
			usleep(dice(&state, 200000));
			kill(pid, SIGKILL);
		}
		TEST_ASSERT_EQ(waitpid(pid, &status, 0), pid);
		TEST_ASSERT(status == (ending == KILLED ? SIGKILL : 0),
			    "Round %lu, ending %d, SEED=%lu: status %#x, %s", round, ending, seed,
			    status, counts->failure);

		/* The first rounds of each kind fill what the kernel caches. */
		expect_usage(before, round < NR_ENDINGS ? 64 : 8, ending);
		if (round < NR_ENDINGS) {
			before.file_pages = usage().file_pages;
			free_before = free_kib();
		}
	}

	free_after = free_kib() + counts->poisoned * PAGE_SIZE / 1024;
	printf("# measured: %lu rounds, %lu conversions, %lu refused (%lu without a pin), ",
	       round, counts->conversions, counts->refused, counts->transient);
	printf("%lu pins, %lu poisoned, %lu runs of the guest\n",
	       counts->pins, counts->poisoned, counts->guest_runs);
	TEST_ASSERT(counts->transient <= 1 + counts->conversions / 100000,
		    "%lu conversions refused without a pin, which must be rare", counts->transient);
	TEST_ASSERT(free_before - free_after < 16 * 1024,
		    "%ld KiB are gone after %lu rounds", free_before - free_after, round);
	TEST_ASSERT(counts->refused && counts->pins && counts->guest_runs,
		    "Not everything happened: %lu refused, %lu pins, %lu runs",
		    counts->refused, counts->pins, counts->guest_runs);
}

TEST_HARNESS_MAIN
