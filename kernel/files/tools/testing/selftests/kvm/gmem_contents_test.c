// SPDX-License-Identifier: GPL-2.0
/* What a page contains after a conversion: each policy in each direction, from both sides. */
#include <sys/mman.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_util.h"

/* A letter that identifies page and step, and is neither 0 nor what NONE leaves on x86. */
static u8 letter_of(int step, u64 page)
{
	return 1 + (step * GMEM_PAGES + page) % 0xa0;
}

/* The policy itself, or one that works if this one does not in this direction. */
static u64 or_any_to_private(u64 policy)
{
	return policy_works(PRIVATE, policy) ? policy : ANY_TO_PRIVATE;
}

GMEM_FIXTURE(contents, GMEM_PAGES)

FIXTURE_VARIANT(contents) {
	u64 policy;
};

FIXTURE_VARIANT_ADD(contents, zero) { .policy = ZERO };
FIXTURE_VARIANT_ADD(contents, preserve) { .policy = PRESERVE };
FIXTURE_VARIANT_ADD(contents, none) { .policy = NONE };

TEST_F(contents, guest_reads_after_to_private)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	ONLY_IF(policy_works(PRIVATE, variant->policy));
	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter_of(1, i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, variant->policy);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(guest_read(g, i), expected(variant->policy, letter_of(1, i)));
}

TEST_F(contents, host_reads_after_to_shared)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	for (i = 0; i < GMEM_PAGES; i++)
		guest_write(g, i, letter_of(2, i));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(host_read(g, i), expected(variant->policy, letter_of(2, i)));
}

TEST_F(contents, guest_and_host_agree_after_to_shared)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	guest_write(g, 3, 'p');
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	TEST_ASSERT_EQ(guest_read(g, 3), expected(variant->policy, 'p'));
	TEST_ASSERT_EQ(host_read(g, 3), expected(variant->policy, 'p'));
	guest_write(g, 3, 'q');
	TEST_ASSERT_EQ(host_read(g, 3), 'q');
	host_write(g, 3, 'r');
	TEST_ASSERT_EQ(guest_read(g, 3), 'r');
}

TEST_F(contents, never_allocated_pages_follow_the_rule)
{
	u64 to_private = or_any_to_private(variant->policy);
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, to_private);
	TEST_ASSERT_EQ(guest_read(g, 5), expected(to_private, 0));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	TEST_ASSERT_EQ(host_read(g, 9), expected(variant->policy, 0));
}

TEST_F(contents, allocated_and_never_read_pages_follow_the_rule)
{
	u64 to_private = or_any_to_private(variant->policy);
	struct gmem_vm *g = &self->g;

	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 0, GMEM_PAGES * PAGE_SIZE);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, to_private);
	TEST_ASSERT_EQ(guest_read(g, 5), expected(to_private, 0));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	TEST_ASSERT_EQ(host_read(g, 9), expected(variant->policy, 0));
}

TEST_F(contents, page_in_the_requested_state_keeps_its_bytes)
{
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter_of(1, i));
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(host_read(g, i), letter_of(1, i));

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, ANY_TO_PRIVATE);
	for (i = 0; i < GMEM_PAGES; i++)
		guest_write(g, i, letter_of(2, i));
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, or_any_to_private(variant->policy));
	for (i = 0; i < GMEM_PAGES; i++)
		TEST_ASSERT_EQ(guest_read(g, i), letter_of(2, i));
}

TEST_F(contents, mixed_range_changes_only_what_differs)
{
	u64 to_private = or_any_to_private(variant->policy);
	struct gmem_vm *g = &self->g;
	u64 i;

	for (i = 0; i < GMEM_PAGES; i++)
		host_write(g, i, letter_of(1, i));
	for (i = 1; i < GMEM_PAGES; i += 2) {
		gmem_convert(g, i, 1, PRIVATE, ANY_TO_PRIVATE);
		guest_write(g, i, letter_of(2, i));
	}

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, to_private);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(guest_read(g, i), i % 2 ? letter_of(2, i) :
			       expected(to_private, letter_of(1, i)));

	for (i = 0; i < GMEM_PAGES; i += 2) {
		gmem_convert(g, i, 1, SHARED, PRESERVE);
		host_write(g, i, letter_of(3, i));
	}
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	for (i = GMEM_PAGES; i-- > 0; )
		TEST_ASSERT_EQ(host_read(g, i), i % 2 ?
			       expected(variant->policy, letter_of(2, i)) : letter_of(3, i));
}

TEST_F(contents, hole_reads_zeros_and_keeps_its_attribute)
{
	struct gmem_vm *g = &self->g;

	ONLY_IF(LOST_PAGES_COME_BACK);
	host_write(g, 4, 'a');
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, variant->policy);
	guest_read(g, 4);
	punch_hole(g, 4, 2);
	expect_state(g, 0, GMEM_PAGES, PRIVATE);
	TEST_ASSERT_EQ(guest_read(g, 4), 0);
	TEST_ASSERT_EQ(guest_read(g, 5), 0);
	TEST_ASSERT_EQ(guest_read(g, 6), expected(variant->policy, 0));

	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	punch_hole(g, 4, 2);
	expect_state(g, 0, GMEM_PAGES, SHARED);
	TEST_ASSERT_EQ(host_read(g, 4), 0);
	TEST_ASSERT_EQ(host_read(g, 5), 0);
	TEST_ASSERT_EQ(host_read(g, 7), expected(variant->policy, 0));

	/* The other way to punch a hole, which takes the mapping instead of the file. */
	host_write(g, 8, 'b');
	TEST_ASSERT_EQ(madvise(g->mem + 8 * PAGE_SIZE, PAGE_SIZE, MADV_REMOVE), 0);
	expect_state(g, 8, 1, SHARED);
	TEST_ASSERT_EQ(host_read(g, 8), 0);
	TEST_ASSERT_EQ(guest_read(g, 8), 0);
}

TEST_F(contents, last_policy_counts)
{
	struct gmem_vm *g = &self->g;

	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, NONE);
	gmem_convert(g, 0, GMEM_PAGES, SHARED, variant->policy);
	/* PRESERVE keeps what NONE has left. */
	TEST_ASSERT_EQ(host_read(g, 2), expected(variant->policy, expected(NONE, 0)));
}

GMEM_FIXTURE(frame, GMEM_PAGES)

TEST_F(frame, preserve_keeps_the_physical_page)
{
	struct gmem_vm *g = &self->g;
	u64 pfn;

	host_write(g, 7, 'a');
	pfn = pfn_of(g, 7);
	gmem_convert(g, 0, GMEM_PAGES, PRIVATE, PRESERVE);
	TEST_ASSERT_EQ(guest_read(g, 7), 'a');
	guest_write(g, 7, 'b');
	gmem_convert(g, 0, GMEM_PAGES, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 7), 'b');
	TEST_ASSERT_EQ(pfn_of(g, 7), pfn);
}

TEST_HARNESS_MAIN
