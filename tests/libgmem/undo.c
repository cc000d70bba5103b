// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A conversion that fails leaves everything as it was, or says what is left converted. */
#include <errno.h>
#include <string.h>

#include "unit_vm.h"

/* After a failure, what @result does not name is as it was; the tenth page has the other state. */
static void expect_undone(const struct gmem_result *result, bool to_private)
{
	uint64_t at, gpa;

	for (at = 0; at < ALL / PAGE; at++) {
		gpa = FAKE_GPA + at * PAGE;
		if (result->left_size && gpa >= result->left && gpa - result->left < result->left_size)
			continue;
		assert_int_equal(kernel_private(gpa), (at == 9) == to_private);
	}
}

/*
 * Each error of each call in turn, in either direction; with @how 0 what was converted
 * before goes back, with 1 the first call of the undo fails as well, and 2 is without an
 * undo. Returns how many calls have failed.
 */
static unsigned int every_error_of(enum fake_call call, enum gmem_mechanism mechanism,
				   bool to_private, bool atomic, int how)
{
	static const int errors[] = { EAGAIN, ENOMEM, EFAULT, EIO, EINVAL, EPERM, EHWPOISON };
	unsigned int error, at, failed = 0;
	int r;

	for (error = 0; error < sizeof(errors) / sizeof(errors[0]); error++) {
		for (at = 0, r = -1; r; at++) {
			struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
			struct gmem_result result = GMEM_INIT(struct gmem_result);

			fake.knows_convert_of_vm = atomic;
			start(mechanism);
			/* Some pages have the state already. */
			assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL,
				to_private ? GMEM_SHARED : GMEM_PRIVATE, NULL, NULL), 0);
			assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 9 * PAGE, PAGE,
				to_private ? GMEM_PRIVATE : GMEM_SHARED, NULL, NULL), 0);
			opts.flags = how == 2 ? GMEM_NO_UNDO : 0;
			fake_fail(call, at, how == 1 ? 2 : 1, errors[error]);
			r = gmem_convert_gpa(vm, FAKE_GPA, ALL,
				to_private ? GMEM_PRIVATE : GMEM_SHARED, &opts, &result);
			expect_in_step();
			if (r) {
				failed++;
				assert_int_equal(r, -errors[error]);
				assert_in_range(result.step, GMEM_STEP_PREPARE, GMEM_STEP_ZERO);
				assert_int_equal(result.step == GMEM_STEP_CONVERT, call != CALL_PUNCH);
				if (how == 0)
					assert_int_equal(result.left_size, 0);
				assert_int_equal(!result.left_size, !result.undo_error);
				expect_undone(&result, to_private);
			} else {
				/* The call that failed only costs memory, or is none. */
				assert_int_equal(result.left_size, 0);
				if (result.undiscarded)
					r = 1;
			}
			stop();
			fake_stop();
			fake_start();
		}
	}

	return failed / error;
}

static void every_error_at_every_step(void **state)
{
	int to_private, how;

	(void)state;
	for (to_private = 0; to_private < 2; to_private++) {
		for (how = 0; how < 3; how++) {
			/* In one call, or in one for each slot. */
			assert_int_equal(every_error_of(CALL_CONVERT, GMEM_IN_PLACE, to_private, true, how), 1);
			assert_int_equal(every_error_of(CALL_CONVERT, GMEM_IN_PLACE, to_private, false, how), 3);
			assert_int_equal(every_error_of(CALL_CONVERT, GMEM_IN_PLACE_PLAIN, to_private, false, how), 3);
			assert_int_equal(every_error_of(CALL_ATTRIBUTES, GMEM_TWO_BACKINGS, to_private, false, how), 1);
			/* Zeroing is by changes, of which the second slot has two. */
			assert_int_equal(every_error_of(CALL_PUNCH, GMEM_IN_PLACE, to_private, false, how), 0);
			assert_int_equal(every_error_of(CALL_PUNCH, GMEM_IN_PLACE_PLAIN, to_private, false, how),
					 to_private ? 0 : 4);
			assert_int_equal(every_error_of(CALL_PUNCH, GMEM_TWO_BACKINGS, to_private, false, how),
					 to_private ? 0 : 4);
		}
	}
}

