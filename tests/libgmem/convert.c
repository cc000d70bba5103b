// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A conversion makes the calls of the mechanism, in its order, and returns their errors. */
#include <errno.h>
#include <string.h>

#include "kvm_abi.h"
#include "unit_vm.h"

static void range_is_split_over_slots(void **state)
{
	enum gmem_mechanism mechanism;
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		/* The last page of b, all of the second slot, the first of the third. */
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 7 * PAGE, 10 * PAGE, GMEM_PRIVATE,
						  NULL, NULL), 0);
		expect_in_step();
		assert_int_equal(gmem_lookup(b, 6 * PAGE, &range), 0);
		assert_int_equal(range.size, PAGE);
		assert_int_equal(gmem_lookup(a, 0, &range), 0);
		assert_int_equal(range.attributes, GMEM_PRIVATE);
		assert_int_equal(range.size, PAGE);
		assert_int_equal(range.gpa, FAKE_GPA + 2 * SLOT_SIZE);
		assert_int_equal(gmem_lookup(a, SLOT_SIZE, &range), 0);
		assert_int_equal(range.size, SLOT_SIZE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, NULL), 0);
		expect_in_step();
		stop();
		fake_stop();
		fake_start();
	}
}

static void wrong_requests_are_refused(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, 0, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 1, PAGE, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, -PAGE, 2 * PAGE, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, PAGE, 1, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert(a, 0, 3 * SLOT_SIZE, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA - PAGE, ALL, GMEM_PRIVATE, NULL, &result), -ENXIO);
	assert_int_equal(result.where, FAKE_GPA - PAGE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL + PAGE, GMEM_PRIVATE, NULL, &result), -ENXIO);
	assert_int_equal(result.where, FAKE_GPA + ALL);
	assert_int_equal(result.step, GMEM_STEP_CHECK);
	assert_int_equal(gmem_exclude(vm, FAKE_GPA + ALL, PAGE, NULL), 0);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL + PAGE, GMEM_PRIVATE, NULL, &result), -EPERM);
	assert_int_equal(result.where, FAKE_GPA + ALL);
	assert_string_equal(fake.trace, "");
	expect_in_step();
	stop();
}

static void pinned_page_is_reported_as_the_request_counts(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int atomic;

	(void)state;
	for (atomic = 0; atomic < 2; atomic++) {
		fake.knows_convert_of_vm = atomic;
		start(GMEM_IN_PLACE);
		/* Page 3 of the second slot, which is page 11 of its memory. */
		fake.held[fake_file(gmem_private_fd(a)) - fake.files][11] = true;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EAGAIN);
		assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE + 3 * PAGE);
		expect_in_step();
		assert_int_equal(gmem_convert(a, 8 * PAGE, 8 * PAGE, GMEM_PRIVATE, NULL, &result), -EAGAIN);
		assert_int_equal(result.where, 11 * PAGE);
		assert_int_equal(result.attempts, 1);
		expect_in_step();
		stop();
		fake_stop();
		fake_start();
	}
}

static int never_asked(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	fail_msg("asked for the %u. time", attempts);
	return 0;
}

static void guest_that_has_not_agreed_is_not_asked_again(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int atomic;

	(void)state;
	opts.timeout_ms = 1000;
	opts.busy = never_asked;
	for (atomic = 0; atomic < 2; atomic++) {
		fake.knows_convert_of_vm = atomic;
		fake.to_private = 6;
		start(GMEM_IN_PLACE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
		fake.refused[fake_file(gmem_private_fd(a)) - fake.files][11] = true;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, &opts, &result), -EPERM);
		assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE + 3 * PAGE);
		assert_int_equal(result.step, GMEM_STEP_CONVERT);
		assert_int_equal(result.attempts, 0);
		assert_int_equal(result.left_size, 0);
		expect_in_step();
		assert_int_equal(gmem_convert(a, 8 * PAGE, 8 * PAGE, GMEM_SHARED, &opts, &result), -EPERM);
		assert_int_equal(result.where, 11 * PAGE);
		assert_int_equal(result.step, GMEM_STEP_CONVERT);
		assert_int_equal(result.attempts, 0);
		expect_in_step();
		/* The other pages do not need it. */
		assert_int_equal(gmem_convert(a, 12 * PAGE, 4 * PAGE, GMEM_SHARED, &opts, &result), 0);
		expect_in_step();
		stop();
		fake_stop();
		fake_start();
	}
}

