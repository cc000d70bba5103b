// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The library's states and the kernel's, when somebody has converted behind its back. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "turns.h"

/* As nobody should: pages of a file, and the library does not know. */
static void convert_behind(struct gmem *gmem, unsigned int page, unsigned int nr, bool to_private)
{
	struct fake_file *file = fake_file(gmem_private_fd(gmem));

	for (; nr--; page++)
		file->is_private[page] = to_private;
}

static void expect_difference(struct gmem *gmem, uint64_t page, uint64_t nr, uint64_t guest_page,
			      uint64_t attributes)
{
	struct gmem_range range = { .struct_size = sizeof(range), .size = 1 };

	assert_int_equal(gmem_verify(gmem, &range), 1);
	assert_ptr_equal(range.gmem, gmem);
	assert_int_equal(range.offset, page * PAGE);
	assert_int_equal(range.size, nr * PAGE);
	assert_int_equal(range.gpa, FAKE_GPA + guest_page * PAGE);
	assert_int_equal(range.attributes, attributes);
	assert_int_equal(gmem_verify(gmem, NULL), 1);
}

static void states_are_the_kernels_after_conversions(void **state)
{
	struct gmem_range range = { .struct_size = sizeof(range), .size = 1 };
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_IN_PLACE_PLAIN; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		assert_int_equal(gmem_verify(a, &range), 0);
		mix();
		assert_int_equal(gmem_verify(a, &range), 0);
		assert_int_equal(gmem_verify(b, &range), 0);
		fail_conversion(EHWPOISON);
		assert_int_equal(convert_all(GMEM_PRIVATE, NULL), -EHWPOISON);
		assert_int_equal(gmem_verify(a, NULL), 0);
		/* Members that are missing are not written. */
		assert_int_equal(range.size, 1);
		expect_in_step();
		renew();
	}
}

/* In a, guest pages 16 to 23 come first; 8 to 15 are its second half. */
static void first_difference_is_the_lowest_in_one_binding(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	convert_behind(a, 5, 6, true);
	expect_difference(a, 5, 3, 21, GMEM_PRIVATE);
	assert_int_equal(gmem_verify(b, NULL), 0);

	/* Other answers, the same ranges but for the cuts of the kernel. */
	fake.get_pages = 2;
	expect_difference(a, 5, 2, 21, GMEM_PRIVATE);
	fake.get_pages = 0;

	convert_behind(a, 5, 3, false);
	expect_difference(a, 8, 3, 8, GMEM_PRIVATE);
	convert_behind(a, 8, 3, false);
	assert_int_equal(gmem_verify(a, NULL), 0);

	convert_pages(0, 8, GMEM_PRIVATE);
	convert_behind(b, 7, 1, false);
	expect_difference(b, 7, 1, 7, GMEM_SHARED);
	convert_behind(b, 0, 1, false);
	expect_difference(b, 0, 1, 0, GMEM_SHARED);
	assert_int_equal(gmem_rebuild(b), 0);
	expect_in_step();
	stop();
}

static void what_is_not_bound_has_no_gpa(void **state)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
	convert_behind(b, 2, 2, true);
	assert_int_equal(gmem_verify(b, &range), 1);
	assert_int_equal(range.gpa, GMEM_NO_GPA);
	assert_int_equal(range.size, 2 * PAGE);
	assert_int_equal(gmem_rebuild(b), 0);
	assert_int_equal(gmem_verify(b, NULL), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	stop();
}

static void rebuilt_states_are_the_kernels_and_all_are_told(void **state)
{
	unsigned int i, round;

	(void)state;
	srand(20261126);
	start(GMEM_IN_PLACE);
	mix();
	for (round = 0; round < 200; round++) {
		/* As the kernel may answer during conversions. */
		fake.get_pages = round % 4;
		for (i = 0; i < 16; i++)
			convert_behind(a, i, 1, rand() % 2);
		for (i = 0; i < 8; i++)
			convert_behind(b, i, 1, rand() % 3 == 0);
		assert_int_equal(gmem_rebuild(a), 0);
		assert_int_equal(gmem_rebuild(b), 0);
		assert_int_equal(gmem_verify(a, NULL), 0);
		assert_int_equal(gmem_verify(b, NULL), 0);
		expect_in_step();
		pictures[0].told[0] = pictures[1].told[0] = '\0';
	}
	/* Nothing more to do. */
	picture_told(&pictures[0]);
	assert_int_equal(gmem_rebuild(a), 0);
	expect_told(&pictures[0], "");
	stop();
}

