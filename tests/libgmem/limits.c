// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A call waits no longer than requested, whatever it waits for, and can be cancelled. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "kvm_abi.h"
#include "turns.h"

static struct gmem_convert_opts limited;
static uint32_t cancel;

static void start_limited(enum gmem_mechanism mechanism, uint32_t timeout_ms)
{
	start(mechanism);
	thread_error = NULL;
	cancel = 0;
	limited = GMEM_CONVERT_OPTS;
	limited.timeout_ms = timeout_ms;
	limited.cancel = &cancel;
}

/* Overlaps b, which is in work, and the slot after it. */
static struct conversion waits = {
	.page = 4, .nr = 8, .attributes = GMEM_PRIVATE, .opts = &limited,
};
/* Overlaps that, and not b. */
static struct conversion behind = { .page = 10, .nr = 1, .attributes = GMEM_PRIVATE };

/* ---- Behind others ------------------------------------------------------------------ */

static int wait_too_long(void *arg, uint64_t where, unsigned int attempts)
{
	uint64_t began = fake.now_ms;

	(void)arg;
	(void)where;
	(void)attempts;
	run_conversion(&waits);
	MUST(fake.now_ms == began + 200);
	/* As nobody is before it now. */
	run_conversion(&behind);
	let_go();
	return 0;
}

static void time_behind_others_is_limited(void **state)
{
	(void)state;
	start_limited(GMEM_IN_PLACE, 200);
	convert_b_and(wait_too_long);
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_int_equal(waits.r, -ETIMEDOUT);
	assert_int_equal(waits.result.step, GMEM_STEP_TURN);
	assert_int_equal(waits.result.where, FAKE_GPA + 4 * PAGE);
	assert_int_equal(waits.result.left_size, 0);
	assert_int_equal(behind.r, 0);
	expect_told(&pictures[0], "P0+8 P10+1");
	expect_in_step();
	stop();
}

static int let_those_behind_it_go(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&waits.thread, NULL, run_conversion, &waits);
	wait_for_turns(2);
	pthread_create(&behind.thread, NULL, run_conversion, &behind);
	MUST(ends(waits.thread));
	MUST(ends(behind.thread));
	let_go();
	return 0;
}

static void who_gives_up_lets_those_behind_go(void **state)
{
	(void)state;
	start_limited(GMEM_IN_PLACE, 300);
	convert_b_and(let_those_behind_it_go);
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_int_equal(waits.r, -ETIMEDOUT);
	assert_int_equal(behind.r, 0);
	expect_in_step();
	stop();
}

/* 400 of its 500 milliseconds are over when its turn comes, however late this thread runs. */
static int let_go_late(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	fake.does_not_stop = pthread_self();
	fake.stop_ms = 400;
	pthread_create(&waits.thread, NULL, run_conversion, &waits);
	while (fake.now_ms < 400)
		usleep(100);
	fake.held[fake_file(gmem_private_fd(a)) - fake.files][8] = true;
	memset(fake.held[fake_file(gmem_private_fd(b)) - fake.files], 0, FAKE_PAGES);
	return 0;
}

static void holder_gets_what_time_is_left(void **state)
{
	uint64_t began;

	(void)state;
	start_limited(GMEM_IN_PLACE, 500);
	began = fake.now_ms;
	assert_int_equal(began, 0);
	convert_b_and(let_go_late);
	fake.stop_ms = 0;
	pthread_join(waits.thread, NULL);
	assert_int_equal(waits.r, -EAGAIN);
	assert_int_equal(waits.result.step, GMEM_STEP_CONVERT);
	assert_int_equal(waits.result.where, FAKE_GPA + 8 * PAGE);
	assert_in_range(fake.now_ms, 500, 510);
	expect_in_step();
	stop();
}

static int wait_without_limit(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&waits.thread, NULL, run_conversion, &waits);
	wait_for_turns(2);
	fake.now_ms += 1000 * 3600;
	usleep(20000);
	let_go();
	return 0;
}

static void without_a_limit_it_waits_for_its_turn(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start_limited(GMEM_IN_PLACE, 0);
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	opts.timeout_ms = UINT32_MAX;
	opts.busy = wait_without_limit;
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(waits.thread, NULL);
	assert_int_equal(waits.r, 0);
	expect_in_step();
	stop();
}

/* ---- Binding, excluding and unbinding ---------------------------------------------------- */

