/* SPDX-License-Identifier: GPL-2.0 */
/* What a protected guest does and is told, for its tests.  All functions assert. */
#ifndef SELFTEST_KVM_GMEM_PKVM_H
#define SELFTEST_KVM_GMEM_PKVM_H

#include "gmem_util.h"

/* How often to repeat what must work repeatedly. */
#define SOME_TIMES	5

static inline u64 gpa(u64 page)
{
	return GMEM_GPA + page * PAGE_SIZE;
}

/* For guests as well. */
static inline u64 next_random(u64 *state)
{
	*state = *state * 6364136223846793005ul + 1442695040888963407ul;

	return *state >> 33;
}

/* The next run ends with that exit, because of that page; or with that hypercall result. */
void expect_exit(struct gmem_vm *g, enum guest_exit exit, u64 page);
void expect_result(struct gmem_vm *g, long result);

/* The guest has page @page, filled with its letter, and nobody else has it. */
void give_to_the_guest(struct gmem_vm *g, u64 page);
/* The guest has it and shares it with the host. */
void have_it_shared(struct gmem_vm *g, u64 page);
/* The guest had it, gets no replacement, and cannot share it either. */
void expect_missing(struct gmem_vm *g, u64 page);

#endif /* SELFTEST_KVM_GMEM_PKVM_H */
