// SPDX-License-Identifier: GPL-2.0
/* The statistics of the VM: how KVM counts in-place conversions, exactly. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <linux/falloc.h>

#include "gmem_harness.h"
#include "gmem_util.h"

FIXTURE(count) {
	struct gmem_vm g;
	/* What the VM should have counted by now. */
	u64 counts[NR_COUNTS];
};

FIXTURE_SETUP(count)
{
	gmem_vm_create(&self->g, GMEM_PAGES, GMEM_IN_PLACE);
	memset(self->counts, 0, sizeof(self->counts));
}

FIXTURE_TEARDOWN(count)
{
	gmem_vm_destroy(&self->g);
}

/* Whoever touches a page first fills it, so PAGES_FILLED is compared only where it matters. */
static void expect_counts(struct gmem_vm *g, const u64 *counts)
{
	int i;

	for (i = 0; i < PAGES_FILLED; i++)
		TEST_ASSERT(gmem_count(g, i) == counts[i], "%s is %lu, should be %lu",
			    gmem_count_names[i], gmem_count(g, i), counts[i]);
}

TEST_F(count, each_direction_with_the_pages_that_change)
{
	struct gmem_vm *g = &self->g;
	u64 *counts = self->counts;

	expect_counts(g, counts);
	gmem_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 5;
	expect_counts(g, counts);

	/* Three of eight are private already. */
	gmem_convert(g, 5, 8, PRIVATE, ANY_TO_PRIVATE);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 5;
	expect_counts(g, counts);

	gmem_convert(g, 0, GMEM_PAGES, SHARED, ZERO);
	counts[CONVERSIONS_TO_SHARED] += 1;
	counts[PAGES_TO_SHARED] += 10;
	expect_counts(g, counts);
}

TEST_F(count, nothing_for_a_call_that_changes_nothing)
{
	struct gmem_vm *g = &self->g;
	u64 *counts = self->counts;

	gmem_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 5;

	gmem_convert(g, 3, 5, PRIVATE, ANY_TO_PRIVATE);
	gmem_convert(g, 4, 1, PRIVATE, ANY_TO_PRIVATE);
	gmem_convert(g, 9, 4, SHARED, ZERO);
	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + 3 * PAGE_SIZE, 5 * PAGE_SIZE,
				      PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	expect_counts(g, counts);

	/* Nor for an invalid one. */
	TEST_ASSERT_EQ(try_convert(g, 0, 0, PRIVATE, ANY_TO_PRIVATE, NULL), -EINVAL);
	TEST_ASSERT_EQ(try_convert(g, 0, GMEM_PAGES + 1, PRIVATE, ANY_TO_PRIVATE, NULL), -EINVAL);
	TEST_ASSERT_EQ(try_convert(g, 0, 1, PRIVATE, 3, NULL), -EINVAL);
	expect_counts(g, counts);
}

TEST_F(count, calls_on_the_vm)
{
	struct gmem_vm *g = &self->g;
	u64 *counts = self->counts;

	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, GMEM_GPA + PAGE_SIZE, 4 * PAGE_SIZE, PRIVATE,
				      ANY_TO_PRIVATE, NULL), 0);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 4;
	expect_counts(g, counts);

	/* What uses the VM's own attributes is not in place. */
	if (HAS_TWO_BACKINGS) {
		TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, 2 * GMEM_GPA, 4 * PAGE_SIZE, PRIVATE,
					      NONE, NULL), 0);
		expect_counts(g, counts);
	}
}

/* Pages of another file; the guest has its second half before its first. */
#define OTHER_PAGES	16

