// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Faults while conversions run: by 1 to 4 host processes or vCPUs, each on its own
 * 16 MiB, with a thread that converts 64 KiB back and forth and touches them,
 *
 *	alone nowhere: there is no such thread elsewhere in a file of another guest:
 *	it takes CPU time and nothing else other_range in the same file, where nobody
 *	faults same_range in the pages of the first vCPU
 *
 * at full speed, or at a rate (suffix _1k: a thousand pairs a second).  The cost
 * of sharing a file is other_range compared with elsewhere, as CPUs are few.
 *
 * Hosts are processes that map only their own part: threads of one process
 * would interrupt each other at each MADV_DONTNEED, which is not what is
 * measured.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define OWN		(16 * MIB)
#define STEP		(64 * KIB)
#define CONVERTED	(64 * KIB)
#define MAX_WORKERS	4
#define SIZE		((MAX_WORKERS + 1) * OWN)
#define INTERVAL_NS	1000000
#define RUN_US		300000
#define NR_ROUNDS	5
#define ZERO		KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_ZERO
#define PRESERVE	KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_PRESERVE

struct worker {
	pthread_t thread;
	struct memory *memory;
	unsigned int id;
	uint64_t pages;
	double ns;
};

/* In memory that the processes share. */
static struct run {
	atomic_bool go, stop;
	struct worker workers[MAX_WORKERS];
} *now;

static void wait_for_go(void)
{
	while (!atomic_load(&now->go))
		sched_yield();
}

/* Round and round, as what the host has mapped can be dropped without the file. */
static void host_faults(struct worker *worker)
{
	uint64_t offset = 0, began, i;
	volatile uint8_t *own;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	own = mmap(NULL, OWN, PROT_READ | PROT_WRITE, MAP_SHARED, worker->memory->fd,
		   worker->id * OWN);
	if (own == MAP_FAILED)
		die("mmap of %llu bytes", OWN);

	wait_for_go();
	began = clock_now();
	while (!atomic_load(&now->stop)) {
		if (madvise((void *)(own + offset), STEP, MADV_DONTNEED))
			die("MADV_DONTNEED");
		for (i = 0; i < STEP; i += BENCH_PAGE)
			own[offset + i]++;
		worker->pages += STEP / BENCH_PAGE;
		offset = (offset + STEP) % OWN;
	}
	worker->ns = clock_since(began);
}

/* Once: the guest's mappings were removed with the slot, before this. */
static void *vcpu_faults(void *arg)
{
	struct worker *worker = arg;
	uint64_t began;

	wait_for_go();
	began = clock_now();
	guest_touch(worker->memory->guest, worker->id, worker->memory->gpa + worker->id * OWN, OWN);
	worker->pages = OWN / BENCH_PAGE;
	worker->ns = clock_since(began);
	return NULL;
}

struct converter {
	pthread_t thread;
	struct memory *memory;
	uint64_t offset;
	uint64_t policy;
	bool paced;
	uint64_t pairs;
	uint64_t refused;
	double ns;
};

static void *convert_on(void *arg)
{
	struct converter *converter = arg;
	struct timespec pause = { .tv_nsec = INTERVAL_NS };
	uint64_t began;
	int r;

	wait_for_go();
	began = clock_now();
	while (!atomic_load(&now->stop)) {
		r = memory_try_convert(converter->memory, converter->offset, CONVERTED, true,
				       converter->policy);
		if (r && r != EAGAIN)
			die("conversion beside faults");
		converter->refused += r == EAGAIN;
		memory_convert(converter->memory, converter->offset, CONVERTED, false,
			       converter->policy);
		memory_host_touch(converter->memory, converter->offset, CONVERTED);
		converter->pairs++;
		if (converter->paced)
			nanosleep(&pause, NULL);
	}
	converter->ns = clock_since(began);
	return NULL;
}

static const struct mode {
	const char *name;
	bool converts;
	bool same_file;
	bool same_range;
	bool paced;
} modes[] = {
	{ .name = "alone" },
	{ .name = "elsewhere", .converts = true },
	{ .name = "other_range", .converts = true, .same_file = true },
	{ .name = "elsewhere_1k", .converts = true, .paced = true },
	{ .name = "other_range_1k", .converts = true, .same_file = true, .paced = true },
	{ .name = "same_range", .converts = true, .same_file = true, .same_range = true,
	  .paced = true },
};

static void rate(const char *measure, const char *touched, uint64_t policy, unsigned int workers,
		 double value)
{
	struct key key = {
		.measure = measure, .way = "in_place", .direction = "-",
		.policy = policy_names[policy], .touched = touched, .unit = "1/s",
		.bytes = CONVERTED, .count = workers,
	};

	record(&key, value);
}

/* All pages are resident, but none is mapped by the guest. */
static void zap(struct memory *memory)
{
	memory_unbind(memory);
	memory_bind(memory);
}

static void start(pthread_t *thread, void *(*body)(void *), void *arg)
{
	errno = pthread_create(thread, NULL, body, arg);
	if (errno)
		die("pthread_create");
}

static pid_t start_host(struct worker *worker)
{
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (!pid) {
		host_faults(worker);
		_exit(0);
	}
	return pid;
}

