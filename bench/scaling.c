// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Faults while conversions run: by 1 to 4 host threads or vCPUs, each on its own
 * 16 MiB, with a thread that converts 64 KiB back and forth,
 *
 *	alone		nowhere: there is no such thread
 *	elsewhere	in a file of another guest: it takes CPU time and nothing else
 *	other_range	in the same file, where nobody faults
 *	same_range	in the pages of the first thread
 *
 * flat out, or at a rate (suffix _1k: a thousand pairs a second).  What sharing a
 * file costs is other_range against elsewhere, as CPUs are few.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "bench.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define OWN		(16 * MIB)
#define STEP		(64 * KIB)
#define CONVERTED	(64 * KIB)
#define MAX_THREADS	4
#define SIZE		((MAX_THREADS + 1) * OWN)
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
	uint64_t began;
	double ns;
};

static atomic_bool go, stop;

static void wait_for_go(void)
{
	while (!atomic_load(&go))
		sched_yield();
}

/* Round and round, as what the host has mapped can be dropped without the file. */
static void *host_faults(void *arg)
{
	struct worker *worker = arg;
	uint64_t offset = 0;

	wait_for_go();
	worker->began = clock_now();
	while (!atomic_load(&stop)) {
		uint64_t at = worker->id * OWN + offset;

		if (madvise(worker->memory->host + at, STEP, MADV_DONTNEED))
			bench_die("MADV_DONTNEED");
		memory_host_touch(worker->memory, at, STEP);
		worker->pages += STEP / BENCH_PAGE;
		offset = (offset + STEP) % OWN;
	}
	worker->ns = clock_since(worker->began);
	return NULL;
}

/* Once: what the guest has mapped goes away with the slot, before. */
static void *vcpu_faults(void *arg)
{
	struct worker *worker = arg;

	wait_for_go();
	worker->began = clock_now();
	guest_touch(worker->memory->guest, worker->id, worker->memory->gpa + worker->id * OWN, OWN);
	worker->pages = OWN / BENCH_PAGE;
	worker->ns = clock_since(worker->began);
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
	uint64_t began;
	double ns;
};

static void *convert_on(void *arg)
{
	struct converter *converter = arg;
	struct timespec pause = { .tv_nsec = INTERVAL_NS };
	int r;

	wait_for_go();
	converter->began = clock_now();
	while (!atomic_load(&stop)) {
		r = memory_try_convert(converter->memory, converter->offset, CONVERTED, true,
				       converter->policy);
		if (r && r != EAGAIN)
			bench_die("conversion beside faults");
		converter->refused += r == EAGAIN;
		memory_convert(converter->memory, converter->offset, CONVERTED, false,
			       converter->policy);
		converter->pairs++;
		if (converter->paced)
			nanosleep(&pause, NULL);
	}
	converter->ns = clock_since(converter->began);
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

static void rate(const char *measure, const char *touched, unsigned int threads, double value)
{
	struct key key = {
		.measure = measure, .way = "in_place", .direction = "-", .policy = "preserve",
		.touched = touched, .unit = "1/s", .bytes = CONVERTED, .threads = threads,
	};

	record(&key, value);
}

/* For a while, let all threads run at once. */
static void run_for_a_while(void)
{
	atomic_store(&go, true);
	usleep(RUN_US);
	atomic_store(&stop, true);
}

/* Without pages mapped by the guest, with all of them resident. */
static void zap(struct memory *memory)
{
	memory_unbind(memory);
	memory_bind(memory);
}

static void start(pthread_t *thread, void *(*body)(void *), void *arg)
{
	errno = pthread_create(thread, NULL, body, arg);
	if (errno)
		bench_die("pthread_create");
}

static void faults(struct memory *memory, struct memory *elsewhere, bool by_vcpus,
		   unsigned int nr, const struct mode *mode)
{
	struct converter converter = {
		.memory = mode->same_file ? memory : elsewhere,
		.offset = mode->same_range ? 0 : MAX_THREADS * OWN,
		/* ZERO takes the page away from the vCPU that is there. */
		.policy = mode->same_range ? ZERO : PRESERVE,
		.paced = mode->paced,
	};
	struct worker workers[MAX_THREADS] = { };
	double sum = 0;
	unsigned int i;

	/* Who faults on a page while it is private gets SIGBUS: only vCPUs may. */
	if (mode->same_range && !by_vcpus)
		return;

	if (by_vcpus)
		zap(memory);
	atomic_store(&go, false);
	atomic_store(&stop, false);
	for (i = 0; i < nr; i++) {
		workers[i].memory = memory;
		workers[i].id = i;
		start(&workers[i].thread, by_vcpus ? vcpu_faults : host_faults, &workers[i]);
	}
	if (mode->converts)
		start(&converter.thread, convert_on, &converter);
	if (by_vcpus)
		atomic_store(&go, true);
	else
		run_for_a_while();
	for (i = 0; i < nr; i++) {
		pthread_join(workers[i].thread, NULL);
		sum += workers[i].pages / (workers[i].ns / 1e9);
	}
	atomic_store(&stop, true);
	rate(by_vcpus ? "vcpu_faults" : "host_faults", mode->name, nr, sum);
	if (!mode->converts)
		return;
	pthread_join(converter.thread, NULL);
	rate(by_vcpus ? "beside_vcpus" : "beside_hosts", mode->name, nr,
	     converter.pairs / (converter.ns / 1e9));
	if (mode->same_range)
		rate("refused", mode->name, nr, converter.refused / (converter.ns / 1e9));
}

/* A file for each thread, of one guest. */
static void several_files(unsigned int nr)
{
	struct converter converters[MAX_THREADS] = { };
	struct memory memories[MAX_THREADS];
	struct guest guest;
	double sum = 0;
	unsigned int i;

	guest_create(&guest, 1);
	atomic_store(&go, false);
	atomic_store(&stop, false);
	for (i = 0; i < nr; i++) {
		memory_create(&memories[i], &guest, NEW, SLOT + i, GUEST_GPA + i * OWN, OWN, true);
		memory_host_touch(&memories[i], 0, CONVERTED);
		converters[i].memory = &memories[i];
		converters[i].policy = PRESERVE;
		start(&converters[i].thread, convert_on, &converters[i]);
	}
	run_for_a_while();
	for (i = 0; i < nr; i++) {
		pthread_join(converters[i].thread, NULL);
		sum += converters[i].pairs / (converters[i].ns / 1e9);
	}
	for (i = 0; i < nr; i++)
		memory_destroy(&memories[i]);
	guest_destroy(&guest);
	rate("several_files", "-", nr, sum);
}

static void run(void)
{
	struct memory memory, elsewhere;
	struct guest guests[2];
	unsigned int round, nr, vcpus;
	size_t i;

	guest_create(&guests[0], MAX_THREADS);
	guest_create(&guests[1], 1);
	memory_create(&memory, &guests[0], NEW, SLOT, GUEST_GPA, SIZE, true);
	memory_create(&elsewhere, &guests[1], NEW, SLOT, GUEST_GPA, SIZE, true);
	memory_host_touch(&memory, 0, SIZE);
	memory_host_touch(&elsewhere, 0, SIZE);

	for (round = 0; round < NR_ROUNDS; round++) {
		for (nr = 1; nr <= MAX_THREADS; nr *= 2) {
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
}

const struct bench bench_scaling = {
	.name = "scaling",
	.help = "faults of 1 to 4 threads or vCPUs while conversions run; several files",
	.run = run,
};
