// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Calls that touch the same range wait for the first one, and others do not wait. */
#include <string.h>

#include "turns.h"

/* Each overlaps the one before it. */
static struct conversion in_order[] = {
	{ .page = 0, .nr = 24, .attributes = GMEM_SHARED },
	{ .page = 0, .nr = 1, .attributes = GMEM_PRIVATE },
	{ .page = 0, .nr = 6, .attributes = GMEM_SHARED, .gmem = &b },
	{ .page = 4, .nr = 8, .attributes = GMEM_PRIVATE },
	{ .page = 8, .nr = 8, .attributes = GMEM_SHARED, .gmem = &a },
	{ .page = 0, .nr = 24, .attributes = GMEM_PRIVATE },
	{ .page = 0, .nr = 16, .attributes = GMEM_SHARED, .gmem = &a },
};

#define NR_IN_ORDER (sizeof(in_order) / sizeof(in_order[0]))

static int start_in_order(void *arg, uint64_t where, unsigned int attempts)
{
	size_t i;

	(void)arg;
	(void)where;
	(void)attempts;
	for (i = 0; i < NR_IN_ORDER; i++) {
		pthread_create(&in_order[i].thread, NULL, run_conversion, &in_order[i]);
		wait_for_turns(2 + i);
	}
	let_go();
	return 0;
}

static void what_overlaps_is_served_in_order_of_arrival(void **state)
{
	unsigned int round;
	size_t i;

	(void)state;
	for (round = 0; round < 50; round++) {
		start(GMEM_IN_PLACE);
		convert_b_and(start_in_order);
		for (i = 0; i < NR_IN_ORDER; i++) {
			pthread_join(in_order[i].thread, NULL);
			assert_int_equal(in_order[i].r, 0);
		}
		expect_told(&pictures[0], "P0+8 S0+8 P0+1 S0+1 P4+4 P8+4 S8+4 "
			    "P0+4 P8+8 P16+8 S16+8 S8+8");
		expect_in_step();
		renew();
	}
}

#define NR_SMALL 8

static struct conversion whole = { .page = 0, .nr = 24, .attributes = GMEM_SHARED };
static struct conversion small[NR_SMALL];
static char told_early[sizeof(pictures[0].told)];

/* One for everything has to wait; those after it touch nothing that is in work. */
static int start_whole_and_small(void *arg, uint64_t where, unsigned int attempts)
{
	unsigned int i;

	(void)arg;
	(void)where;
	(void)attempts;
	pthread_create(&whole.thread, NULL, run_conversion, &whole);
	wait_for_turns(2);
	for (i = 0; i < NR_SMALL; i++) {
		small[i] = (struct conversion){
			.page = 8 + 2 * i, .nr = 1, .attributes = GMEM_PRIVATE,
		};
		pthread_create(&small[i].thread, NULL, run_conversion, &small[i]);
	}
	wait_for_turns(2 + NR_SMALL);
	strcpy(told_early, picture_told(&pictures[0]));
	let_go();
	return 0;
}

static void small_requests_do_not_overtake_a_large_one(void **state)
{
	unsigned int i;

	(void)state;
	start(GMEM_IN_PLACE);
	convert_pages(9, 1, GMEM_PRIVATE);
	convert_pages(23, 1, GMEM_PRIVATE);
	picture_told(&pictures[0]);
	convert_b_and(start_whole_and_small);
	pthread_join(whole.thread, NULL);
	assert_int_equal(whole.r, 0);
	for (i = 0; i < NR_SMALL; i++) {
		pthread_join(small[i].thread, NULL);
		assert_int_equal(small[i].r, 0);
	}
	assert_string_equal(told_early, "P0+8");
	assert_memory_equal(pictures[0].told, "S0+8 S9+1 S23+1 P", 17);
	expect_in_step();
	stop();
}

/* ---- Listeners ------------------------------------------------------------------- */

static pthread_t beside;
static struct picture late_picture;
static struct conversion before_listener = { .page = 7, .nr = 2, .attributes = GMEM_PRIVATE };
static struct conversion after_listener = { .page = 16, .nr = 1, .attributes = GMEM_PRIVATE };

static void *plug(void *arg)
{
	(void)arg;
	MUST(!gmem_add_listener(vm, &late_picture.listener));
	return NULL;
}

static void *unplug(void *arg)
{
	(void)arg;
	MUST(!gmem_remove_listener(vm, &late_picture.listener));
	return NULL;
}

/* Neither conversion touches what the other does, and the second waits for the listener. */
static int plug_while_it_waits(void *arg, uint64_t where, unsigned int attempts)
{
	pthread_t *thread = &beside;
	bool is_there = late_picture.told[0];

	(void)arg;
	(void)where;
	(void)attempts;
	picture_told(&late_picture);
	pthread_create(&before_listener.thread, NULL, run_conversion, &before_listener);
	wait_for_turns(2);
	pthread_create(thread, NULL, is_there ? unplug : plug, NULL);
	wait_for_turns(3);
	pthread_create(&after_listener.thread, NULL, run_conversion, &after_listener);
	wait_for_turns(4);
	MUST(!late_picture.told[0]);
	MUST(!strchr(pictures[0].told, 'S'));
	let_go();
	return 0;
}

static void listener_waits_for_all_and_all_wait_for_it(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	picture_init(&late_picture, vm, GMEM_LISTENER_REPLAY, false);
	thread_error = NULL;
	convert_b_and(plug_while_it_waits);
	pthread_join(before_listener.thread, NULL);
	pthread_join(beside, NULL);
	pthread_join(after_listener.thread, NULL);
	assert_string_equal(thread_error ? thread_error : "", "");
	assert_string_equal(late_picture.told, "S9+7 S16+8 P16+1");
	expect_picture(&late_picture);

	convert_pages(0, 24, GMEM_SHARED);
	picture_told(&pictures[0]);
	convert_b_and(plug_while_it_waits);
	pthread_join(before_listener.thread, NULL);
	pthread_join(beside, NULL);
	pthread_join(after_listener.thread, NULL);
	assert_string_equal(thread_error ? thread_error : "", "");
	/* It was told of the first one before the hook forgot what it was told. */
	assert_string_equal(late_picture.told, "P8+1 P9+7 P16+8");
	expect_in_step();
	stop();
}

const struct CMUnitTest queue_cases[] = {
	CASE(what_overlaps_is_served_in_order_of_arrival),
	CASE(small_requests_do_not_overtake_a_large_one),
	CASE(listener_waits_for_all_and_all_wait_for_it),
	{},
};
