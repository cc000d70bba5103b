// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Binding and unbinding wait for what they touch, and for nothing else. */
#include <errno.h>
#include <unistd.h>

#include "turns.h"

static bool did_end;

/* Another memory, a part of another one, and other addresses. */
static void *bind_other_memory(void *arg)
{
	struct gmem *c = NULL;

	(void)arg;
	MUST(!gmem_create(vm, 2 * PAGE, NULL, &c));
	MUST(!gmem_bind(c, 4, FAKE_GPA + ALL, 0, 2 * PAGE, NULL));
	MUST(!gmem_convert_gpa(vm, FAKE_GPA + ALL, PAGE, GMEM_PRIVATE, NULL, NULL));
	MUST(!gmem_unbind(vm, FAKE_GPA + ALL, NULL));
	gmem_destroy(c);
	MUST(!gmem_unbind(vm, FAKE_GPA + SLOT_SIZE, NULL));
	MUST(!gmem_exclude(vm, FAKE_GPA + SLOT_SIZE, PAGE, NULL));
	MUST(!gmem_unbind(vm, FAKE_GPA + SLOT_SIZE, NULL));
	MUST(!gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE, NULL));
	return NULL;
}

static pthread_t beside;

static int bind_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&beside, NULL, bind_other_memory, NULL);
	did_end = ends(beside);
	let_go();
	return 0;
}

static void binding_waits_only_for_what_it_touches(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	thread_error = NULL;
	convert_b_and(bind_while_it_waits);
	if (!did_end)
		pthread_join(beside, NULL);
	assert_true(did_end);
	assert_string_equal(thread_error ? thread_error : "", "");
	expect_told(&pictures[0], "P0+8 S24+2 P24+1 P25+1 P8+8 S8+8");
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	stop();
}

/* Pages beside those that wait, in the same binding; by gpa, where the others go by offset. */
static void *convert_beside(void *arg)
{
	(void)arg;
	MUST(!gmem_convert_gpa(vm, FAKE_GPA, 2 * PAGE, GMEM_PRIVATE, NULL, NULL));
	MUST(!gmem_convert_gpa(vm, FAKE_GPA + 6 * PAGE, 18 * PAGE, GMEM_PRIVATE, NULL, NULL));
	MUST(!gmem_convert(a, 0, 2 * SLOT_SIZE, GMEM_SHARED, NULL, NULL));
	return NULL;
}

static int convert_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&beside, NULL, convert_beside, NULL);
	did_end = ends(beside);
	let_go();
	return 0;
}

static void neighbours_in_one_binding_do_not_wait(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_IN_PLACE);
	thread_error = NULL;
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	opts.timeout_ms = 10000;
	opts.busy = convert_while_it_waits;
	assert_int_equal(gmem_convert(b, 2 * PAGE, 4 * PAGE, GMEM_PRIVATE, &opts, NULL), 0);
	if (!did_end)
		pthread_join(beside, NULL);
	assert_true(did_end);
	assert_string_equal(thread_error ? thread_error : "", "");
	expect_in_step();
	stop();
}

static void *unbind_first(void *arg)
{
	(void)arg;
	MUST(!gmem_unbind(vm, FAKE_GPA, NULL));
	return NULL;
}

static void *bind_first(void *arg)
{
	(void)arg;
	MUST(!gmem_bind(b, 5, FAKE_GPA + 40 * PAGE, 0, SLOT_SIZE, NULL));
	return NULL;
}

static struct conversion behind_unbind = { .page = 1, .nr = 1, .attributes = GMEM_PRIVATE };
static struct conversion behind_bind = { .page = 41, .nr = 1, .attributes = GMEM_SHARED };
static pthread_t unbinder, rebinder;

/* b is unbound and bound elsewhere; later calls find the result of either. */
static int unbind_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&unbinder, NULL, unbind_first, NULL);
	wait_for_turns(2);
	pthread_create(&behind_unbind.thread, NULL, run_conversion, &behind_unbind);
	wait_for_turns(3);
	pthread_create(&rebinder, NULL, bind_first, NULL);
	wait_for_turns(4);
	pthread_create(&behind_bind.thread, NULL, run_conversion, &behind_bind);
	wait_for_turns(5);
	MUST(fake.slots[1].used && !fake.slots[5].used);
	MUST(!gmem_lookup_gpa(vm, FAKE_GPA, &range) && range.attributes == GMEM_SHARED);
	let_go();
	return 0;
}

