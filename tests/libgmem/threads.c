// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Threads that convert, bind and listen concurrently, in any order. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The queue itself, to see who is in it.  Before cmocka, which has a macro fail(). */
#include "internal.h"
#include "unit_vm.h"

static pthread_barrier_t inside;
static volatile bool other_is_done;

static void *convert_another(void *arg)
{
	(void)arg;
	if (gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, NULL))
		abort();
	return NULL;
}

/* While one conversion waits for a holder: others go on, the same range waits. */
static int busy_inside(void *arg, uint64_t where, unsigned int attempts)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	pthread_t thread;

	(void)arg;
	(void)where;
	if (attempts == 1) {
		pthread_create(&thread, NULL, convert_another, NULL);
		pthread_join(thread, NULL);
		assert_int_equal(gmem_lookup(b, 0, &range), 0);
		pthread_barrier_wait(&inside);
		usleep(50000);
		assert_false(other_is_done);
		memset(fake.held, 0, sizeof(fake.held));
	}
	return 0;
}

static void *convert_the_same(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&inside);
	if (gmem_convert_gpa(vm, FAKE_GPA + 7 * PAGE, 2 * PAGE, GMEM_SHARED, NULL, NULL))
		abort();
	other_is_done = true;
	return NULL;
}

static void overlapping_conversions_wait_others_do_not(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	pthread_t thread;

	(void)state;
	start(GMEM_IN_PLACE);
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	pthread_barrier_init(&inside, NULL, 2);
	other_is_done = false;
	pthread_create(&thread, NULL, convert_the_same, NULL);
	opts.timeout_ms = 10000;
	opts.busy = busy_inside;
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(thread, NULL);
	assert_true(other_is_done);
	expect_in_step();
	assert_true(kernel_private(FAKE_GPA + 6 * PAGE));
	assert_false(kernel_private(FAKE_GPA + 7 * PAGE));
	stop();
}

static pthread_t binder, late;

static void *bind_beside(void *arg)
{
	(void)arg;
	if (gmem_exclude(vm, FAKE_GPA + ALL, PAGE, NULL))
		abort();
	return NULL;
}

static void *convert_behind(void *arg)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	(void)arg;
	if (gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, NULL) ||
	    gmem_lookup_gpa(vm, FAKE_GPA + ALL, &range) != -EPERM)
		abort();
	return NULL;
}

static int busy_while_others_come(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	if (attempts == 1) {
		pthread_create(&binder, NULL, bind_beside, NULL);
		usleep(50000);
		pthread_create(&late, NULL, convert_behind, NULL);
		usleep(50000);
		memset(fake.held, 0, sizeof(fake.held));
	}
	return 0;
}

/* Later conversions let the binding go first, or it would wait for ever. */
static void binding_is_not_overtaken(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_IN_PLACE);
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	opts.timeout_ms = 10000;
	opts.busy = busy_while_others_come;
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(binder, NULL);
	pthread_join(late, NULL);
	expect_in_step();
	stop();
}

static atomic_bool is_over;

/* ---- Large beside small -------------------------------------------------------- */

#define NR_HAMMERS	4
#define NR_WHOLE	300

static atomic_uint nr_hits, nr_overtaken;
/* The guest page that this thread converts; all, in the one that has none. */
static _Thread_local unsigned int my_page = FAKE_PAGES;

/* Is a turn for everything, that came before this thread's, still to be served? */
static int look_who_waits(struct gmem_listener *listener, const struct gmem_range *range)
{
	const struct turn *turn;

	(void)listener;
	(void)range;
	if (my_page == FAKE_PAGES)
		return 0;

	nr_hits++;
	pthread_mutex_lock(&vm->lock);
	for (turn = vm->turns; turn->gpa_end - turn->gpa != PAGE ||
	     turn->gpa != FAKE_GPA + my_page * PAGE; turn = turn->next)
		nr_overtaken += turn->gpa_end - turn->gpa == ALL;
	pthread_mutex_unlock(&vm->lock);

	return 0;
}

static void *hammer(void *arg)
{
	uint64_t gpa;

	my_page = (uintptr_t)arg;
	gpa = FAKE_GPA + my_page * PAGE;
	while (!is_over) {
		if (gmem_convert_gpa(vm, gpa, PAGE, GMEM_PRIVATE, NULL, NULL) ||
		    gmem_convert_gpa(vm, gpa, PAGE, GMEM_SHARED, NULL, NULL))
			abort();
	}
	return NULL;
}

