// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Memory and slots that the VMM has made itself convert with all mechanisms, and stay the
 * VMM's.
 */
#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include "own.h"

static void slots_of_the_vmm_convert_in_all_mechanisms(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;
	unsigned int calls;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		assert_int_equal(adopt(), 0);
		/* Its halves, exchanged. */
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, SIZE / 2, SIZE / 2, &no_slot), 0);
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA + SIZE / 2, 0, SIZE / 2, &no_slot), 0);
		expect_told(&picture, "S0+8 S8+8");

		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 6 * PAGE, 4 * PAGE, GMEM_PRIVATE,
						  NULL, NULL), 0);
		assert_int_equal(private_pages(), PAGES(14, 2) | PAGES(0, 2));
		expect_told(&picture, "P6+2 P8+2");
		expect_picture(&picture);
		assert_int_equal(gmem_convert(gmem, 0, PAGE, GMEM_SHARED, NULL, NULL), 0);
		expect_picture(&picture);

		/* The second system call fails, and the first is undone. */
		calls = in_place() ? CALL_CONVERT : CALL_ATTRIBUTES;
		fake_fail(calls, in_place() ? 1 : 0, 1, ENOMEM);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_PRIVATE, NULL, &result),
				 -ENOMEM);
		assert_int_equal(result.left_size, 0);
		expect_picture(&picture);

		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		expect_picture(&picture);
		assert_int_equal(fake.calls[CALL_SLOT], 0);
		stop_own();
	}
}

/* In place the VM's ioctl would not find a slot that does not exist yet. */
static void file_is_asked_where_the_slot_is_not_the_librarys(void **state)
{
	unsigned int before;

	(void)state;
	start_own(GMEM_IN_PLACE);
	assert_int_equal(adopt(), 0);
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, 4 * PAGE, NULL), 0);
	assert_int_equal(gmem_bind(gmem, 2, FAKE_GPA + 4 * PAGE, 4 * PAGE, 4 * PAGE, NULL), 0);
	assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA + 8 * PAGE, 8 * PAGE, 4 * PAGE, &no_slot), 0);
	assert_int_equal(gmem_bind(gmem, 3, FAKE_GPA + 12 * PAGE, 12 * PAGE, 4 * PAGE, NULL), 0);
	before = fake.calls[CALL_CONVERT];
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_PRIVATE, NULL, NULL), 0);
	/* Two slots together, the one that is not ours, and the last. */
	assert_int_equal(fake.calls[CALL_CONVERT] - before, 3);
	assert_int_equal(private_pages(), PAGES(0, 16));
	expect_picture(&picture);
	stop_own();
}

static void slots_can_be_the_librarys_all_the_same(void **state)
{
	struct gmem_bind_opts bind = GMEM_INIT(struct gmem_bind_opts);
	enum gmem_mechanism mechanism;
	void *hva;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		assert_int_equal(adopt(), 0);
		assert_int_equal(gmem_map(gmem, NULL, &hva), 0);
		assert_ptr_equal(hva, own.hva);
		assert_int_equal(gmem_private_fd(gmem), own.private_fd);
		assert_int_equal(gmem_shared_fd(gmem), own.shared_fd);
		bind.slot_flags = 1;
		assert_int_equal(gmem_bind(gmem, 4, FAKE_GPA, PAGE, 2 * PAGE, &bind), 0);
		assert_int_equal(fake.slots[4].hva, (uintptr_t)own.hva + PAGE);
		assert_int_equal(fake.slots[4].fd, own.private_fd);
		assert_int_equal(fake.slots[4].flags, KVM_MEM_GUEST_MEMFD | 1);
		/* Its number is taken, but not for a slot that is not made. */
		assert_int_equal(gmem_bind(gmem, 4, FAKE_GPA + 4 * PAGE, 4 * PAGE, PAGE, NULL),
				 -EEXIST);
		assert_int_equal(gmem_bind(gmem, 4, FAKE_GPA + 4 * PAGE, 4 * PAGE, PAGE, &no_slot),
				 0);
		assert_int_equal(gmem_unbind(vm, FAKE_GPA + 4 * PAGE, NULL), 0);
		assert_true(fake.slots[4].used);
		fake_fail(CALL_SLOT, 0, 1, EINVAL);
		assert_int_equal(gmem_bind(gmem, 5, FAKE_GPA + 4 * PAGE, 4 * PAGE, PAGE, NULL),
				 -EINVAL);
		stop_own();
	}
}

