// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Requests that cover more than memory: MMIO, excluded ranges, gaps.  To shared, such addresses
 * are shared already and the memory between them converts; to private they are refused.
 */
#include <errno.h>
#include <string.h>

#include "kvm_abi.h"
#include "unit_vm.h"

/* Guest pages: b 0 to 7, nothing, a 16 to 23, excluded 24 to 27, nothing. */
#define NOTHING_AT	(FAKE_GPA + SLOT_SIZE)
#define EXCLUDED_AT	(FAKE_GPA + ALL)

static void start_with_a_gap(enum gmem_mechanism mechanism)
{
	start(mechanism);
	assert_int_equal(gmem_unbind(vm, NOTHING_AT, NULL), 0);
	assert_int_equal(gmem_exclude(vm, EXCLUDED_AT, 4 * PAGE, NULL), 0);
	memset(fake.trace, 0, sizeof(fake.trace));
	picture_told(&pictures[0]);
	picture_told(&pictures[1]);
}

static void expect_state(unsigned int page, bool is_private)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA + page * PAGE, &range), 0);
	assert_int_equal(range.attributes, is_private ? GMEM_PRIVATE : GMEM_SHARED);
	assert_int_equal(kernel_private(FAKE_GPA + page * PAGE), is_private);
}

static int ask_hypercall(uint64_t gpa, uint64_t nr_pages, uint64_t *answer)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_HYPERCALL };
	int r;

	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run.hypercall.args[0] = gpa;
	run.hypercall.args[1] = nr_pages;
	run.hypercall.ret = 99;
	r = gmem_handle_exit(vm, &run, 0, NULL, NULL);
	*answer = run.hypercall.ret;
	return r;
}

static void what_is_no_memory_is_shared_already(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	uint64_t answer;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_with_a_gap(mechanism);
		/* 1.5 GiB of MMIO, as TDVF asks for. */
		assert_int_equal(ask_hypercall(0x80000000, 393216, &answer), 0);
		assert_int_equal(answer, 0);
		assert_int_equal(ask_hypercall(EXCLUDED_AT, 4, &answer), 0);
		assert_int_equal(answer, 0);
		assert_int_equal(gmem_convert_gpa(vm, NOTHING_AT, SLOT_SIZE, GMEM_SHARED, NULL,
						  &result), 0);
		assert_int_equal(result.step, GMEM_STEP_DONE);
		/* The kernel is not asked, and nobody is told. */
		trace_is("");
		expect_told(&pictures[0], "");
		stop();
		fake_stop();
		fake_start();
	}
}

static void memory_in_a_range_becomes_shared(void **state)
{
	enum gmem_mechanism mechanism;
	uint64_t answer;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_with_a_gap(mechanism);
		convert_pages(6, 2, GMEM_PRIVATE);
		convert_pages(16, 1, GMEM_PRIVATE);
		convert_pages(23, 1, GMEM_PRIVATE);
		picture_told(&pictures[0]);
		/* From before the first memory to after what is excluded. */
		assert_int_equal(ask_hypercall(FAKE_GPA - 16 * PAGE, 64, &answer), 0);
		assert_int_equal(answer, 0);
		expect_state(6, false);
		expect_state(16, false);
		expect_state(23, false);
		expect_told(&pictures[0], "S6+2 S16+1 S23+1");
		expect_picture(&pictures[0]);
		expect_picture(&pictures[1]);
		stop();
		fake_stop();
		fake_start();
	}
}

/* The kernel is not called for the gap, which has other policies, or is the caller's. */
static void each_piece_between_gaps_is_one_call(void **state)
{
	(void)state;
	start_with_a_gap(GMEM_IN_PLACE);
	assert_int_equal(gmem_bind(a, 2, NOTHING_AT, SLOT_SIZE, SLOT_SIZE, NULL), 0);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
	convert_pages(9, 10, GMEM_PRIVATE);
	memset(fake.trace, 0, sizeof(fake.trace));
	/* Two slots without a gap between them. */
	convert_pages(0, 40, GMEM_SHARED);
	trace_is("cSSTT");
	assert_int_equal(gmem_unbind(vm, NOTHING_AT, NULL), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	convert_pages(3, 1, GMEM_PRIVATE);
	memset(fake.trace, 0, sizeof(fake.trace));
	convert_pages(0, 40, GMEM_SHARED);
	trace_is("ccST");
	stop();
}

static void error_after_a_gap_undoes_what_is_before_it(void **state)
{
	static const int errors[] = { ENOMEM, EHWPOISON, EPERM };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	size_t i;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		for (i = 0; i < sizeof(errors) / sizeof(errors[0]); i++) {
			start_with_a_gap(mechanism);
			convert_pages(0, 8, GMEM_PRIVATE);
			convert_pages(16, 8, GMEM_PRIVATE);
			fake_fail(mechanism == GMEM_TWO_BACKINGS ? CALL_ATTRIBUTES : CALL_CONVERT,
				  1, 1, errors[i]);
			assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA - PAGE, 40 * PAGE,
							  GMEM_SHARED, NULL, &result), -errors[i]);
			assert_int_equal(result.step, GMEM_STEP_CONVERT);
			assert_true(result.where >= FAKE_GPA + 16 * PAGE);
			assert_int_equal(result.left_size, 0);
			expect_state(0, true);
			expect_state(7, true);
			expect_state(16, true);
			expect_picture(&pictures[0]);
			expect_picture(&pictures[1]);
			stop();
			fake_stop();
			fake_start();
		}
	}
}

static void to_private_it_is_refused(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_with_a_gap(mechanism);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result),
				 -ENXIO);
		assert_int_equal(result.where, NOTHING_AT);
		assert_int_equal(result.step, GMEM_STEP_CHECK);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 16 * PAGE, SLOT_SIZE + PAGE,
						  GMEM_PRIVATE, NULL, &result), -EPERM);
		assert_int_equal(result.where, EXCLUDED_AT);
		trace_is("");
		expect_picture(&pictures[0]);
		stop();
		fake_stop();
		fake_start();
	}
}

const struct CMUnitTest beside_cases[] = {
	CASE(what_is_no_memory_is_shared_already),
	CASE(memory_in_a_range_becomes_shared),
	CASE(each_piece_between_gaps_is_one_call),
	CASE(error_after_a_gap_undoes_what_is_before_it),
	CASE(to_private_it_is_refused),
	{},
};