static void wait_for_host(pid_t pid)
{
	int status;

	if (waitpid(pid, &status, 0) != pid || status)
		die("a host that faults ended with status %#x", status);
}

static void faults(struct memory *memory, struct memory *elsewhere, bool by_vcpus,
		   unsigned int nr, const struct mode *mode)
{
	struct converter converter = {
		.memory = mode->same_file ? memory : elsewhere,
		.offset = mode->same_range ? 0 : MAX_WORKERS * OWN,
		/* ZERO takes the page away from the vCPU that is there. */
		.policy = mode->same_range ? ZERO : PRESERVE,
		.paced = mode->paced,
	};
	pid_t pids[MAX_WORKERS];
	double sum = 0;
	unsigned int i;

	/* A process that faults on a private page gets SIGBUS: only vCPUs may. */
	if (mode->same_range && !by_vcpus)
		return;

	if (by_vcpus)
		zap(memory);
	memset(now, 0, sizeof(*now));
	for (i = 0; i < nr; i++) {
		now->workers[i].memory = memory;
		now->workers[i].id = i;
		if (by_vcpus)
			start(&now->workers[i].thread, vcpu_faults, &now->workers[i]);
		else
			pids[i] = start_host(&now->workers[i]);
	}
	if (mode->converts)
		start(&converter.thread, convert_on, &converter);
	atomic_store(&now->go, true);
	if (!by_vcpus) {
		usleep(RUN_US);
		atomic_store(&now->stop, true);
	}
	for (i = 0; i < nr; i++) {
		if (by_vcpus)
			pthread_join(now->workers[i].thread, NULL);
		else
			wait_for_host(pids[i]);
		sum += now->workers[i].pages / (now->workers[i].ns / 1e9);
	}
	atomic_store(&now->stop, true);
	if (mode->converts)
		pthread_join(converter.thread, NULL);
	rate(by_vcpus ? "vcpu_faults" : "host_faults", mode->name, converter.policy, nr, sum);
	if (!mode->converts)
		return;
	rate(by_vcpus ? "beside_vcpus" : "beside_hosts", mode->name, converter.policy, nr,
	     converter.pairs / (converter.ns / 1e9));
	if (mode->same_range)
		rate("refused", mode->name, converter.policy, nr,
		     converter.refused / (converter.ns / 1e9));
}

/* A file for each thread, of one guest. */
static void several_files(unsigned int nr)
{
	struct converter converters[MAX_WORKERS] = { };
	struct memory memories[MAX_WORKERS];
	struct guest guest;
	double sum = 0;
	unsigned int i;

	guest_create(&guest, 1);
	memset(now, 0, sizeof(*now));
	for (i = 0; i < nr; i++) {
		memory_create(&memories[i], &guest, NEW, SLOT + i, GUEST_GPA + i * OWN, OWN, true);
		memory_host_touch(&memories[i], 0, CONVERTED);
		converters[i].memory = &memories[i];
		converters[i].policy = PRESERVE;
		start(&converters[i].thread, convert_on, &converters[i]);
	}
	atomic_store(&now->go, true);
	usleep(RUN_US);
	atomic_store(&now->stop, true);
	for (i = 0; i < nr; i++) {
		pthread_join(converters[i].thread, NULL);
		sum += converters[i].pairs / (converters[i].ns / 1e9);
	}
	for (i = 0; i < nr; i++)
		memory_destroy(&memories[i]);
	guest_destroy(&guest);
	rate("several_files", "-", PRESERVE, nr, sum);
}

static void run(void)
{
	struct memory memory, elsewhere;
	struct guest guests[2];
	unsigned int round, nr, vcpus;
	size_t i;

	now = mmap(NULL, sizeof(*now), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (now == MAP_FAILED)
		die("mmap of what the processes share");
	guest_create(&guests[0], MAX_WORKERS);
	guest_create(&guests[1], 1);
	memory_create(&memory, &guests[0], NEW, SLOT, GUEST_GPA, SIZE, true);
	memory_create(&elsewhere, &guests[1], NEW, SLOT, GUEST_GPA, SIZE, true);
	memory_host_touch(&memory, 0, SIZE);
	memory_host_touch(&elsewhere, 0, SIZE);
	/* A conversion must not look for its pages in processes that only fault. */
	if (madvise(memory.host, SIZE, MADV_DONTFORK) ||
	    madvise(elsewhere.host, SIZE, MADV_DONTFORK))
		die("MADV_DONTFORK");

	for (round = 0; round < NR_ROUNDS; round++) {
		for (nr = 1; nr <= MAX_WORKERS; nr++) {
			for (vcpus = 0; vcpus < 2; vcpus++) {
				for (i = 0; i < sizeof(modes) / sizeof(modes[0]); i++)
					faults(&memory, &elsewhere, vcpus, nr, &modes[i]);
			}
			several_files(nr);
		}
	}
	memory_destroy(&memory);
	memory_destroy(&elsewhere);
	guest_destroy(&guests[0]);
	guest_destroy(&guests[1]);
	munmap(now, sizeof(*now));
}

const struct bench bench_scaling = {
	.name = "scaling",
	.help = "faults of 1 to 4 processes or vCPUs while conversions run; several files",
	.run = run,
};
