// SPDX-License-Identifier: GPL-2.0
/* What the tests of protected VMs share. */
#include "gmem_pkvm.h"

void expect_exit(struct gmem_vm *g, enum guest_exit exit, u64 page)
{
	u64 value;

	TEST_ASSERT_EQ(guest_run(g->vcpu, &value), exit);
	TEST_ASSERT_EQ(value, gpa(page));
}

void expect_result(struct gmem_vm *g, long result)
{
	u64 value;

	TEST_ASSERT_EQ(guest_run(g->vcpu, &value), GUEST_ANSWERS);
	TEST_ASSERT_EQ((long)value, result);
}

void give_to_the_guest(struct gmem_vm *g, u64 page)
{
	gmem_convert(g, page, 1, PRIVATE, PRESERVE);
	guest_write(g, page, letter(page));
}

void have_it_shared(struct gmem_vm *g, u64 page)
{
	give_to_the_guest(g, page);
	gmem_convert(g, page, 1, SHARED, PRESERVE);
}

void expect_missing(struct gmem_vm *g, u64 page)
{
	int i;

	guest_start_read(g, page);
	for (i = 0; i < SOME_TIMES; i++)
		expect_exit(g, GUEST_MISSES_PAGE, page);
	guest_start_hypercall(g, MEM_UNSHARE, page);
	expect_result(g, SMCCC_RET_INVALID_PARAMETER);
}
