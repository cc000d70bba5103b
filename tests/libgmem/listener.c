// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What a listener must have, what it may do, and what one with gaps is told. */
#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "unit_vm.h"

static void listeners_grow_both_ways(void **state)
{
	struct { struct gmem_listener listener; uint64_t later; } newer = {
		.listener = {
			.struct_size = sizeof(newer),
			.before_private = before_private,
			.after_shared = after_shared,
		},
		.later = 1,
	};
	struct gmem_listener *listener = &newer.listener;

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_add_listener(vm, listener), -E2BIG);
	newer.later = 0;
	assert_int_equal(gmem_add_listener(vm, listener), 0);
	assert_int_equal(gmem_add_listener(vm, listener), -EEXIST);
	assert_int_equal(gmem_remove_listener(vm, listener), 0);
	assert_int_equal(gmem_remove_listener(vm, listener), -ENOENT);
	/* An older caller has the functions, and nothing after them. */
	listener->struct_size = offsetof(struct gmem_listener, arg);
	assert_int_equal(gmem_add_listener(vm, listener), 0);
	assert_int_equal(gmem_remove_listener(vm, listener), 0);
	listener->struct_size = offsetof(struct gmem_listener, after_shared);
	assert_int_equal(gmem_add_listener(vm, listener), -EINVAL);
	listener->struct_size = 0;
	assert_int_equal(gmem_add_listener(vm, listener), -EINVAL);
	/* The others are told as before. */
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	expect_in_step();
	stop();
}

static void unknown_flag_is_refused(void **state)
{
	struct picture p;
	unsigned int bit;

	(void)state;
	start(GMEM_IN_PLACE);
	for (bit = 0; bit < 64; bit++) {
		picture_init(&p, vm, 1ull << bit, false);
		assert_int_equal(gmem_add_listener(vm, &p.listener), bit < 2 ? 0 : -EINVAL);
		assert_int_equal(gmem_remove_listener(vm, &p.listener), bit < 2 ? 0 : -ENOENT);
	}
	stop();
}

/* What is beyond its size is neither a flag nor a function. */
static void older_caller_is_told_as_it_was(void **state)
{
	struct picture p;

	(void)state;
	start(GMEM_IN_PLACE);
	mix();
	picture_init(&p, vm, GMEM_LISTENER_REPLAY, true);
	p.listener.struct_size = offsetof(struct gmem_listener, flags);
	memcpy(p.holds, pictures[0].holds, sizeof(p.holds));
	assert_int_equal(gmem_add_listener(vm, &p.listener), 0);
	expect_told(&p, "");
	p.listener.begin = NULL;
	convert_pages(0, 2, GMEM_PRIVATE);
	expect_told(&p, "P0+2");
	expect_picture(&p);
	assert_int_equal(gmem_remove_listener(vm, &p.listener), 0);
	expect_told(&p, "");

	/* With flags, without functions around. */
	picture_init(&p, vm, GMEM_LISTENER_REPLAY, true);
	p.listener.struct_size = offsetof(struct gmem_listener, begin);
	assert_int_equal(gmem_add_listener(vm, &p.listener), 0);
	p.listener.begin = NULL;
	assert_int_equal(gmem_remove_listener(vm, &p.listener), 0);
	assert_null(strchr(p.told, '('));
	assert_null(strchr(p.told, ')'));
	stop();
}

/* ---- Looking up ------------------------------------------------------------- */

static unsigned int nr_looks;

/* Both lookups return what it is told, with the old state. */
static int look(struct gmem_listener *listener, const struct gmem_range *range)
{
	struct gmem_range by_gpa = GMEM_INIT(struct gmem_range), by_offset = by_gpa;

	(void)listener;
	nr_looks++;
	assert_int_equal(gmem_lookup_gpa(vm, range->gpa, &by_gpa), 0);
	assert_int_equal(gmem_lookup(range->gmem, range->offset, &by_offset), 0);
	assert_ptr_equal(by_gpa.gmem, range->gmem);
	assert_int_equal(by_gpa.offset, range->offset);
	assert_int_equal(by_offset.gpa, range->gpa);
	assert_true(by_gpa.size >= range->size && by_offset.size >= range->size);
	assert_int_equal(by_gpa.attributes, range->attributes);
	assert_int_equal(by_offset.attributes, range->attributes);
	return 0;
}

static void listener_may_look_up(void **state)
{
	struct gmem_listener listener = GMEM_INIT(struct gmem_listener);
	enum gmem_mechanism mechanism;

	(void)state;
	listener.before_private = look;
	listener.after_shared = look;
	listener.flags = GMEM_LISTENER_REPLAY;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		nr_looks = 0;
		mix();
		assert_int_equal(gmem_add_listener(vm, &listener), 0);
		assert_int_equal(nr_looks, 4);
		convert_pages(0, 24, GMEM_SHARED);
		assert_int_equal(nr_looks, 7);
		convert_pages(0, 24, GMEM_PRIVATE);
		assert_int_equal(nr_looks, 10);
		convert_pages(2, 2, GMEM_SHARED);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
		assert_int_equal(nr_looks, 13);
		/* Of an undo as well. */
		refuse(0, 8, -1);
		convert_pages(0, 24, GMEM_SHARED);
		assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, NULL, NULL), 0);
		assert_int_equal(convert_all(GMEM_PRIVATE, NULL), -EBUSY);
		assert_int_equal(gmem_remove_listener(vm, &listener), 0);
		renew();
	}
}