static void kernel_that_does_not_say_where_is_believed(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int knows;

	(void)state;
	start(GMEM_IN_PLACE);
	for (knows = 0; knows < 2; knows++) {
		fake.knows_error_offset = knows;
		fake_fail(CALL_CONVERT, 0, 1, ENOMEM);
		assert_int_equal(gmem_convert(a, 2 * PAGE, 4 * PAGE, GMEM_PRIVATE, NULL, &result), -ENOMEM);
		assert_int_equal(result.where, (knows ? 5 : 2) * PAGE);
	}
	stop();
}

static void result_without_its_size_is_refused(void **state)
{
	struct gmem_result result = {};

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EINVAL);
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, &result), -EINVAL);
	assert_string_equal(fake.trace, "");
	/* An older caller has only the size. */
	result.struct_size = sizeof(result.struct_size);
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, &result), 0);
	expect_in_step();
	stop();
}

static unsigned int nr_busy;

static int busy(void *arg, uint64_t where, unsigned int attempts)
{
	assert_int_equal(where, FAKE_GPA + 3 * PAGE);
	assert_int_equal(attempts, ++nr_busy);
	if (arg && nr_busy == 3)
		memset(fake.held, 0, sizeof(fake.held));
	return !arg && nr_busy == 3 ? -ETIME : 0;
}

static void holder_is_asked_until_it_lets_go_or_time_is_over(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	bool *held;

	(void)state;
	start(GMEM_IN_PLACE);
	held = &fake.held[fake_file(gmem_private_fd(b)) - fake.files][3];
	*held = true;

	/* Not asked without time. */
	nr_busy = 0;
	opts.busy = busy;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -EAGAIN);
	assert_int_equal(nr_busy, 0);

	/* It gives up. */
	opts.timeout_ms = 10000;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -ETIME);
	assert_int_equal(result.attempts, 3);
	expect_in_step();

	/* It lets go. */
	nr_busy = 0;
	opts.arg = &opts;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), 0);
	assert_int_equal(result.attempts, 3);
	expect_in_step();

	/* Nobody does: it ends when the time is over, and not sooner. */
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, NULL), 0);
	*held = true;
	opts.busy = NULL;
	opts.timeout_ms = 300;
	fake.now_ms = 0;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -EAGAIN);
	assert_int_equal(fake.now_ms, 300);
	assert_in_range(result.attempts, 5, 30);
	expect_in_step();

	/* The time of a listener counts, too. */
	slow_ms = 400;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -EAGAIN);
	assert_int_equal(result.attempts, 1);
	expect_in_step();
	stop();
}

static void signals_are_no_answer(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	fake_fail(CALL_CONVERT, 0, 1000, EINTR);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	expect_in_step();
	stop();
	fake_stop();
	fake_start();
	start(GMEM_TWO_BACKINGS);
	fake_fail(CALL_PUNCH, 0, 1000, EINTR);
	fake_fail(CALL_ATTRIBUTES, 0, 1000, EINTR);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	expect_in_step();
	stop();
}

static void unsupported_policy_is_refused_beforehand(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_TWO_BACKINGS);
	opts.to_private = GMEM_PRESERVE;
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, &opts, NULL), -EOPNOTSUPP);
	opts.to_private = 3;
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, &opts, NULL), -EINVAL);
	assert_string_equal(fake.trace, "");
	stop();
}

