// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * begin() and commit() enclose what belongs together for a listener, which refuses all or
 * nothing.
 */
#include <errno.h>
#include <string.h>

#include "unit_vm.h"

/* Told in this order, after the listeners of start(). */
static struct picture first, batched, last;

static void start_batched(enum gmem_mechanism mechanism)
{
	start(mechanism);
	mix();
	picture_init(&first, vm, GMEM_LISTENER_REPLAY, true);
	picture_init(&batched, vm, GMEM_LISTENER_REPLAY, true);
	picture_init(&last, vm, GMEM_LISTENER_REPLAY, true);
	assert_int_equal(gmem_add_listener(vm, &first.listener), 0);
	assert_int_equal(gmem_add_listener(vm, &batched.listener), 0);
	assert_int_equal(gmem_add_listener(vm, &last.listener), 0);
	expect_told(&batched, "( " MIXED " )");
	picture_told(&first);
	picture_told(&last);
	picture_told(&pictures[0]);
	picture_told(&pictures[1]);
}

static void expect_all(void)
{
	expect_picture(&first);
	expect_picture(&batched);
	expect_picture(&last);
	expect_in_step();
}

static void batch_is_around_what_is_told(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_batched(mechanism);
		convert_pages(0, 24, GMEM_SHARED);
		expect_told(&batched, "( S2+2 S8+1 S23+1 )");
		convert_pages(3, 10, GMEM_PRIVATE);
		expect_told(&batched, "( P3+5 P8+5 )");
		/* Once for all bindings, and not at all where nothing changes. */
		convert_pages(3, 10, GMEM_PRIVATE);
		assert_int_equal(gmem_convert(a, 0, 4 * PAGE, GMEM_SHARED, NULL, NULL), 0);
		assert_int_equal(gmem_exclude(vm, FAKE_GPA + ALL, PAGE, NULL), 0);
		expect_told(&batched, "");
		assert_int_equal(gmem_unbind(vm, FAKE_GPA + SLOT_SIZE, NULL), 0);
		expect_told(&batched, "( P13+3 )");
		assert_int_equal(gmem_convert(a, SLOT_SIZE, SLOT_SIZE, GMEM_PRIVATE, NULL, NULL),
				 0);
		assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE, NULL), 0);
		expect_told(&batched, "");
		assert_int_equal(gmem_remove_listener(vm, &batched.listener), 0);
		expect_told(&batched, "( P0+3 P16+8 )");
		expect_told(&batched, "");
		renew();
	}
}

static void either_function_can_be_absent(void **state)
{
	struct picture p;

	(void)state;
	start(GMEM_IN_PLACE);
	mix();
	picture_init(&p, vm, GMEM_LISTENER_REPLAY, true);
	p.listener.commit = NULL;
	assert_int_equal(gmem_add_listener(vm, &p.listener), 0);
	assert_int_equal(gmem_remove_listener(vm, &p.listener), 0);
	assert_string_equal(p.told, "( " MIXED " ( P0+2 P4+4 P9+7 P16+7");
	stop();
}

/* ---- One refuses a conversion -------------------------------------------------- */

enum refusal { BEGIN, RANGE, COMMIT };

static void let_refuse(struct picture *p, enum refusal how, bool to_private, unsigned int page)
{
	p->nr_refused = 0;
	p->refuse_begin[to_private] = how == BEGIN;
	p->refuse_commit[to_private] = how == COMMIT;
	*(to_private ? &p->refuse_private : &p->refuse_shared) = how == RANGE ? PAGES(page, 1) : 0;
}

static void let_agree(struct picture *p)
{
	let_refuse(p, BEGIN, false, 0);
	let_refuse(p, BEGIN, true, 0);
	memset(p->refuse_begin, 0, sizeof(p->refuse_begin));
}

/* Nothing is undone for it, as it has taken back everything; the others are told. */
static void refusal_is_whole(void **state)
{
	static const char *const to_private[] = {
		"(!", "( P0+2 P4+4 P9+7!", "( P0+2 P4+4 P9+7 P16+7 )!",
	};
	static const char *const to_shared[] = {
		"(!", "( S2+2 S8+1!", "( S2+2 S8+1 S23+1 )!",
	};
	/* A refusal of the whole is reported at the lowest address. */
	static const uint64_t private_at[] = { 0, 9, 0 }, shared_at[] = { 2, 8, 2 };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	enum refusal how;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		for (how = BEGIN; how <= COMMIT; how++) {
			start_batched(mechanism);
			let_refuse(&batched, how, true, 9);
			assert_int_equal(convert_all(GMEM_PRIVATE, &result), -EBUSY);
			assert_int_equal(result.step, GMEM_STEP_BEFORE_PRIVATE);
			assert_int_equal(result.where, FAKE_GPA + private_at[how] * PAGE);
			assert_int_equal(result.left_size, 0);
			assert_int_equal(result.undo_error, 0);
			expect_told(&batched, to_private[how]);
			expect_told(&last, "");
			expect_told(&pictures[0], "P0+2 P4+4 P9+7 P16+7 S0+2 S4+4 S9+7 S16+7");
			expect_all();

			let_agree(&batched);
			let_refuse(&batched, how, false, 8);
			picture_told(&pictures[0]);
			assert_int_equal(convert_all(GMEM_SHARED, &result), -EBUSY);
			assert_int_equal(result.step, GMEM_STEP_AFTER_SHARED);
			assert_int_equal(result.where, FAKE_GPA + shared_at[how] * PAGE);
			assert_int_equal(result.left_size, 0);
			assert_int_equal(result.undo_error, 0);
			expect_told(&batched, to_shared[how]);
			expect_told(&last, "");
			expect_told(&pictures[0], "S2+2 S8+1 S23+1 P2+2 P8+1 P23+1");
			expect_all();
			renew();
		}
	}
}