static void undo_that_fails_is_reported_and_remembered(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	fake.knows_convert_of_vm = false;
	start(GMEM_IN_PLACE);
	/* The third slot refuses, then the first does not go back and the second does. */
	fake_fail(CALL_CONVERT, 2, 2, EIO);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EIO);
	assert_int_equal(result.undo_error, -EIO);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, SLOT_SIZE);
	assert_true(result.contents_lost);
	expect_in_step();
	assert_true(kernel_private(FAKE_GPA));
	assert_false(kernel_private(FAKE_GPA + SLOT_SIZE));
	stop();
}

static void undo_can_be_declined(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	fake.knows_convert_of_vm = false;
	start(GMEM_IN_PLACE);
	opts.flags = GMEM_NO_UNDO;
	fake_fail(CALL_CONVERT, 2, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -ENOMEM);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, 2 * SLOT_SIZE);
	expect_in_step();
	stop();
}

static void listener_that_refuses_is_undone(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		/* At the second slot, with the first one told. */
		refuse(0, 8, -1);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EBUSY);
		assert_int_equal(result.step, GMEM_STEP_BEFORE_PRIVATE);
		assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE);
		expect_in_step();
		trace_is("PS");

		refuse(0, -1, -1);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
		refuse(1, -1, 8);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -EBUSY);
		assert_int_equal(result.step, GMEM_STEP_AFTER_SHARED);
		assert_int_equal(result.left_size, 0);
		expect_in_step();
		assert_true(kernel_private(FAKE_GPA));
		stop();
		fake_stop();
		fake_start();
	}
}

/* Either of them, at the first slot, between, and at the last. */
static void refusal_at_each_range_is_undone(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	int who, at;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		for (who = 0; who < 2; who++) {
			for (at = 0; at < 24; at += 8) {
				start(mechanism);
				refuse(who, at, -1);
				assert_int_equal(convert_all(GMEM_PRIVATE, &result), -EBUSY);
				assert_int_equal(result.where, FAKE_GPA + at * PAGE);
				assert_int_equal(result.left_size, 0);
				assert_int_equal(result.undo_error, 0);
				expect_in_step();

				refuse(who, -1, at);
				convert_pages(0, 24, GMEM_PRIVATE);
				assert_int_equal(convert_all(GMEM_SHARED, &result), -EBUSY);
				assert_int_equal(result.where, FAKE_GPA + at * PAGE);
				assert_int_equal(result.left_size, 0);
				assert_int_equal(result.undo_error, 0);
				expect_in_step();
				renew();
			}
		}
	}
}

/* All to shared, of which something stays shared that should not. */
static int fail_to_shared(uint32_t flags, struct gmem_result *result)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	opts.flags = flags;
	return gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, &opts, result);
}

static void listeners_know_what_stays_shared(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	fake.knows_convert_of_vm = false;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	memset(fake.trace, 0, sizeof(fake.trace));

	/* The third slot refuses, and the first does not go back: nobody was told so far. */
	fake_fail(CALL_CONVERT, 2, 2, EIO);
	assert_int_equal(fail_to_shared(0, &result), -EIO);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, SLOT_SIZE);
	assert_int_equal(result.undo_error, -EIO);
	expect_in_step();
	assert_false(kernel_private(FAKE_GPA));
	trace_is("ccSTc");

	/* A listener refuses, and nothing goes back: all know of all, but for what it refused. */
	refuse(1, -1, 16);
	fake_fail(CALL_CONVERT, 3, 2, EAGAIN);
	assert_int_equal(fail_to_shared(0, &result), -EBUSY);
	assert_int_equal(result.left, FAKE_GPA + SLOT_SIZE);
	assert_int_equal(result.left_size, 2 * SLOT_SIZE);
	assert_int_equal(result.undo_error, -EAGAIN);
	expect_in_step_but(1, 16, 8);
	trace_is("cccSSTQPSTPS");
	stop();
}

static void undo_that_is_declined_is_told(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	memset(fake.trace, 0, sizeof(fake.trace));
	refuse(0, -1, 8);
	assert_int_equal(fail_to_shared(GMEM_NO_UNDO, &result), -EBUSY);
	assert_int_equal(result.step, GMEM_STEP_AFTER_SHARED);
	assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, ALL);
	expect_in_step_but(0, 8, 8);
	trace_is("cSTTST");
	stop();
}

