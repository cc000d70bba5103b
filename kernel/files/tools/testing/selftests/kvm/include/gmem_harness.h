/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The harness without time limits.  How long a case takes depends on what else the machine
 * does, so whoever runs it ends it once it stops making progress, which show_progress()
 * reports.
 */
#ifndef SELFTEST_KVM_GMEM_HARNESS_H
#define SELFTEST_KVM_GMEM_HARNESS_H

#include "gmem_util.h"
#include "kvm_test_harness.h"

/* The harness passes it to poll(), for which a negative timeout is no limit. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	(-1)

/* A fixture with one VM that has a vCPU and a file of @pages, for cases that need no more. */
#define GMEM_FIXTURE(fixture, pages)						\
FIXTURE(fixture) {								\
	struct gmem_vm g;							\
};										\
										\
FIXTURE_SETUP(fixture)								\
{										\
	gmem_vm_create(&self->g, pages, GMEM_IN_PLACE);				\
}										\
										\
FIXTURE_TEARDOWN(fixture)							\
{										\
	gmem_vm_destroy(&self->g);						\
}

#endif /* SELFTEST_KVM_GMEM_HARNESS_H */