/* Those that have agreed are told the opposite, in batches again, if another one refuses. */
static void agreement_is_undone_in_batches(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_batched(mechanism);
		fail_conversion(EIO);
		assert_int_equal(convert_all(GMEM_PRIVATE, NULL), -EIO);
		assert_string_equal(last.wrong, "");
		expect_all();

		let_refuse(&last, RANGE, false, 23);
		assert_int_equal(convert_all(GMEM_SHARED, NULL), -EBUSY);
		expect_all();
		renew();
	}
}

/*
 * If one does not let go, in any function, it still holds the range, which stays shared for
 * all.
 */
static void undo_that_is_refused_stays_shared(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum refusal how;

	(void)state;
	for (how = BEGIN; how <= COMMIT; how++) {
		start_batched(GMEM_IN_PLACE);
		let_refuse(&last, COMMIT, false, 0);
		let_refuse(&batched, how, true, 8);
		batched.error = -ENODEV;
		assert_int_equal(convert_all(GMEM_SHARED, &result), -EBUSY);
		assert_int_equal(result.undo_error, -ENODEV);
		/* By ranges, of which begin() and commit() know nothing. */
		assert_int_equal(result.left, FAKE_GPA + (how == RANGE ? 8 : 2) * PAGE);
		assert_int_equal(result.left_size, (how == RANGE ? 1 : 22) * PAGE);
		expect_picture(&first);
		expect_picture(&batched);
		/* It was asked again, and had the same answer. */
		expect_picture_but(&last, how == RANGE ? PAGES(8, 1) :
				   PAGES(2, 2) | PAGES(8, 1) | PAGES(23, 1));
		renew();
	}
}

/* ---- One refuses a listener or a binding ------------------------------------------ */

static void refusal_while_adding_is_whole(void **state)
{
	static const char *const told[] = {
		"(!", "( S0+2 S4+4 S9+7!", "( " MIXED " )!",
	};
	const bool nothing[FAKE_PAGES] = {};
	struct picture p;
	enum refusal how;

	(void)state;
	for (how = BEGIN; how <= COMMIT; how++) {
		start_batched(GMEM_IN_PLACE);
		picture_init(&p, vm, GMEM_LISTENER_REPLAY, true);
		let_refuse(&p, how, false, 9);
		assert_int_equal(gmem_add_listener(vm, &p.listener), -EBUSY);
		expect_told(&p, told[how]);
		assert_memory_equal(p.holds, nothing, sizeof(nothing));
		assert_int_equal(gmem_remove_listener(vm, &p.listener), -ENOENT);
		renew();
	}
}

static void refusal_while_binding_is_whole(void **state)
{
	static const char *const bound[] = { "(!", "( S0+2 S4+4!", "( S0+2 S4+4 )!" };
	static const char *const unbound[] = { "(!", "( P0+2 P4+4!", "( P0+2 P4+4 )!" };
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	enum refusal how;

	(void)state;
	for (how = BEGIN; how <= COMMIT; how++) {
		start_batched(GMEM_IN_PLACE);
		let_refuse(&batched, how, true, 4);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -EBUSY);
		assert_true(fake.slots[1].used);
		expect_told(&first, "( P0+2 P4+4 ) ( S0+2 S4+4 )");
		expect_told(&batched, unbound[how]);
		expect_told(&last, "");
		expect_all();

		let_agree(&batched);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		let_refuse(&batched, how, false, 4);
		picture_told(&first);
		picture_told(&batched);
		picture_told(&last);
		assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), -EBUSY);
		assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA, &range), -ENXIO);
		assert_false(fake.slots[1].used);
		expect_told(&first, "( S0+2 S4+4 ) ( P0+2 P4+4 )");
		expect_told(&batched, bound[how]);
		expect_told(&last, "");
		expect_picture(&first);
		expect_picture(&batched);
		expect_picture(&last);
		renew();
	}
}

/*
 * If anything continues, it does in another batch: a refusal has ended the batch that it
 * was in, which is not committed.
 */
static void what_goes_on_is_no_batch_that_was_refused(void **state)
{
	enum refusal how;

	(void)state;
	for (how = BEGIN; how <= COMMIT; how++) {
		start_batched(GMEM_IN_PLACE);
		let_refuse(&first, how, true, 4);
		let_refuse(&batched, how, true, 9);
		assert_int_equal(gmem_remove_listener(vm, &batched.listener), -EBUSY);
		assert_string_equal(batched.wrong, "");
		assert_int_equal(gmem_remove_listener(vm, &batched.listener), -ENOENT);

		gmem_destroy(b);
		b = NULL;
		assert_false(fake.slots[1].used);
		assert_string_equal(first.wrong, "");
		expect_told(&last, "( P0+2 P4+4 )");

		/* Nor in an undo. */
		let_agree(&first);
		let_refuse(&first, how, false, 9);
		let_refuse(&last, RANGE, true, 15);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA + SLOT_SIZE, NULL), -EBUSY);
		assert_string_equal(first.wrong, "");
		expect_picture(&last);
		renew();
	}
}

const struct CMUnitTest batch_cases[] = {
	CASE(batch_is_around_what_is_told),
	CASE(either_function_can_be_absent),
	CASE(refusal_is_whole),
	CASE(agreement_is_undone_in_batches),
	CASE(undo_that_is_refused_stays_shared),
	CASE(refusal_while_adding_is_whole),
	CASE(refusal_while_binding_is_whole),
	CASE(what_goes_on_is_no_batch_that_was_refused),
	{},
};
