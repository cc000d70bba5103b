// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* An adopted memory has the states that the caller gave, or that the kernel has. */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "own.h"

static void states_are_as_told(void **state)
{
	static const uint64_t patterns[] = { 0, 0xffff, 1, 0x8000, 0x5555, 0x0ff0, 0xfe7f };
	enum gmem_mechanism mechanism;
	unsigned int page;
	size_t i;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		for (i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
			/* What is after the last page is nobody's. */
			uint64_t told = patterns[i] | (i % 2 ? ~0xffffull : 0);

			start_own(mechanism);
			opts.private_pages = &told;
			opts.attributes = i % 3 ? GMEM_PRIVATE : GMEM_SHARED;
			assert_int_equal(adopt(), 0);
			assert_int_equal(private_pages(), patterns[i]);
			/* With two backings they become the VM's. */
			assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
			for (page = 0; page < NR_PAGES; page++)
				assert_int_equal(fake.vm_private[page],
						 !in_place() && (patterns[i] >> page & 1));
			stop_own();
		}
		start_own(mechanism);
		opts.attributes = GMEM_PRIVATE;
		assert_int_equal(adopt(), 0);
		assert_int_equal(private_pages(), 0xffff);
		gmem_destroy(gmem);
		assert_int_equal(gmem_adopt(vm, SIZE, own.private_fd, own.shared_fd, NULL, &gmem), 0);
		assert_int_equal(private_pages(), 0);
		stop_own();
	}
}

/* More than a word, and more than a chunk of the states. */
static void many_pages_are_as_told(void **state)
{
	const uint64_t nr = 40000;
	static uint64_t told[625];
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	uint64_t at, page;
	int fd, shared;

	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	for (page = 0; page < nr; page++) {
		if (page % 300 < 200 || page > 35000)
			told[page / 64] |= 1ull << (page % 64);
	}
	fd = make_guest_memfd(nr * PAGE, 0);
	shared = memfd_create("many", MFD_CLOEXEC);
	assert_int_equal(ftruncate(shared, nr * PAGE), 0);
	opts.hva = NULL;
	opts.private_pages = told;
	assert_int_equal(gmem_adopt(vm, nr * PAGE, fd, shared, &opts, &gmem), 0);
	for (at = 0; at < nr * PAGE; at += range.size) {
		assert_int_equal(gmem_lookup(gmem, at, &range), 0);
		for (page = at / PAGE; page < (at + range.size) / PAGE; page++)
			assert_int_equal(range.attributes == GMEM_PRIVATE,
					 page % 300 < 200 || page > 35000);
	}
	close(fd);
	close(shared);
	stop_own();
}

static void states_are_the_kernels(void **state)
{
	enum gmem_mechanism mechanism;
	struct fake_file *file;
	unsigned int page;

	(void)state;
	for (mechanism = GMEM_IN_PLACE_PLAIN; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start_own(mechanism);
		file = fake_file(own.private_fd);
		for (page = 0; page < NR_PAGES; page++)
			file->is_private[page] = page % 3 == 1 || page > 12;
		opts.flags = GMEM_ASK_KERNEL;
		/* Which was wrong. */
		opts.attributes = GMEM_PRIVATE;
		assert_int_equal(adopt(), 0);
		assert_int_equal(private_pages(), 0xe492);
		assert_int_equal(gmem_verify(gmem, NULL), 0);
		/* Nobody is told of it before it is bound. */
		expect_told(&picture, "");
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
		expect_picture(&picture);
		gmem_destroy(gmem);

		/* A part of the file, which ends in the middle of a range. */
		file->is_private[14] = file->is_private[15] = false;
		assert_int_equal(gmem_adopt(vm, 15 * PAGE, own.private_fd, -1, &opts, &gmem), 0);
		assert_int_equal(private_pages(), 0x2492);
		assert_int_equal(gmem_verify(gmem, NULL), 0);
		stop_own();
	}
}

static void kernel_that_cannot_say_is_an_error(void **state)
{
	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	opts.flags = GMEM_ASK_KERNEL;
	assert_int_equal(adopt(), -EOPNOTSUPP);
	assert_null(gmem);
	stop_own();

	start_own(GMEM_IN_PLACE);
	opts.flags = GMEM_ASK_KERNEL;
	fake.get_pages = 4;
	fake_fail(CALL_GET, 2, 1, EIO);
	assert_int_equal(adopt(), -EIO);
	assert_null(gmem);
	fake.knows_get = false;
	assert_int_equal(adopt(), -EOPNOTSUPP);
	assert_null(gmem);
	opts.flags = 0;
	assert_int_equal(adopt(), 0);
	stop_own();
}

const struct CMUnitTest adopt_states_cases[] = {
	CASE(states_are_as_told),
	CASE(many_pages_are_as_told),
	CASE(states_are_the_kernels),
	CASE(kernel_that_cannot_say_is_an_error),
	{},
};
