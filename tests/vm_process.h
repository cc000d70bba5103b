/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A process with VMs that convert at a known rate, and a record of when they did.  The
 * caller plans, starts and ends it.
 */
#ifndef TESTS_VM_PROCESS_H
#define TESTS_VM_PROCESS_H

#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "../examples/vm.h"
#include "holders.h"

/* Pages of a VM's first memory, which has PAGES: always private, toggled, held. */
#define PAGES		16ul
#define NR_PRIVATE	3ul
#define TOGGLED		5ul
#define HELD		7ul

#define MAX_STEPS	100000u

/* What a process does.  Its memories have one page, except the first of each VM. */
struct plan {
	unsigned int nr_vms;
	unsigned int nr_files;
	/* Conversions to private and back per second, in the first VM. */
	double steps_per_second;
	/* In each step another conversion is refused. */
	bool is_refused;
	/* A second process has the same descriptors. */
	bool has_copy;
	uid_t user;
};

/* What it did, in shared memory. */
struct record {
	atomic_bool is_ready;
	atomic_bool may_step;
	atomic_uint nr_steps;
	/* When each step ended, by CLOCK_REALTIME. */
	double at[MAX_STEPS];
};

struct process {
	struct plan plan;
	struct record *record;
	pid_t pid;
};

static double now(void)
{
	struct timespec at;

	clock_gettime(CLOCK_REALTIME, &at);
	return at.tv_sec + at.tv_nsec / 1e9;
}

static struct gmem *make_vm(struct vm *vm, unsigned int nr_files)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem *first, *other;
	struct gmem_vm *memories;
	unsigned int i;

	vm_create(vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	opts.mechanism = GMEM_IN_PLACE;
	check(gmem_vm_init(vm->fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &first), "gmem_create");
	check(gmem_bind(first, 1, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");
	check(gmem_convert(first, 0, NR_PRIVATE * PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	for (i = 1; i < nr_files; i++)
		check(gmem_create(memories, PAGE, NULL, &other), "gmem_create");

	return first;
}

static void hold(struct gmem *gmem)
{
	int ends[2];
	void *hva;
	char *page;

	check(gmem_map(gmem, NULL, &hva), "gmem_map");
	page = (char *)hva + HELD * PAGE;
	*page = 'h';
	hold_in_pipe(page, ends);
}

static void step(const struct plan *plan, struct gmem *gmem, struct record *record)
{
	unsigned int nr = atomic_load(&record->nr_steps);
	int r;

	check(gmem_convert(gmem, TOGGLED * PAGE, PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	check(gmem_convert(gmem, TOGGLED * PAGE, PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	if (plan->is_refused) {
		r = gmem_convert(gmem, HELD * PAGE, PAGE, GMEM_PRIVATE, NULL, NULL);
		check(r == -EAGAIN ? 0 : EPROTO, "a page that is held");
	}
	if (nr == MAX_STEPS)
		exit(1);
	record->at[nr] = now();
	atomic_store(&record->nr_steps, nr + 1);
}

static void live(const struct plan *plan, struct record *record)
{
	struct gmem *first = NULL, *gmem;
	struct timespec next;
	struct vm vm;
	unsigned int i;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (i = 0; i < plan->nr_vms; i++) {
		gmem = make_vm(&vm, plan->nr_files);
		first = first ? first : gmem;
	}
	if (plan->is_refused)
		hold(first);
	if (plan->has_copy && !fork()) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (plan->user) {
		check(sys(setgid(plan->user)) ?: sys(setuid(plan->user)), "setuid");
		/* setuid() has cleared it, and then only root may read /proc. */
		prctl(PR_SET_DUMPABLE, 1);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
	}
	atomic_store(&record->is_ready, true);

	while (!atomic_load(&record->may_step))
		usleep(1000);
	clock_gettime(CLOCK_MONOTONIC, &next);
	while (plan->steps_per_second) {
		next.tv_nsec += 1e9 / plan->steps_per_second;
		next.tv_sec += next.tv_nsec / 1000000000;
		next.tv_nsec %= 1000000000;
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
		step(plan, first, record);
	}
	for (;;)
		pause();
}

/* Returns when the VMs exist; they do nothing until record->may_step is set. */
static struct process start(struct plan plan)
{
	struct process process = { .plan = plan };

	process.record = mmap(NULL, sizeof(struct record), PROT_READ | PROT_WRITE,
			      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(process.record == MAP_FAILED ? -errno : 0, "mmap");
	fflush(stdout);
	process.pid = fork();
	if (!process.pid)
		live(&plan, process.record);
	while (!atomic_load(&process.record->is_ready)) {
		usleep(10000);
		check(waitpid(process.pid, NULL, WNOHANG) ? EPROTO : 0, "a process with VMs");
	}

	return process;
}

static void end(struct process *process)
{
	kill(process->pid, SIGKILL);
	waitpid(process->pid, NULL, 0);
	munmap(process->record, sizeof(struct record));
}

static unsigned int steps(const struct process *process)
{
	return atomic_load(&process->record->nr_steps);
}

static unsigned int steps_between(const struct process *process, double from, double to)
{
	unsigned int nr = 0, i;

	for (i = 0; i < steps(process); i++)
		nr += process->record->at[i] >= from && process->record->at[i] < to;
	return nr;
}

#endif