static void unbinding_waits_for_a_conversion_and_is_not_overtaken(void **state)
{
	unsigned int round;

	(void)state;
	for (round = 0; round < 50; round++) {
		start(GMEM_IN_PLACE);
		convert_pages(0, 2, GMEM_PRIVATE);
		convert_pages(0, 2, GMEM_SHARED);
		picture_told(&pictures[0]);
		thread_error = NULL;
		convert_b_and(unbind_while_it_waits);
		pthread_join(unbinder, NULL);
		pthread_join(behind_unbind.thread, NULL);
		pthread_join(rebinder, NULL);
		pthread_join(behind_bind.thread, NULL);
		assert_string_equal(thread_error ? thread_error : "", "");
		assert_int_equal(behind_unbind.r, -ENXIO);
		assert_int_equal(behind_bind.r, 0);
		/* All private as it was unbound, and as it was bound again. */
		expect_told(&pictures[0], "P0+8 S41+1");
		expect_picture(&pictures[0]);
		expect_picture(&pictures[1]);
		renew();
	}
}

static void *destroy_b(void *arg)
{
	(void)arg;
	gmem_destroy(b);
	return NULL;
}

static int destroy_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&unbinder, NULL, destroy_b, NULL);
	wait_for_turns(2);
	pthread_create(&behind_unbind.thread, NULL, run_conversion, &behind_unbind);
	wait_for_turns(3);
	MUST(fake.slots[1].used);
	let_go();
	return 0;
}

/* By guest page nobody knows which memory it will be. */
static void destroying_waits_for_conversions_by_gpa(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_IN_PLACE);
	thread_error = NULL;
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	opts.timeout_ms = 10000;
	opts.busy = destroy_while_it_waits;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(unbinder, NULL);
	pthread_join(behind_unbind.thread, NULL);
	b = NULL;
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_int_equal(behind_unbind.r, -ENXIO);
	assert_false(fake.slots[1].used);
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	stop();
}

/* ---- A larger binding comes while an unbinding waits ------------------------------ */

static struct gmem *c;
static bool *held_by_c;
static pthread_t larger, second;

static void *unbind_c(void *arg)
{
	(void)arg;
	MUST(!gmem_unbind(vm, FAKE_GPA + ALL, NULL));
	return NULL;
}

static void *bind_larger(void *arg)
{
	(void)arg;
	MUST(!gmem_bind(c, 5, FAKE_GPA + ALL, 0, 2 * PAGE, NULL));
	return NULL;
}

/* The second unbinding would have deleted the slot by then. */
static int hold_second_page(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	usleep(50000);
	MUST(fake.slots[5].used);
	held_by_c[1] = false;
	return 0;
}

static void *convert_second_page(void *arg)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)arg;
	opts.timeout_ms = 10000;
	opts.busy = hold_second_page;
	MUST(!gmem_convert_gpa(vm, FAKE_GPA + ALL + PAGE, PAGE, GMEM_PRIVATE, &opts, NULL));
	return NULL;
}

static int bind_larger_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&unbinder, NULL, unbind_c, NULL);
	wait_for_turns(2);
	pthread_create(&larger, NULL, bind_larger, NULL);
	wait_for_turns(3);
	pthread_create(&beside, NULL, convert_second_page, NULL);
	wait_for_turns(4);
	/* It has seen a binding of one page. */
	pthread_create(&second, NULL, unbind_c, NULL);
	wait_for_turns(5);
	held_by_c[0] = false;
	return 0;
}

static void unbinding_waits_for_all_of_what_it_finds(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_IN_PLACE);
	thread_error = NULL;
	assert_int_equal(gmem_create(vm, 4 * PAGE, NULL, &c), 0);
	assert_int_equal(gmem_bind(c, 4, FAKE_GPA + ALL, 0, PAGE, NULL), 0);
	held_by_c = fake.held[fake_file(gmem_private_fd(c)) - fake.files];
	held_by_c[0] = held_by_c[1] = true;
	opts.timeout_ms = 10000;
	opts.busy = bind_larger_while_it_waits;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + ALL, PAGE, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(unbinder, NULL);
	pthread_join(larger, NULL);
	pthread_join(beside, NULL);
	pthread_join(second, NULL);
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_false(fake.slots[4].used || fake.slots[5].used);
	assert_true(fake_file(gmem_private_fd(c))->is_private[1]);
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	gmem_destroy(c);
	stop();
}

const struct CMUnitTest waiting_cases[] = {
	CASE(binding_waits_only_for_what_it_touches),
	CASE(neighbours_in_one_binding_do_not_wait),
	CASE(unbinding_waits_for_a_conversion_and_is_not_overtaken),
	CASE(destroying_waits_for_conversions_by_gpa),
	CASE(unbinding_waits_for_all_of_what_it_finds),
	{},
};
