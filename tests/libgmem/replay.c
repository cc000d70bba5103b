// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A listener that replays holds what is bound and shared, and nothing else, whatever comes and
 * goes.
 */
#include <errno.h>
#include <string.h>

#include "unit_vm.h"

/* Of four that replay, pictures[] are told first, then the one that refuses. */
static struct picture refusing, last;

static void forget_told(void)
{
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	picture_told(&pictures[0]);
	picture_told(&pictures[1]);
	picture_told(&refusing);
	picture_told(&last);
}

static void start_mixed(enum gmem_mechanism mechanism)
{
	start(mechanism);
	mix();
	picture_init(&refusing, vm, GMEM_LISTENER_REPLAY, false);
	picture_init(&last, vm, GMEM_LISTENER_REPLAY, false);
	assert_int_equal(gmem_add_listener(vm, &refusing.listener), 0);
	assert_int_equal(gmem_add_listener(vm, &last.listener), 0);
	forget_told();
}

static void remove_all(void)
{
	assert_int_equal(gmem_remove_listener(vm, &refusing.listener), 0);
	assert_int_equal(gmem_remove_listener(vm, &last.listener), 0);
}

static void expect_all_pictures(void)
{
	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	expect_picture(&refusing);
	expect_picture(&last);
}

/* ---- Listeners come and go -------------------------------------------------- */

static void adding_replays_what_is_bound_and_shared(void **state)
{
	struct picture late, batched;
	enum gmem_mechanism mechanism;
	struct gmem *c;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		mix();
		assert_int_equal(gmem_exclude(vm, FAKE_GPA + ALL, PAGE, NULL), 0);
		assert_int_equal(gmem_create(vm, 4 * PAGE, NULL, &c), 0);
		assert_int_equal(gmem_bind(c, 4, FAKE_GPA + 26 * PAGE, PAGE, 2 * PAGE, NULL), 0);

		picture_init(&late, vm, GMEM_LISTENER_REPLAY, false);
		picture_init(&batched, vm, GMEM_LISTENER_REPLAY | GMEM_LISTENER_GAPS, true);
		assert_int_equal(gmem_add_listener(vm, &late.listener), 0);
		assert_int_equal(gmem_add_listener(vm, &batched.listener), 0);
		expect_told(&late, MIXED " S26+2");
		expect_told(&batched, "( " MIXED " S26+2 )");
		expect_picture(&late);
		expect_picture(&batched);
		assert_int_equal(gmem_add_listener(vm, &late.listener), -EEXIST);
		expect_told(&late, "");

		assert_int_equal(gmem_remove_listener(vm, &late.listener), 0);
		expect_told(&late, "P0+2 P4+4 P9+7 P16+7 P26+2");
		convert_pages(4, 2, GMEM_PRIVATE);
		expect_told(&late, "");
		expect_told(&batched, "( P4+2 )");
		gmem_destroy(c);
		expect_told(&batched, "( P26+2 )");
		assert_int_equal(gmem_remove_listener(vm, &batched.listener), 0);
		expect_told(&batched, "( P0+2 P6+2 P9+7 P16+7 )");
		renew();
	}
}

static void listener_that_does_not_ask_hears_of_conversions_only(void **state)
{
	struct picture late;

	(void)state;
	start(GMEM_IN_PLACE);
	mix();
	picture_init(&late, vm, GMEM_LISTENER_GAPS, true);
	memcpy(late.holds, pictures[0].holds, sizeof(late.holds));
	assert_int_equal(gmem_add_listener(vm, &late.listener), 0);
	expect_told(&late, "");
	convert_pages(0, 2, GMEM_PRIVATE);
	expect_told(&late, "( P0+2 )");
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	expect_told(&late, "");
	expect_picture(&late);
	assert_int_equal(gmem_remove_listener(vm, &late.listener), 0);
	expect_told(&late, "");
	stop();
}

static void nothing_shared_is_nothing_told(void **state)
{
	struct picture late;

	(void)state;
	start(GMEM_IN_PLACE);
	convert_pages(0, 24, GMEM_PRIVATE);
	picture_init(&late, vm, GMEM_LISTENER_REPLAY, true);
	assert_int_equal(gmem_add_listener(vm, &late.listener), 0);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	assert_int_equal(gmem_remove_listener(vm, &late.listener), 0);
	expect_told(&late, "");
	stop();
}