/* Offered nothing else, each type of VM converts by default; offered all others, none does. */
static void default_policy_is_what_guests_of_the_type_expect(void **state)
{
	static const struct {
		unsigned long vm_type;
		uint32_t to_shared, to_private;
	} types[] = {
		{ 0, GMEM_POLICY_BIT(GMEM_ZERO), GMEM_POLICY_BIT(GMEM_NONE) },
		{ SW_PROTECTED_VM, GMEM_POLICY_BIT(GMEM_ZERO), GMEM_POLICY_BIT(GMEM_NONE) },
		{ KVM_VM_TYPE_ARM_PROTECTED, GMEM_POLICY_BIT(GMEM_PRESERVE), GMEM_POLICY_BIT(GMEM_PRESERVE) },
	};
	const struct gmem_convert_opts defaults = GMEM_CONVERT_OPTS, *opts;
	struct gmem_vm_opts vm_opts = GMEM_INIT(struct gmem_vm_opts);
	unsigned int i, j, others;
	int expected;

	(void)state;
	vm_opts.mechanism = GMEM_IN_PLACE;
	for (i = 0; i < 2 * sizeof(types) / sizeof(types[0]); i++) {
		others = i % 2 ? 7 : 0;
		expected = others ? -EOPNOTSUPP : 0;
		fake.to_shared = types[i / 2].to_shared ^ others;
		fake.to_private = types[i / 2].to_private ^ others;
		vm_opts.vm_type = types[i / 2].vm_type;
		for (j = 0; j < 2; j++) {
			opts = j ? NULL : &defaults;
			assert_int_equal(gmem_vm_init(fake.vm_fd, &vm_opts, &vm), 0);
			assert_int_equal(gmem_create(vm, PAGE, NULL, &a), 0);
			assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, opts, NULL), expected);
			assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_SHARED, opts, NULL), expected);
			gmem_destroy(a);
			gmem_vm_exit(vm);
		}
	}
}

/* What the kernel of a protected VM of arm64 offers, to a VMM that has not named its type. */
static void default_policy_needs_no_type_on_arm64(void **state)
{
	struct gmem_vm_opts plain = GMEM_INIT(struct gmem_vm_opts);

	(void)state;
	fake.to_private = GMEM_POLICY_BIT(GMEM_PRESERVE) | GMEM_POLICY_BIT(GMEM_NONE);
	plain.mechanism = GMEM_IN_PLACE_PLAIN;
	assert_int_equal(gmem_vm_init(fake.vm_fd, &plain, &vm), -EOPNOTSUPP);
	assert_int_equal(gmem_vm_init(fake.vm_fd, NULL, &vm), 0);
	assert_int_equal(gmem_create(vm, PAGE, NULL, &a), 0);
	/* Now NONE, and ZERO to shared, are errors. */
	fake.to_shared = fake.to_private = GMEM_POLICY_BIT(GMEM_PRESERVE);
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, NULL), 0);
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_SHARED, NULL, NULL), 0);
	gmem_destroy(a);
	gmem_vm_exit(vm);
}

static void order_of_steps_is_the_mechanisms(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	gmem_convert(b, 0, PAGE, GMEM_PRIVATE, NULL, NULL);
	trace_is("PQc");
	gmem_convert(b, 0, PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("cST");
	gmem_convert(b, 0, PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("c");
	stop();

	fake_stop();
	fake_start();
	fake.knows_policies = false;
	start(GMEM_IN_PLACE_PLAIN);
	gmem_convert(b, 0, PAGE, GMEM_PRIVATE, NULL, NULL);
	trace_is("PQc");
	/* Zeros before anyone can read. */
	gmem_convert(b, 0, 2 * PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("pcST");
	assert_int_equal(fake_file(gmem_private_fd(b))->punched[0], 1);
	assert_int_equal(fake_file(gmem_private_fd(b))->punched[1], 0);
	stop();

	fake_stop();
	fake_start();
	start(GMEM_TWO_BACKINGS);
	gmem_convert(b, 0, PAGE, GMEM_PRIVATE, NULL, NULL);
	trace_is("PQap");
	/* The shared half is emptied, and the private half goes last. */
	gmem_convert(b, 0, PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("paSTp");
	assert_int_equal(fake_file(gmem_private_fd(b))->punched[0], 1);
	stop();
}

const struct CMUnitTest convert_cases[] = {
	CASE(range_is_split_over_slots),
	CASE(wrong_requests_are_refused),
	CASE(pinned_page_is_reported_as_the_request_counts),
	CASE(guest_that_has_not_agreed_is_not_asked_again),
	CASE(kernel_that_does_not_say_where_is_believed),
	CASE(result_without_its_size_is_refused),
	CASE(holder_is_asked_until_it_lets_go_or_time_is_over),
	CASE(signals_are_no_answer),
	CASE(unsupported_policy_is_refused_beforehand),
	CASE(default_policy_is_what_guests_of_the_type_expect),
	CASE(default_policy_needs_no_type_on_arm64),
	CASE(order_of_steps_is_the_mechanisms),
	{},
};
