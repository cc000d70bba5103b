/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the cases of libgmem share: a VM on a fake KVM, with two memories in three slots,
 * the listeners, and the check whether all of them agree.
 */
#ifndef TESTS_LIBGMEM_UNIT_VM_H
#define TESTS_LIBGMEM_UNIT_VM_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "fake_kvm.h"
#include "gmem.h"
#include "picture.h"

#define SW_PROTECTED_VM	1

/* Three slots of two memories, in this order: b[0..7], a[8..15], a[0..7]. */
#define SLOT_SIZE	(8 * PAGE)
#define ALL		(3 * SLOT_SIZE)

extern struct gmem_vm *vm;
extern struct gmem *a, *b;
/* How often each listener knows each guest page as shared; once at first. */
extern struct gmem_listener listeners[2];
extern int known[2][FAKE_PAGES];
/* They replay, the second with gaps and in batches; added before and after the listeners. */
extern struct picture pictures[2];
/* How long each call of a listener takes. */
extern unsigned int slow_ms;

int before_private(struct gmem_listener *listener, const struct gmem_range *range);
int after_shared(struct gmem_listener *listener, const struct gmem_range *range);
/* At which guest page listener @who refuses; -1 for a direction in which it does not. */
void refuse(int who, int private_at, int shared_at);

void start(enum gmem_mechanism mechanism);
void stop(void);
/* Stop, for another start() with a new fake. */
void renew(void);

/* Guest pages, to GMEM_PRIVATE or GMEM_SHARED. */
void convert_pages(unsigned int page, unsigned int nr, uint64_t attributes);
/* All of them, which may fail. */
int convert_all(uint64_t attributes, struct gmem_result *result);
/* The first call of the kernel in the next conversion fails. */
void fail_conversion(int error);
/* Some of each slot to private; what stays shared is MIXED, as a picture is told. */
void mix(void);
#define MIXED "S0+2 S4+4 S9+7 S16+7"

/* What the kernel has for a guest page. */
bool kernel_private(uint64_t gpa);
/*
 * Library and listeners have it, too; except for the @nr pages from @page on, where @who
 * refused.
 */
void expect_in_step_but(int who, uint64_t page, uint64_t nr);
void expect_in_step(void);
/* The calls since the last time: see fake.trace; PQ and ST are the two listeners. */
void trace_is(const char *expected);
unsigned int open_files(void);

int setup(void **state);
int teardown(void **state);

/* Each file has some cases, with an empty one at the end; main.c has all. */
#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

#endif