static void refusal_while_adding_is_undone(void **state)
{
	static const struct {
		unsigned int at;
		const char *told;
	} refusals[] = {
		{ 0, "S0+2!" },
		{ 5, "S0+2 S4+4! P0+2" },
		{ 15, "S0+2 S4+4 S9+7! P0+2 P4+4" },
		{ 16, "S0+2 S4+4 S9+7 S16+7! P0+2 P4+4 P9+7" },
	};
	const bool nothing[FAKE_PAGES] = {};
	struct picture late;
	size_t i;

	(void)state;
	start(GMEM_IN_PLACE);
	mix();
	for (i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		picture_init(&late, vm, GMEM_LISTENER_REPLAY, false);
		late.refuse_shared = PAGES(refusals[i].at, 1);
		assert_int_equal(gmem_add_listener(vm, &late.listener), -EBUSY);
		expect_told(&late, refusals[i].told);
		assert_memory_equal(late.holds, nothing, sizeof(nothing));
		assert_int_equal(gmem_remove_listener(vm, &late.listener), -ENOENT);
	}

	/* It does not let go of everything, which is up to the listener. */
	picture_init(&late, vm, GMEM_LISTENER_REPLAY, false);
	late.refuse_shared = PAGES(16, 1);
	late.refuse_private = PAGES(4, 1);
	late.error = 1;
	assert_int_equal(gmem_add_listener(vm, &late.listener), -ECANCELED);
	expect_told(&late, "S0+2 S4+4 S9+7 S16+7! P0+2 P4+4! P9+7");

	convert_pages(0, 24, GMEM_PRIVATE);
	expect_told(&late, "");
	expect_in_step();
	stop();
}

static void refusal_while_removing_does_not_keep_it(void **state)
{
	(void)state;
	start_mixed(GMEM_IN_PLACE);
	refusing.refuse_private = PAGES(4, 1) | PAGES(16, 1);
	assert_int_equal(gmem_remove_listener(vm, &refusing.listener), -EBUSY);
	expect_told(&refusing, "P0+2 P4+4! P9+7 P16+7!");
	expect_picture_but(&refusing, PAGES(0, 2) | PAGES(9, 7));
	assert_int_equal(gmem_remove_listener(vm, &refusing.listener), -ENOENT);
	convert_pages(0, 24, GMEM_PRIVATE);
	expect_told(&refusing, "");
	expect_told(&last, "P0+2 P4+4 P9+7 P16+7");
	expect_in_step();
	stop();
}

/* ---- Bindings come and go --------------------------------------------------- */

static void bindings_tell_of_their_range_only(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_mixed(mechanism);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		expect_told(&last, "P0+2 P4+4");
		expect_told(&pictures[1], "( P0+2 P4+4 )");
		expect_all_pictures();
		/* Half of it, at another address. */
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA + 30 * PAGE, 3 * PAGE, 4 * PAGE, NULL), 0);
		expect_told(&last, "S31+3");
		expect_told(&pictures[1], "( S31+3 )");
		expect_all_pictures();

		assert_int_equal(gmem_exclude(vm, FAKE_GPA, PAGE, NULL), 0);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		assert_int_equal(gmem_bind(b, 2, FAKE_GPA, 0, PAGE, NULL), -EEXIST);
		expect_told(&last, "");
		gmem_destroy(a);
		a = NULL;
		expect_told(&last, "P9+7 P16+7");
		expect_all_pictures();
		remove_all();
		renew();
	}
}

