// SPDX-License-Identifier: GPL-2.0
/*
 * The guest decides what becomes shared: without its consent a conversion fails with EPERM
 * and reports the first page that lacks it, across all files of a call.
 */
#include <errno.h>
#include <unistd.h>

#include "gmem_harness.h"
#include "gmem_pkvm.h"
#include "gmem_util.h"

GMEM_FIXTURE(consent, GMEM_PAGES)

FIXTURE_VARIANT(consent) {
	u64 policy;
	int (*convert)(struct gmem_vm *g, u64 page, u64 nr, u64 attributes, u64 policy,
		       u64 *where);
};

FIXTURE_VARIANT_ADD(consent, zero) { .policy = ZERO, .convert = try_convert };
FIXTURE_VARIANT_ADD(consent, preserve) { .policy = PRESERVE, .convert = try_convert };
FIXTURE_VARIANT_ADD(consent, none) { .policy = NONE, .convert = try_convert };
FIXTURE_VARIANT_ADD(consent, zero_by_gpa) { .policy = ZERO, .convert = try_convert_gpa };
FIXTURE_VARIANT_ADD(consent, preserve_by_gpa) { .policy = PRESERVE, .convert = try_convert_gpa };
FIXTURE_VARIANT_ADD(consent, none_by_gpa) { .policy = NONE, .convert = try_convert_gpa };

static void expect_guests_letters(struct gmem_vm *g)
{
	u64 i;

	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter(i));
}

TEST_F(consent, pages_that_the_guest_keeps_are_eperm)
{
	struct gmem_vm *g = &self->g;
	u64 i, where;

	for (i = 0; i < GMEM_PAGES; i++)
		give_to_the_guest(g, i);

	for (i = GMEM_PAGES; i-- > 0; ) {
		TEST_ASSERT_EQ(variant->convert(g, i, 1, SHARED, variant->policy, &where), -EPERM);
		TEST_ASSERT_EQ(where, i);
	}
	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 0);
	TEST_ASSERT_EQ(variant->convert(g, 3, 9, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 3);
	expect_guests_letters(g);
}

TEST_F(consent, one_page_without_it_is_reported_and_nothing_changes)
{
	struct gmem_vm *g = &self->g;
	u64 i, where;

	for (i = 0; i < GMEM_PAGES; i++)
		give_to_the_guest(g, i);
	guest_agrees(g, 0, 5);
	guest_agrees(g, 6, GMEM_PAGES - 6);

	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 5);
	TEST_ASSERT_EQ(variant->convert(g, 2, 4, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 5);
	expect_guests_letters(g);

	/* A refused page is not claimed: the guest may take it back. */
	guest_start_hypercall(g, MEM_UNSHARE, 2);
	expect_result(g, SMCCC_RET_SUCCESS);
	TEST_ASSERT_EQ(variant->convert(g, 0, 4, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 2);

	guest_agrees(g, 5, 1);
	guest_start_hypercall(g, MEM_SHARE, 2);
	expect_exit(g, GUEST_WANTS_SHARED, 2);
	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), 0);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), expected(variant->policy, letter(i)));
	expect_result(g, SMCCC_RET_SUCCESS);
}

TEST_F(consent, is_not_needed_for_what_the_guest_has_never_touched)
{
	struct gmem_vm *g = &self->g;
	u64 i, where;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter(i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	guest_read(g, 7);
	TEST_ASSERT_EQ(variant->convert(g, 0, GMEM_PAGES, SHARED, variant->policy, &where), -EPERM);
	TEST_ASSERT_EQ(where, 7);
	TEST_ASSERT_EQ(variant->convert(g, 0, 7, SHARED, variant->policy, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 6), expected(variant->policy, letter(6)));
	expect_state(g, 7, GMEM_PAGES - 7, PRIVATE);
}

/*
 * Several files: guest pages [0, 16) are the fixture's file, [16, 24) the second half of
 * another file, [24, 32) its first half.
 */
#define UPPER_PAGE	16
#define LOWER_PAGE	24
#define END_PAGE	32

FIXTURE(files) {
	struct gmem_vm g;
	struct gmem_vm other;
};

FIXTURE_SETUP(files)
{
	struct gmem_vm *g = &self->g, *other = &self->other;

	gmem_vm_create(g, GMEM_PAGES, GMEM_IN_PLACE);
	bind_other(g, other, END_PAGE - UPPER_PAGE, UPPER_PAGE, GMEM_SLOT + 1);
}

FIXTURE_TEARDOWN(files)
{
	close_other(&self->other);
	gmem_vm_destroy(&self->g);
}

static void expect_eperm(struct gmem_vm *g, struct gmem_vm *other, u64 page)
{
	u64 where;

	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, SHARED, PRESERVE, &where), -EPERM);
	TEST_ASSERT_EQ(where, page);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	expect_state(other, 0, GMEM_PAGES, PRIVATE);
}

TEST_F(files, one_call_takes_the_consent_to_all)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	u64 where;

	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), 0);
	guest_write(g, 3, 'a');
	guest_write(g, UPPER_PAGE + 4, 'b');
	guest_write(g, LOWER_PAGE + 2, 'c');

	/* The lowest guest address is reported, not the lowest page of a file. */
	expect_eperm(g, other, 3);
	guest_agrees(g, 3, 1);
	expect_eperm(g, other, UPPER_PAGE + 4);
	guest_agrees(g, UPPER_PAGE + 4, 1);
	expect_eperm(g, other, LOWER_PAGE + 2);
	/* No page of the first file is claimed. */
	guest_takes_back(g, 3, 1);
	guest_agrees(g, LOWER_PAGE + 2, 1);
	expect_eperm(g, other, 3);
	guest_agrees(g, 3, 1);

	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, SHARED, PRESERVE, &where), 0);
	TEST_ASSERT_EQ(host_read(g, 3), 'a');
	TEST_ASSERT_EQ(host_read(other, 12), 'b');
	TEST_ASSERT_EQ(host_read(other, 2), 'c');
}

TEST_F(files, one_holder_keeps_all_shared)
{
	struct gmem_vm *g = &self->g, *other = &self->other;
	int pipefd[2], fd;
	u64 where;

	host_write(g, 1, 'a');
	TEST_ASSERT_EQ(pin_in_pipe(other->mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, LOWER_PAGE + 2);
	TEST_ASSERT_EQ(pin_longterm(other->mem + 12 * PAGE_SIZE, &fd), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), -EAGAIN);
	TEST_ASSERT_EQ(where, UPPER_PAGE + 4);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	expect_state(other, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 1), 'a');
	close(fd);
	unpin_pipe(pipefd);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE, PRIVATE, NONE, &where), 0);
	TEST_ASSERT_EQ(guest_read(g, 1), 'a');
}

/* Memory outside of files cannot be private here, and all of it is shared. */
TEST_F(files, outside_of_them_nothing_becomes_private)
{
	struct gmem_vm *g = &self->g;
	u64 where;

	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE, 4, PRIVATE, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE - 4, 8, PRIVATE, NONE, &where), -EINVAL);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, 0, PAGE_SIZE, PRIVATE, NONE, &where), -EINVAL);
	expect_state(&self->other, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE, 4, SHARED, NONE, &where), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, END_PAGE + 16, SHARED, NONE, &where), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, END_PAGE - 4, 8, SHARED, PRESERVE, &where), -EOPNOTSUPP);
	TEST_ASSERT_EQ(where, END_PAGE);
}

TEST_HARNESS_MAIN