static void large_request_is_served_while_others_hammer(void **state)
{
	struct gmem_listener listener = GMEM_INIT(struct gmem_listener);
	pthread_t hammers[NR_HAMMERS];
	uintptr_t i;

	(void)state;
	start(GMEM_IN_PLACE);
	listener.before_private = look_who_waits;
	listener.after_shared = look_who_waits;
	assert_int_equal(gmem_add_listener(vm, &listener), 0);
	is_over = false;
	nr_hits = nr_overtaken = 0;
	for (i = 0; i < NR_HAMMERS; i++)
		pthread_create(&hammers[i], NULL, hammer, (void *)(5 * i));
	for (i = 0; i < NR_WHOLE || nr_hits < NR_WHOLE; i++)
		convert_pages(0, 24, i & 1 ? GMEM_SHARED : GMEM_PRIVATE);
	is_over = true;
	for (i = 0; i < NR_HAMMERS; i++)
		pthread_join(hammers[i], NULL);
	assert_int_equal(nr_overtaken, 0);
	expect_in_step();
	assert_int_equal(gmem_remove_listener(vm, &listener), 0);
	stop();
}

/* ---- Listeners beside conversions ------------------------------------------------ */

#define NR_CONVERTERS	3
#define NR_PLUGS	300

/* What went wrong in a thread, in which cmocka cannot report it. */
static const char *plug_error;

static void *convert_at_random(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	int r;

	while (!is_over) {
		uint64_t attributes = rand_r(&seed) & 64 ? GMEM_PRIVATE : GMEM_SHARED;
		unsigned int page = rand_r(&seed) % 24, nr = 1 + rand_r(&seed) % (24 - page);

		if (rand_r(&seed) & 64)
			r = gmem_convert_gpa(vm, FAKE_GPA + page * PAGE, nr * PAGE, attributes,
					     NULL, NULL);
		else
			r = gmem_convert(a, page % 16 * PAGE, (1 + nr % (16 - page % 16)) * PAGE,
					 attributes, NULL, NULL);
		/* The third slot comes and goes. */
		if (r && r != -ENXIO)
			abort();
	}
	return NULL;
}

static void *bind_and_unbind(void *arg)
{
	(void)arg;
	while (!is_over) {
		if (gmem_unbind(vm, FAKE_GPA + 2 * SLOT_SIZE, NULL) ||
		    gmem_bind(a, 3, FAKE_GPA + 2 * SLOT_SIZE, 0, SLOT_SIZE, NULL))
			abort();
	}
	return NULL;
}

static void *plug_and_unplug(void *arg)
{
	static const bool nothing[FAKE_PAGES];
	static struct picture plugged;
	unsigned int i;

	(void)arg;
	for (i = 0; i < NR_PLUGS && !plug_error; i++) {
		picture_init(&plugged, vm, GMEM_LISTENER_REPLAY | (i & 1 ? GMEM_LISTENER_GAPS : 0),
			     i & 2);
		if (gmem_add_listener(vm, &plugged.listener) ||
		    gmem_remove_listener(vm, &plugged.listener))
			plug_error = "was refused";
		else if (plugged.wrong[0])
			plug_error = plugged.wrong;
		else if (memcmp(plugged.holds, nothing, sizeof(nothing)))
			plug_error = "holds something in the end";
	}
	return NULL;
}

static void device_comes_and_goes_beside_conversions(void **state)
{
	pthread_t converters[NR_CONVERTERS], binder, plugger;
	uintptr_t i;

	(void)state;
	start(GMEM_IN_PLACE);
	is_over = false;
	plug_error = NULL;
	for (i = 0; i < NR_CONVERTERS; i++)
		pthread_create(&converters[i], NULL, convert_at_random, (void *)(i + 1));
	pthread_create(&binder, NULL, bind_and_unbind, NULL);
	pthread_create(&plugger, NULL, plug_and_unplug, NULL);
	pthread_join(plugger, NULL);
	is_over = true;
	pthread_join(binder, NULL);
	for (i = 0; i < NR_CONVERTERS; i++)
		pthread_join(converters[i], NULL);
	assert_string_equal(plug_error ? plug_error : "", "");
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	stop();
}

const struct CMUnitTest threads_cases[] = {
	CASE(overlapping_conversions_wait_others_do_not),
	CASE(binding_is_not_overtaken),
	CASE(large_request_is_served_while_others_hammer),
	CASE(device_comes_and_goes_beside_conversions),
	{},
};