static void nobody_is_told_of_what_is_not_bound(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct picture plain;
	enum gmem_mechanism mechanism;
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA + 2 * SLOT_SIZE, NULL), 0);
		picture_init(&plain, vm, 0, true);
		memcpy(plain.holds, pictures[0].holds, sizeof(plain.holds));
		assert_int_equal(gmem_add_listener(vm, &plain.listener), 0);
		picture_told(&pictures[0]);
		picture_told(&pictures[1]);

		/* Of all of it, pages 8 to 15 are bound, as guest pages 8 to 15. */
		assert_int_equal(gmem_convert(a, 0, 2 * SLOT_SIZE, GMEM_PRIVATE, NULL, NULL), 0);
		expect_told(&plain, "( P-+8 P8+8 )");
		expect_told(&pictures[0], "P8+8");
		expect_told(&pictures[1], "( P8+8 )");
		assert_int_equal(gmem_lookup(a, 0, &range), 0);
		assert_int_equal(range.attributes, GMEM_PRIVATE);
		assert_int_equal(range.gpa, GMEM_NO_GPA);

		assert_int_equal(gmem_convert(a, 0, 2 * PAGE, GMEM_SHARED, NULL, NULL), 0);
		expect_told(&plain, "( S-+2 )");
		expect_told(&pictures[0], "");
		expect_told(&pictures[1], "");

		/* Nor by an undo. */
		plain.refuse_shared = PAGES(9, 1);
		assert_int_equal(gmem_convert(a, 0, 2 * SLOT_SIZE, GMEM_SHARED, NULL, &result),
				 -EBUSY);
		assert_int_equal(result.where, SLOT_SIZE);
		assert_int_equal(result.left_size, 0);
		expect_told(&pictures[0], "S8+8 P8+8");
		expect_picture(&pictures[1]);

		assert_int_equal(gmem_bind(a, 3, FAKE_GPA + 2 * SLOT_SIZE, 0, SLOT_SIZE, NULL), 0);
		expect_told(&pictures[0], "S16+2");
		expect_picture(&pictures[0]);
		expect_picture(&pictures[1]);
		assert_int_equal(gmem_remove_listener(vm, &plain.listener), 0);
		renew();
	}
}

static void refusal_while_binding_leaves_no_slot(void **state)
{
	enum gmem_mechanism mechanism;
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	unsigned int at;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_mixed(mechanism);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		for (at = 0; at <= 4; at += 4) {
			forget_told();
			refusing.refuse_shared = PAGES(at, 1);
			refusing.nr_refused = 0;
			assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), -EBUSY);
			assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA, &range), -ENXIO);
			assert_false(fake.slots[1].used);
			assert_false(fake.vm_private[2]);
			expect_told(&pictures[0], "S0+2 S4+4 P0+2 P4+4");
			expect_told(&pictures[1], "( S0+2 S4+4 ) ( P0+2 P4+4 )");
			expect_told(&refusing, at ? "S0+2 S4+4! P0+2" : "S0+2!");
			expect_told(&last, "");
			expect_all_pictures();
		}

		/* The one that does not let go still holds it, and the others do not. */
		refusing.refuse_private = PAGES(0, 1);
		pictures[0].refuse_private = PAGES(4, 1);
		pictures[0].error = -ENODEV;
		refusing.nr_refused = 0;
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), -EBUSY);
		assert_false(fake.slots[1].used);
		expect_picture_but(&refusing, PAGES(0, 2));
		expect_picture_but(&pictures[0], PAGES(4, 4));
		expect_picture(&pictures[1]);
		expect_picture(&last);
		memset(refusing.holds, 0, 8);
		memset(pictures[0].holds, 0, 8);

		refusing.refuse_shared = refusing.refuse_private = pictures[0].refuse_private = 0;
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
		expect_told(&last, "S0+2 S4+4");
		expect_all_pictures();
		expect_in_step();
		remove_all();
		renew();
	}
}

static void refusal_while_unbinding_leaves_the_slot(void **state)
{
	enum gmem_mechanism mechanism;
	unsigned int at;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_mixed(mechanism);
		for (at = 0; at <= 4; at += 4) {
			forget_told();
			refusing.refuse_private = PAGES(at, 1);
			refusing.nr_refused = 0;
			assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -EBUSY);
			assert_true(fake.slots[1].used);
			expect_told(&pictures[0], "P0+2 P4+4 S0+2 S4+4");
			expect_told(&pictures[1], "( P0+2 P4+4 ) ( S0+2 S4+4 )");
			expect_told(&refusing, at ? "P0+2 P4+4! S0+2" : "P0+2!");
			expect_told(&last, "");
			expect_all_pictures();
			expect_in_step();
		}

		/* One does not take hold again, and the others do. */
		pictures[0].refuse_shared = PAGES(4, 1);
		pictures[0].error = -ENODEV;
		refusing.nr_refused = 0;
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -EBUSY);
		assert_true(fake.slots[1].used);
		expect_picture_but(&pictures[0], PAGES(4, 4));
		expect_picture(&pictures[1]);
		expect_picture(&refusing);
		expect_picture(&last);
		memset(pictures[0].holds + 4, 1, 4);

		refusing.refuse_private = pictures[0].refuse_shared = 0;
		convert_pages(0, 24, GMEM_PRIVATE);
		expect_in_step();
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		assert_false(fake.slots[1].used);
		remove_all();
		renew();
	}
}