/* One conversion, however many memslots and files it covers; each page counts once. */
TEST_F(count, calls_on_the_vm_over_two_files_and_three_memslots)
{
	struct gmem_vm *g = &self->g, other;
	u64 *counts = self->counts;
	int pipefd[2];

	bind_other(g, &other, OTHER_PAGES, GMEM_PAGES, GMEM_SLOT + 1);
	TEST_ASSERT_EQ(try_convert(&other, 6, 4, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 4;
	expect_counts(g, counts);

	/* 3 pages of the first file; of the other file 8 and 7, of which 2 and 1 are private. */
	TEST_ASSERT_EQ(try_convert_gpa(g, 13, 3 + 8 + 7, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	counts[CONVERSIONS_TO_PRIVATE] += 1;
	counts[PAGES_TO_PRIVATE] += 3 + 6 + 6;
	expect_counts(g, counts);
	TEST_ASSERT_EQ(try_convert_gpa(g, 13, 3 + 8 + 7, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	expect_counts(g, counts);

	TEST_ASSERT_EQ(try_convert_gpa(g, 0, GMEM_PAGES + OTHER_PAGES, SHARED, ZERO, NULL), 0);
	counts[CONVERSIONS_TO_SHARED] += 1;
	counts[PAGES_TO_SHARED] += 3 + 8 + 8;
	expect_counts(g, counts);

	/* A page of the last memslot refuses: nothing has been converted or counted. */
	TEST_ASSERT_EQ(pin_in_pipe(other.mem + 2 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_convert_gpa(g, 0, GMEM_PAGES + OTHER_PAGES, PRIVATE, ANY_TO_PRIVATE,
				       NULL), -EAGAIN);
	counts[REFUSED_HELD] += 1;
	expect_counts(g, counts);
	unpin_pipe(pipefd);

	close_other(&other);
}

TEST_F(count, pages_that_are_held)
{
	struct gmem_vm *g = &self->g;
	int pipefd[2];

	TEST_ASSERT_EQ(pin_in_pipe(g->mem + 4 * PAGE_SIZE, pipefd), 0);
	TEST_ASSERT_EQ(try_convert(g, 0, 8, PRIVATE, ANY_TO_PRIVATE, NULL), -EAGAIN);
	self->counts[REFUSED_HELD]++;
	expect_counts(g, self->counts);
	unpin_pipe(pipefd);
}

TEST_F(count, pages_with_a_memory_error)
{
	struct gmem_vm *g = &self->g;

	host_write(g, 5, 'a');
	if (!poison_page(g, 5))
		SKIP(return, "MADV_HWPOISON needs CONFIG_MEMORY_FAILURE");

	TEST_ASSERT_EQ(try_convert(g, 0, 8, PRIVATE, ANY_TO_PRIVATE, NULL), -EHWPOISON);
	self->counts[REFUSED_POISON]++;
	expect_counts(g, self->counts);
}

#define IGNORE_WAIT	"/sys/kernel/debug/failslab/ignore-gfp-wait"

TEST_F(count, calls_without_memory)
{
	int fail_nth = open("/proc/thread-self/fail-nth", O_RDWR);
	int knob = open(IGNORE_WAIT, O_RDONLY);
	struct gmem_vm *g = &self->g;
	char before[2] = {};
	int r, armed = 0;

	if (fail_nth < 0 || knob < 0 || read(knob, before, 1) != 1) {
		close(fail_nth);
		close(knob);
		SKIP(return, "needs root, debugfs and CONFIG_FAILSLAB");
	}

	/* Whatever happens, restore the settings for others. */
	r = write_file(IGNORE_WAIT, "N");
	if (!r)
		armed = pwrite(fail_nth, "1", 1, 0);
	if (armed == 1)
		r = try_convert(g, 3, 1, PRIVATE, ANY_TO_PRIVATE, NULL);
	pwrite(fail_nth, "0", 1, 0);
	write_file(IGNORE_WAIT, before);
	close(fail_nth);
	close(knob);
	TEST_ASSERT(r == -ENOMEM, "The call should fail with ENOMEM: %s", strerror(-r));
	self->counts[REFUSED_MEMORY]++;
	expect_counts(g, self->counts);
}

/* Outside of files only NONE is supported, whatever the architecture. */
TEST_F(count, policies_that_are_not_there)
{
	struct gmem_vm *g = &self->g;

	TEST_ASSERT_EQ(__gmem_convert(g->vm->fd, 2 * GMEM_GPA, PAGE_SIZE, SHARED, ZERO, NULL),
		       -EOPNOTSUPP);
	self->counts[REFUSED_POLICY]++;
	expect_counts(g, self->counts);

	if (!policy_works(PRIVATE, ZERO)) {
		TEST_ASSERT_EQ(try_convert(g, 0, 1, PRIVATE, ZERO, NULL), -EOPNOTSUPP);
		self->counts[REFUSED_POLICY]++;
		expect_counts(g, self->counts);
	}
}

TEST_F(count, pages_that_the_guest_keeps)
{
	struct gmem_vm *g = &self->g;

	ONLY_IF(GUEST_DECIDES);
	TEST_ASSERT_EQ(try_convert(g, 2, 1, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
	self->counts[CONVERSIONS_TO_PRIVATE]++;
	self->counts[PAGES_TO_PRIVATE]++;
	guest_write(g, 2, 'a');
	TEST_ASSERT_EQ(try_convert(g, 2, 1, SHARED, ZERO, NULL), -EPERM);
	self->counts[REFUSED_CONSENT]++;
	expect_counts(g, self->counts);
}

TEST_F(count, pages_that_are_filled)
{
	struct gmem_vm *g = &self->g;
	u64 before = gmem_count(g, PAGES_FILLED);

	host_write(g, 2, 'a');
	TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);
	host_write(g, 2, 'b');
	kvm_fallocate(g->fd, FALLOC_FL_KEEP_SIZE, 4 * PAGE_SIZE, 2 * PAGE_SIZE);
	TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);

	/*
	 * After PRESERVE nothing is left to fill; after ZERO there is, unless a mapping has
	 * stayed.
	 */
	gmem_convert(g, 2, 1, PRIVATE, PRESERVE);
	gmem_convert(g, 2, 1, SHARED, PRESERVE);
	TEST_ASSERT_EQ(host_read(g, 2), 'b');
	TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);
	if (!GUEST_DECIDES) {
		gmem_convert(g, 2, 1, PRIVATE, ZERO);
		TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 1);
		TEST_ASSERT_EQ(guest_read(g, 2), 0);
		TEST_ASSERT_EQ(gmem_count(g, PAGES_FILLED), before + 2);
	}
}

/* Several files of one VM at once: every conversion is counted. */
#define NR_THREADS	4
#define NR_ROUNDS	2000

static void *convert_to_and_fro(void *data)
{
	struct gmem_vm f = { .fd = *(int *)data };
	int i;

	for (i = 0; i < NR_ROUNDS; i++) {
		TEST_ASSERT_EQ(try_convert(&f, 0, 3, PRIVATE, ANY_TO_PRIVATE, NULL), 0);
		TEST_ASSERT_EQ(try_convert(&f, 0, 3, SHARED, ZERO, NULL), 0);
	}

	return NULL;
}

TEST_F(count, calls_side_by_side)
{
	pthread_t threads[NR_THREADS];
	int fds[NR_THREADS], i;

	for (i = 0; i < NR_THREADS; i++) {
		fds[i] = vm_create_guest_memfd(self->g.vm, 4 * PAGE_SIZE, GMEM_IN_PLACE);
		pthread_create(&threads[i], NULL, convert_to_and_fro, &fds[i]);
	}
	for (i = 0; i < NR_THREADS; i++) {
		pthread_join(threads[i], NULL);
		close(fds[i]);
	}
	self->counts[CONVERSIONS_TO_PRIVATE] = NR_THREADS * NR_ROUNDS;
	self->counts[CONVERSIONS_TO_SHARED] = NR_THREADS * NR_ROUNDS;
	self->counts[PAGES_TO_PRIVATE] = 3 * NR_THREADS * NR_ROUNDS;
	self->counts[PAGES_TO_SHARED] = 3 * NR_THREADS * NR_ROUNDS;
	expect_counts(&self->g, self->counts);
}

TEST_HARNESS_MAIN