static void flags_that_make_no_sense_are_refused(void **state)
{
	struct gmem_bind_opts bind = GMEM_INIT(struct gmem_bind_opts);
	struct gmem_map_opts map = GMEM_INIT(struct gmem_map_opts);
	void *hva;

	(void)state;
	start_own(GMEM_IN_PLACE);
	assert_int_equal(adopt(), 0);
	bind.flags = 2;
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, PAGE, &bind), -EINVAL);
	bind.flags = GMEM_NO_SLOT;
	bind.slot_flags = 1;
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, PAGE, &bind), -EINVAL);
	bind.flags = 0;
	assert_int_equal(gmem_exclude(vm, FAKE_GPA, PAGE, &bind), -EINVAL);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, &bind), -EINVAL);
	assert_int_equal(gmem_exclude(vm, FAKE_GPA, PAGE, &no_slot), -EINVAL);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, &no_slot), -EINVAL);
	map.mmap_flags = MAP_PRIVATE;
	assert_int_equal(gmem_map(gmem, &map, &hva), -EINVAL);
	map.mmap_flags = MAP_ANONYMOUS;
	assert_int_equal(gmem_map(gmem, &map, &hva), -EINVAL);
	stop_own();
}

static void wrong_files_are_refused(void **state)
{
	enum gmem_mechanism mechanism;
	int memfd = memfd_create("no guest", MFD_CLOEXEC), fd;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		fd = own.private_fd;
		assert_int_equal(gmem_adopt(vm, SIZE, -1, own.shared_fd, &opts, &gmem), -EBADF);
		assert_null(gmem);
		assert_int_equal(gmem_adopt(vm, SIZE + PAGE, fd, own.shared_fd, &opts, &gmem),
				 -EINVAL);
		assert_int_equal(gmem_adopt(vm, 0, fd, own.shared_fd, &opts, &gmem), -EINVAL);
		assert_int_equal(gmem_adopt(vm, 1, fd, own.shared_fd, &opts, &gmem), -EINVAL);
		opts.attributes = 1;
		assert_int_equal(adopt(), -EINVAL);
		opts.attributes = 0;
		opts.flags = 2;
		assert_int_equal(adopt(), -EINVAL);
		opts.flags = 0;
		opts.hva = own.hva + 1;
		assert_int_equal(adopt(), -EINVAL);
		opts.hva = NULL;
		opts.shared_offset = 1;
		assert_int_equal(adopt(), -EINVAL);
		opts.shared_offset = PAGE;
		assert_int_equal(adopt(), -EINVAL);
		opts.shared_offset = -PAGE;
		assert_int_equal(adopt(), -EINVAL);
		opts.shared_offset = 0;
		/* The other file is too small as well, or is not the same. */
		assert_int_equal(gmem_adopt(vm, SIZE, fd, memfd, &opts, &gmem), -EINVAL);
		if (in_place()) {
			assert_int_equal(ftruncate(memfd, SIZE), 0);
			assert_int_equal(gmem_adopt(vm, SIZE, memfd, -1, &opts, &gmem), -ENOTTY);
			assert_int_equal(ftruncate(memfd, 0), 0);
			/* It has the same call, for gpas. */
			assert_int_equal(gmem_adopt(vm, SIZE, fake.vm_fd, -1, &opts, &gmem), -ENOTTY);
		} else {
			assert_int_equal(gmem_adopt(vm, SIZE, fd, 1000, &opts, &gmem), -EBADF);
			/* There is nothing that could hold the shared half. */
			assert_int_equal(gmem_adopt(vm, SIZE, fd, -1, &opts, &gmem), -EINVAL);
		}
		assert_null(gmem);
		/* The tables of the states. */
		fake_fail(CALL_MMAP, 1, 1, ENOMEM);
		assert_int_equal(adopt(), -ENOMEM);
		assert_null(gmem);
		assert_int_equal(adopt(), 0);
		stop_own();
	}
	close(memfd);
}

const struct CMUnitTest adopt_cases[] = {
	CASE(slots_of_the_vmm_convert_in_all_mechanisms),
	CASE(file_is_asked_where_the_slot_is_not_the_librarys),
	CASE(slots_can_be_the_librarys_all_the_same),
	CASE(flags_that_make_no_sense_are_refused),
	CASE(wrong_files_are_refused),
	{},
};