static void refusal_does_not_keep_a_memory_that_is_destroyed(void **state)
{
	enum gmem_mechanism mechanism;
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	unsigned int before;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		before = open_files();
		start_mixed(mechanism);
		refusing.refuse_private = PAGES(0, 1);
		gmem_destroy(b);
		b = NULL;
		assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA, &range), -ENXIO);
		assert_false(fake.slots[1].used);
		assert_false(fake.vm_private[2]);
		expect_told(&pictures[0], "P0+2 P4+4");
		expect_told(&pictures[1], "( P0+2 P4+4 )");
		expect_told(&refusing, "P0+2! P4+4");
		expect_told(&last, "P0+2 P4+4");
		expect_picture_but(&refusing, PAGES(0, 2));

		/* Both of its slots. */
		memset(refusing.holds, 0, 2);
		refusing.refuse_private = PAGES(9, 1) | PAGES(16, 1);
		gmem_destroy(a);
		a = NULL;
		assert_false(fake.slots[2].used || fake.slots[3].used);
		expect_told(&refusing, "P9+7! P16+7!");
		expect_told(&last, "P9+7 P16+7");
		expect_picture(&last);
		assert_int_equal(gmem_remove_listener(vm, &refusing.listener), 0);
		stop();
		assert_int_equal(open_files(), before);
		fake_stop();
		fake_start();
	}
}

static void slot_that_is_not_made_is_held_by_nobody(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_mixed(mechanism);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		forget_told();
		fake_fail(CALL_SLOT, 0, 1, ENOSPC);
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), -ENOSPC);
		/* The slot comes last, as KVM may refuse to delete it. */
		expect_told(&pictures[0], "S0+2 S4+4 P0+2 P4+4");
		expect_told(&last, "S0+2 S4+4 P0+2 P4+4");
		expect_all_pictures();
		assert_false(fake.vm_private[2]);
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
		expect_told(&last, "S0+2 S4+4");
		expect_in_step();
		remove_all();
		renew();
	}
}

static void slot_that_stays_is_held_again(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_mixed(mechanism);
		fake_fail(CALL_SLOT, 0, 1, EPERM);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -EPERM);
		assert_true(fake.slots[1].used);
		expect_told(&pictures[0], "P0+2 P4+4 S0+2 S4+4");
		expect_told(&last, "P0+2 P4+4 S0+2 S4+4");
		expect_all_pictures();
		expect_in_step();

		/* The kernel's error counts, and one refusal does not stop the others. */
		refusing.refuse_shared = PAGES(0, 1);
		fake_fail(CALL_SLOT, 0, 1, ENOMEM);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -ENOMEM);
		expect_picture_but(&refusing, PAGES(0, 2));
		expect_picture(&last);
		expect_in_step();
		renew();
	}
}

/* KVM still has it, but not the library: nobody would ever be told to let go. */
static void memory_that_is_destroyed_is_held_by_nobody(void **state)
{
	static const int errors[] = { ENOMEM, EPERM, EIO };
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		start_mixed(GMEM_IN_PLACE);
		fake_fail(CALL_SLOT, 0, 1, errors[i]);
		gmem_destroy(b);
		b = NULL;
		expect_all_pictures();
		assert_int_equal(gmem_create(vm, SLOT_SIZE, NULL, &b), 0);
		assert_int_equal(gmem_bind(b, 4, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
		expect_all_pictures();
		remove_all();
		renew();
	}
}

const struct CMUnitTest replay_cases[] = {
	CASE(adding_replays_what_is_bound_and_shared),
	CASE(listener_that_does_not_ask_hears_of_conversions_only),
	CASE(nothing_shared_is_nothing_told),
	CASE(refusal_while_adding_is_undone),
	CASE(refusal_while_removing_does_not_keep_it),
	CASE(bindings_tell_of_their_range_only),
	CASE(nobody_is_told_of_what_is_not_bound),
	CASE(refusal_while_binding_leaves_no_slot),
	CASE(refusal_while_unbinding_leaves_the_slot),
	CASE(refusal_does_not_keep_a_memory_that_is_destroyed),
	CASE(slot_that_is_not_made_is_held_by_nobody),
	CASE(slot_that_stays_is_held_again),
	CASE(memory_that_is_destroyed_is_held_by_nobody),
	{},
};
