/* SPDX-License-Identifier: GPL-2.0 */
/* Who waits for whom, for tests: calls in threads of their own, children, first touches. */
#ifndef SELFTEST_KVM_GMEM_WAIT_H
#define SELFTEST_KVM_GMEM_WAIT_H

#include <pthread.h>

#include "gmem_util.h"

/* How often a case repeats what may fail because the machine is busy. */
#define TRIES	10

static inline u8 touch(struct gmem_vm *g, u64 page)
{
	return READ_ONCE(g->mem[page * PAGE_SIZE]);
}

/* Is the page in the page cache, filled or not?  Asks without taking the file's lock. */
bool is_allocated(struct gmem_vm *g, u64 page);

/* A byte through a pipe. */
void tell(int fd);
void hear(int fd);

/* Longer than it takes from the end of a call until has_ended is set. */
#define STEP_USECS	3000

/* A thread of its own for one conversion, so that others can watch its progress. */
struct call {
	pthread_t thread;
	int fd;
	u64 offset;
	u64 size;
	u64 attributes;
	u64 policy;
	u64 where;
	int r;
	/* What @counter was when the call returned. */
	u64 *counter;
	u64 counted;
	bool has_begun;
	bool has_ended;
};

void call_begin(struct call *c);
void call_end(struct call *c);

static inline bool call_goes_on(struct call *c)
{
	return !READ_ONCE(c->has_ended);
}

/*
 * Waits for a child that should end.  A child that cannot be killed is left behind, as
 * waiting for it would hide which case found it.  The time limit does not decide whether a
 * case passes on a slow machine: nothing that ends takes that long.
 */
bool child_ends(pid_t pid, int *status);

#endif /* SELFTEST_KVM_GMEM_WAIT_H */