static int bind_behind_others(void *arg, uint64_t where, unsigned int attempts)
{
	struct gmem_bind_opts opts = GMEM_INIT(struct gmem_bind_opts);
	const int expected = attempts == 1 ? -ETIMEDOUT : -ECANCELED;

	(void)arg;
	(void)where;
	if (attempts > 2)
		return 0;
	opts.timeout_ms = attempts == 1 ? 100 : 0;
	opts.cancel = &cancel;
	if (attempts == 2)
		gmem_cancel(vm, &cancel);
	MUST(gmem_unbind(vm, FAKE_GPA, &opts) == expected);
	MUST(gmem_bind(b, 5, FAKE_GPA + ALL, 0, PAGE, &opts) == expected);
	MUST(gmem_exclude(vm, FAKE_GPA + PAGE, PAGE, &opts) == expected);
	/* A call on another range need not wait. */
	MUST(!gmem_exclude(vm, FAKE_GPA + ALL, PAGE, &opts));
	MUST(!gmem_unbind(vm, FAKE_GPA + ALL, &opts));
	if (attempts == 2)
		let_go();
	return 0;
}

static void who_binds_can_give_up(void **state)
{
	(void)state;
	start_limited(GMEM_IN_PLACE, 0);
	convert_b_and(bind_behind_others);
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_true(fake.slots[1].used && !fake.slots[5].used);
	expect_in_step();
	stop();
}

/* ---- Cancelled ---------------------------------------------------------------------- */

static int cancel_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&waits.thread, NULL, run_conversion, &waits);
	wait_for_turns(2);
	pthread_create(&behind.thread, NULL, run_conversion, &behind);
	wait_for_turns(3);
	gmem_cancel(vm, &cancel);
	MUST(ends(waits.thread));
	MUST(ends(behind.thread));
	/* It stays so, for one that begins later. */
	run_conversion(&waits);
	MUST(waits.r == -ECANCELED);
	let_go();
	return 0;
}

static void who_waits_for_its_turn_can_be_cancelled(void **state)
{
	static const uint32_t limits[] = { 0, UINT32_MAX };
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		start_limited(GMEM_IN_PLACE, limits[i]);
		convert_b_and(cancel_while_it_waits);
		assert_string_equal(thread_error ? thread_error : "", "");
		assert_int_equal(waits.r, -ECANCELED);
		assert_int_equal(waits.result.step, GMEM_STEP_TURN);
		assert_int_equal(behind.r, 0);
		assert_int_equal(cancel, 1);
		expect_in_step();
		/* A call that need not wait is carried out all the same. */
		assert_int_equal(gmem_convert(b, 0, PAGE, GMEM_SHARED, &limited, NULL), 0);
		expect_in_step();
		renew();
	}
}

static int cancel_in_busy(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	if (attempts == 3)
		gmem_cancel(vm, &cancel);
	return 0;
}

static void *cancel_from_another_thread(void *arg)
{
	(void)arg;
	usleep(20000);
	gmem_cancel(vm, &cancel);
	return NULL;
}

static void who_waits_for_a_holder_can_be_cancelled(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	pthread_t thread;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		bool two = mechanism == GMEM_TWO_BACKINGS;

		start_limited(mechanism, UINT32_MAX);
		mix();
		fake_fail(two ? CALL_ATTRIBUTES : CALL_CONVERT, 0, UINT32_MAX / 2, EAGAIN);
		limited.busy = cancel_in_busy;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &limited,
						  &result), -ECANCELED);
		assert_int_equal(result.step, GMEM_STEP_CONVERT);
		assert_int_equal(result.attempts, 3);
		assert_int_equal(result.left_size, 0);
		expect_in_step();

		limited.busy = NULL;
		cancel = 0;
		pthread_create(&thread, NULL, cancel_from_another_thread, NULL);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &limited,
						  &result), -ECANCELED);
		pthread_join(thread, NULL);
		expect_in_step();

		/* Set before: no second attempt. */
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &limited,
						  &result), -ECANCELED);
		assert_int_equal(result.attempts, 1);
		fake.nr_answers = 0;
		cancel = 0;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &limited,
						  &result), 0);
		expect_in_step();
		renew();
	}
}

/* A guest tries again, which is right, whoever gave up. */
static void guest_is_told_to_try_again(void **state)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_HYPERCALL };

	(void)state;
	start_limited(GMEM_IN_PLACE, UINT32_MAX);
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run.hypercall.args[0] = FAKE_GPA;
	run.hypercall.args[1] = 1;
	run.hypercall.args[2] = KVM_MAP_GPA_RANGE_ENCRYPTED;
	fake_fail(CALL_CONVERT, 0, 1, EAGAIN);
	gmem_cancel(vm, &cancel);
	assert_int_equal(gmem_handle_exit(vm, &run, 0, &limited, NULL), -ECANCELED);
	assert_int_equal(run.hypercall.ret, EAGAIN);
	expect_in_step();
	stop();
}

const struct CMUnitTest limits_cases[] = {
	CASE(time_behind_others_is_limited),
	CASE(who_gives_up_lets_those_behind_go),
	CASE(holder_gets_what_time_is_left),
	CASE(without_a_limit_it_waits_for_its_turn),
	CASE(who_binds_can_give_up),
	CASE(who_waits_for_its_turn_can_be_cancelled),
	CASE(who_waits_for_a_holder_can_be_cancelled),
	CASE(guest_is_told_to_try_again),
	{},
};