static void listener_that_does_not_let_go_keeps_it_shared(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int who;

	(void)state;
	for (who = 0; who < 2; who++) {
		start(GMEM_IN_PLACE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
		memset(fake.trace, 0, sizeof(fake.trace));
		/* It refuses the third slot, and does not give the second back. */
		refuse(who, 8, 16);
		assert_int_equal(fail_to_shared(0, &result), -EBUSY);
		assert_int_equal(result.where, FAKE_GPA + 2 * SLOT_SIZE);
		assert_int_equal(result.left, FAKE_GPA + SLOT_SIZE);
		assert_int_equal(result.left_size, SLOT_SIZE);
		assert_int_equal(result.undo_error, -EBUSY);
		expect_in_step();
		assert_true(kernel_private(FAKE_GPA));
		assert_true(kernel_private(FAKE_GPA + 2 * SLOT_SIZE));
		trace_is(who ? "cSSSTTQPcPc" : "cSSPcTc");
		stop();
		fake_stop();
		fake_start();
	}
}

static void undo_goes_on_after_a_listener_that_refuses(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	/* The kernel refuses, and one does not take the first slot again. */
	refuse(1, -1, 0);
	fake_fail(CALL_CONVERT, 0, 1, EIO);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EIO);
	assert_int_equal(result.undo_error, -EBUSY);
	assert_int_equal(result.left_size, 0);
	expect_in_step_but(1, 0, 8);
	stop();

	fake_stop();
	fake_start();
	start(GMEM_IN_PLACE);
	/* The same for one that has refused itself. */
	refuse(1, 8, 0);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EBUSY);
	assert_int_equal(result.step, GMEM_STEP_BEFORE_PRIVATE);
	assert_int_equal(result.undo_error, -EBUSY);
	expect_in_step_but(1, 0, 8);
	stop();
}

static void undo_with_two_backings_loses_nothing(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_TWO_BACKINGS);
	/* Two bindings, two calls. */
	fake_fail(CALL_ATTRIBUTES, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert(a, 0, 2 * SLOT_SIZE, GMEM_PRIVATE, NULL, &result), -ENOMEM);
	assert_int_equal(result.left_size, 0);
	assert_false(result.contents_lost);
	expect_in_step();
	trace_is("PPQQaaTSTS");
	stop();
}

static void hole_that_fails_costs_memory_only(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_TWO_BACKINGS);
	fake_fail(CALL_PUNCH, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), 0);
	assert_int_equal(result.undiscarded, SLOT_SIZE);
	expect_in_step();
	/* But zeros have to be zeros. */
	fake_fail(CALL_PUNCH, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_int_equal(result.step, GMEM_STEP_PREPARE);
	expect_in_step();
	stop();

	fake_stop();
	fake_start();
	start(GMEM_IN_PLACE_PLAIN);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	/* In place they come first, and the contents go with them. */
	fake_fail(CALL_PUNCH, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_int_equal(result.step, GMEM_STEP_ZERO);
	assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE);
	assert_true(result.contents_lost);
	expect_in_step();
	fake_fail(CALL_PUNCH, 0, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_false(result.contents_lost);
	fake_fail(CALL_CONVERT, 0, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_int_equal(result.step, GMEM_STEP_CONVERT);
	assert_true(result.contents_lost);
	expect_in_step();
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), 0);
	assert_false(result.contents_lost);
	expect_in_step();
	stop();
}

const struct CMUnitTest undo_cases[] = {
	CASE(every_error_at_every_step),
	CASE(undo_that_fails_is_reported_and_remembered),
	CASE(undo_can_be_declined),
	CASE(listener_that_refuses_is_undone),
	CASE(refusal_at_each_range_is_undone),
	CASE(listeners_know_what_stays_shared),
	CASE(undo_that_is_declined_is_told),
	CASE(listener_that_does_not_let_go_keeps_it_shared),
	CASE(undo_goes_on_after_a_listener_that_refuses),
	CASE(undo_with_two_backings_loses_nothing),
	CASE(hole_that_fails_costs_memory_only),
	{},
};