static void refusal_does_not_end_a_rebuilding(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	convert_behind(b, 1, 1, true);
	convert_behind(b, 4, 2, true);
	pictures[0].refuse_private = PAGES(1, 1);
	pictures[0].error = -EBUSY;
	assert_int_equal(gmem_rebuild(b), -EBUSY);
	pictures[0].refuse_private = 0;
	assert_int_equal(gmem_verify(b, NULL), 0);
	expect_told(&pictures[0], "P1+1! P4+2");
	expect_picture_but(&pictures[0], PAGES(1, 1));
	expect_picture(&pictures[1]);
	/* It is told again, and agrees. */
	convert_pages(1, 1, GMEM_SHARED);
	pictures[0].wrong[0] = '\0';
	stop();
}

static void what_cannot_be_asked_is_eopnotsupp(void **state)
{
	struct gmem_range range = { .struct_size = sizeof(range), .size = 1 };

	(void)state;
	start(GMEM_TWO_BACKINGS);
	assert_int_equal(gmem_verify(a, &range), -EOPNOTSUPP);
	assert_int_equal(gmem_rebuild(a), -EOPNOTSUPP);
	renew();

	fake.knows_get = false;
	start(GMEM_IN_PLACE);
	convert_behind(a, 0, 4, true);
	assert_int_equal(gmem_verify(a, &range), -EOPNOTSUPP);
	assert_int_equal(gmem_rebuild(a), -EOPNOTSUPP);
	assert_int_equal(range.size, 1);
	assert_int_equal(gmem_lookup(a, 0, &range), 0);
	assert_int_equal(range.attributes, GMEM_SHARED);
	convert_behind(a, 0, 4, false);
	expect_in_step();
	stop();
}

static void error_of_the_kernel_leaves_what_is_not_reached(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	convert_behind(b, 1, 1, true);
	convert_behind(b, 6, 1, true);
	/* [0, 1), [1, 2), then it fails. */
	fake_fail(CALL_GET, 2, 1, EFAULT);
	assert_int_equal(gmem_rebuild(b), -EFAULT);
	expect_difference(b, 6, 1, 6, GMEM_PRIVATE);
	fake_fail(CALL_GET, 0, 1, EFAULT);
	assert_int_equal(gmem_verify(b, NULL), -EFAULT);
	assert_int_equal(gmem_rebuild(b), 0);
	expect_in_step();
	stop();
}

/* ---- Turns ----------------------------------------------------------------------- */

static pthread_t verifier;
static struct conversion later = { .page = 0, .nr = 8, .attributes = GMEM_SHARED };

static void *verify_b(void *arg)
{
	(void)arg;
	MUST(!gmem_verify(b, NULL));
	MUST(!gmem_rebuild(b));
	return NULL;
}

static void *verify_a(void *arg)
{
	(void)arg;
	MUST(!gmem_verify(a, NULL));
	return NULL;
}

static int verify_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	pthread_t other;

	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&verifier, NULL, verify_b, NULL);
	wait_for_turns(2);
	pthread_create(&later.thread, NULL, run_conversion, &later);
	wait_for_turns(3);
	/* A range without a pending request is compared at once. */
	pthread_create(&other, NULL, verify_a, NULL);
	MUST(ends(other));
	MUST(!fake.calls[CALL_GET] || fake.calls[CALL_GET] == 1);
	let_go();
	return 0;
}

static void conversion_is_over_before_it_is_compared(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	thread_error = NULL;
	convert_b_and(verify_while_it_waits);
	pthread_join(verifier, NULL);
	pthread_join(later.thread, NULL);
	assert_int_equal(later.r, 0);
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_int_equal(gmem_verify(b, NULL), 0);
	expect_in_step();
	stop();
}

const struct CMUnitTest verify_cases[] = {
	CASE(states_are_the_kernels_after_conversions),
	CASE(first_difference_is_the_lowest_in_one_binding),
	CASE(what_is_not_bound_has_no_gpa),
	CASE(rebuilt_states_are_the_kernels_and_all_are_told),
	CASE(refusal_does_not_end_a_rebuilding),
	CASE(what_cannot_be_asked_is_eopnotsupp),
	CASE(error_of_the_kernel_leaves_what_is_not_reached),
	CASE(conversion_is_over_before_it_is_compared),
	{},
};