/* ---- Gaps --------------------------------------------------------------------- */

/* One with gaps, one without. */
static struct picture gaps, exact;

/* Every other page is private, from the first on. */
static void start_striped(enum gmem_mechanism mechanism)
{
	unsigned int page;

	start(mechanism);
	for (page = 0; page < 24; page += 2)
		convert_pages(page, 1, GMEM_PRIVATE);
	picture_init(&gaps, vm, GMEM_LISTENER_REPLAY | GMEM_LISTENER_GAPS, false);
	picture_init(&exact, vm, GMEM_LISTENER_REPLAY, false);
	assert_int_equal(gmem_add_listener(vm, &gaps.listener), 0);
	assert_int_equal(gmem_add_listener(vm, &exact.listener), 0);
	expect_picture(&gaps);
	expect_picture(&exact);
	picture_told(&gaps);
	picture_told(&exact);
}

#define STRIPES(way) \
	way "1+1 " way "3+1 " way "5+1 " way "7+1 " way "9+1 " way "11+1 " \
	way "13+1 " way "15+1 " way "17+1 " way "19+1 " way "21+1 " way "23+1"

static void gaps_are_told_once_for_each_part(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_striped(mechanism);
		convert_pages(0, 24, GMEM_PRIVATE);
		expect_told(&gaps, "P1+7 P9+7 P17+7");
		expect_told(&exact, STRIPES("P"));
		expect_in_step();
		expect_picture(&gaps);
		expect_picture(&exact);
		renew();

		/* To its end, and not beyond the request's; by offset, two parts of one memory. */
		start_striped(mechanism);
		convert_pages(2, 12, GMEM_PRIVATE);
		expect_told(&gaps, "P3+5 P9+5");
		assert_int_equal(gmem_convert(a, 7 * PAGE, 9 * PAGE, GMEM_PRIVATE, NULL, NULL), 0);
		expect_told(&gaps, "P23+1 P15+1");
		expect_in_step();
		expect_picture(&gaps);
		/* Nothing to let go of, and nothing to take twice. */
		convert_pages(3, 4, GMEM_PRIVATE);
		expect_told(&gaps, "");
		convert_pages(2, 3, GMEM_SHARED);
		convert_pages(0, 8, GMEM_SHARED);
		expect_told(&gaps, "S2+3 S0+1 S5+3");
		expect_picture(&gaps);
		renew();
	}
}

static void undo_is_exact_in_spite_of_gaps(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		/* The kernel refuses, after all have let go. */
		start_striped(mechanism);
		fail_conversion(ENOMEM);
		assert_int_equal(convert_all(GMEM_PRIVATE, NULL), -ENOMEM);
		expect_told(&gaps, "P1+7 P9+7 P17+7 " STRIPES("S"));
		expect_told(&exact, STRIPES("P") " " STRIPES("S"));
		expect_in_step();
		expect_picture(&gaps);
		expect_picture(&exact);

		/* It refuses itself, at the second part. */
		gaps.refuse_private = PAGES(13, 1);
		assert_int_equal(convert_all(GMEM_PRIVATE, NULL), -EBUSY);
		expect_told(&gaps, "P1+7 P9+7! S1+1 S3+1 S5+1 S7+1");
		expect_told(&exact, "");
		expect_in_step();
		expect_picture(&gaps);

		/* The one after it does, in the middle of a part of which it let go. */
		gaps.refuse_private = 0;
		exact.refuse_private = PAGES(11, 1);
		assert_int_equal(convert_all(GMEM_PRIVATE, NULL), -EBUSY);
		expect_told(&gaps, "P1+7 P9+7 P17+7 " STRIPES("S"));
		expect_told(&exact, "P1+1 P3+1 P5+1 P7+1 P9+1 P11+1! S1+1 S3+1 S5+1 S7+1 S9+1");
		expect_in_step();
		expect_picture(&gaps);
		expect_picture(&exact);

		/* Back to private it is told of what it took, too. */
		exact.refuse_private = 0;
		exact.nr_refused = 0;
		exact.refuse_shared = PAGES(8, 1);
		assert_int_equal(convert_all(GMEM_SHARED, NULL), -EBUSY);
		expect_told(&exact, "S0+1 S2+1 S4+1 S6+1 S8+1! P0+1 P2+1 P4+1 P6+1");
		expect_in_step();
		expect_picture(&gaps);
		expect_picture(&exact);
		renew();
	}
}

const struct CMUnitTest listener_cases[] = {
	CASE(listeners_grow_both_ways),
	CASE(unknown_flag_is_refused),
	CASE(older_caller_is_told_as_it_was),
	CASE(listener_may_look_up),
	CASE(gaps_are_told_once_for_each_part),
	CASE(undo_is_exact_in_spite_of_gaps),
	{},
};
