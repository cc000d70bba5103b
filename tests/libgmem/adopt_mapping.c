// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Where the shared half of a VMM's own memory is, and who maps it. */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fake_iommu.h"
#include "own.h"

static void library_maps_what_is_not_mapped(void **state)
{
	struct gmem_map_opts map = GMEM_INIT(struct gmem_map_opts);
	enum gmem_mechanism mechanism;
	unsigned char resident[NR_PAGES];
	void *place, *hva;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		opts.hva = NULL;
		assert_int_equal(adopt(), 0);
		/* A slot of the VMM's needs no mapping of the library's. */
		fake_fail(CALL_MMAP, 0, 1, ENOMEM);
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, PAGE, &no_slot), 0);
		assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA + PAGE, PAGE, PAGE, NULL), -ENOMEM);
		/* Where the VMM has kept a place for it. */
		place = mmap(NULL, SIZE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		map.address = place;
		map.mmap_flags = MAP_FIXED;
		assert_int_equal(gmem_map(gmem, &map, &hva), 0);
		assert_ptr_equal(hva, place);
		assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA + PAGE, PAGE, PAGE, NULL), 0);
		assert_int_equal(fake.slots[1].hva, (uintptr_t)place + PAGE);
		gmem_destroy(gmem);
		gmem = NULL;
		/* That mapping was the library's. */
		assert_int_equal(mincore(place, SIZE, resident), -1);
		stop_own();
	}
}

/* An IOMMU needs host addresses, even if the slot is not the library's. */
static void memory_is_mapped_for_an_iommu(void **state)
{
	struct gmem_iommu_opts iommu_opts = GMEM_INIT(struct gmem_iommu_opts);
	enum gmem_mechanism mechanism;
	struct gmem_iommu *iommu;
	void *hva;

	(void)state;
	FOR_EACH_MECHANISM(mechanism) {
		start_own(mechanism);
		fake_iommu = (struct fake_iommu){ .available = 100 };
		fake.other_call = fake_iommu_call;
		iommu_opts.fd = CONTAINER_FD;
		assert_int_equal(gmem_add_iommu(vm, &iommu_opts, &iommu), 0);
		opts.hva = NULL;
		assert_int_equal(adopt(), 0);
		fake_fail(CALL_MMAP, 0, 1, ENOMEM);
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), -ENOMEM);
		assert_int_equal(fake_iommu.mapping[0], 0);
		expect_picture(&picture);
		assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
		assert_int_not_equal(fake_iommu.mapping[0], 0);
		assert_int_not_equal(fake_iommu.mapping[NR_PAGES - 1], 0);
		/* That call gives it; there is no other. */
		fake_fail(CALL_MMAP, 0, 1, ENOMEM);
		assert_int_equal(gmem_map(gmem, NULL, &hva), 0);
		assert_ptr_not_equal(hva, own.hva);
		fake.nr_answers = 0;
		assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
		assert_int_equal(gmem_remove_iommu(iommu), 0);
		stop_own();
	}
}

static void shared_half_may_begin_later_in_its_file(void **state)
{
	void *hva;

	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	assert_int_equal(ftruncate(own.shared_fd, 3 * SIZE), 0);
	opts.hva = NULL;
	opts.shared_offset = SIZE;
	assert_int_equal(adopt(), 0);
	assert_int_equal(gmem_map(gmem, NULL, &hva), 0);
	*(char *)hva = 'x';
	assert_int_equal(own.hva[0], 0);
	assert_int_equal(gmem_bind(gmem, 0, FAKE_GPA, 0, SIZE, &no_slot), 0);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 2 * PAGE, 3 * PAGE, GMEM_PRIVATE, NULL,
					  NULL), 0);
	assert_int_equal(fake.hole.fd, own.shared_fd);
	assert_int_equal(fake.hole.offset, SIZE + 2 * PAGE);
	assert_int_equal(fake.hole.size, 3 * PAGE);
	/* The private half begins at its beginning. */
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 2 * PAGE, PAGE, GMEM_SHARED, NULL, NULL), 0);
	assert_int_equal(fake.hole.fd, own.private_fd);
	assert_int_equal(fake.hole.offset, 2 * PAGE);
	stop_own();
}

/* Of a process, and of several: the kernel wants different words for them. */
static void shared_half_may_be_anonymous(void **state)
{
	static const int kinds[] = { MAP_PRIVATE, MAP_SHARED };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	char *hva;
	size_t i;

	(void)state;
	for (i = 0; i < 2; i++) {
		start_own(GMEM_TWO_BACKINGS);
		hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, kinds[i] | MAP_ANONYMOUS, -1, 0);
		opts.hva = hva;
		assert_int_equal(gmem_adopt(vm, SIZE, own.private_fd, -1, &opts, &gmem), 0);
		assert_int_equal(gmem_shared_fd(gmem), -1);
		assert_int_equal(gmem_bind(gmem, 3, FAKE_GPA, 0, SIZE, NULL), 0);
		assert_int_equal(fake.slots[3].hva, (uintptr_t)hva);
		memset(hva, 'x', SIZE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + PAGE, 2 * PAGE, GMEM_PRIVATE,
						  NULL, NULL), 0);
		assert_int_equal(hva[PAGE], 0);
		assert_int_equal(hva[3 * PAGE - 1], 0);
		assert_int_equal(hva[PAGE - 1], 'x');
		assert_int_equal(hva[3 * PAGE], 'x');

		/* Somebody wrote to what is not the guest's; the host still reads zeros. */
		memset(hva + PAGE, 'y', 2 * PAGE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_SHARED, NULL, NULL), 0);
		assert_int_equal(hva[PAGE], 0);
		assert_int_equal(hva[3 * PAGE - 1], 0);
		assert_int_equal(hva[PAGE - 1], 'x');
		expect_picture(&picture);

		/* Failing to give memory back is not an error; failing to empty it is. */
		fake_fail(CALL_MADVISE, 0, 1, ENOMEM);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, 4 * PAGE, GMEM_PRIVATE, NULL,
						  &result), 0);
		assert_int_equal(result.undiscarded, 4 * PAGE);
		fake_fail(CALL_MADVISE, 0, 1, ENOMEM);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, 4 * PAGE, GMEM_SHARED, NULL,
						  &result), -ENOMEM);
		assert_int_equal(result.step, GMEM_STEP_PREPARE);
		assert_int_equal(private_pages(), 0xf);
		expect_picture(&picture);
		gmem_destroy(gmem);
		gmem = NULL;
		hva[0] = 'x';
		munmap(hva, SIZE);
		stop_own();
	}
}

static void mapping_of_the_vmm_stays_under_a_slot_that_stays(void **state)
{
	(void)state;
	start_own(GMEM_IN_PLACE);
	assert_int_equal(adopt(), 0);
	assert_int_equal(gmem_bind(gmem, 1, FAKE_GPA, 0, SIZE, NULL), 0);
	own.hva[0] = 'k';
	fake_fail(CALL_SLOT, 0, 2, EPERM);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -EPERM);
	gmem_destroy(gmem);
	gmem = NULL;
	assert_int_equal(own.hva[0], 'k');
	stop_own();
}

/* As with mlockall(): the kernel refuses to discard it, and the host must read zeros. */
static void locked_shared_half_is_cleared(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	char *hva;

	(void)state;
	start_own(GMEM_TWO_BACKINGS);
	hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	opts.hva = hva;
	assert_int_equal(gmem_adopt(vm, SIZE, own.private_fd, -1, &opts, &gmem), 0);
	assert_int_equal(gmem_bind(gmem, 3, FAKE_GPA, 0, SIZE, NULL), 0);
	memset(hva, 'x', SIZE);
	fake_fail(CALL_MADVISE, 0, 4, EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + PAGE, 2 * PAGE, GMEM_PRIVATE, NULL, &result),
			 0);
	assert_int_equal(result.undiscarded, 2 * PAGE);
	assert_int_equal(hva[PAGE], 'x');
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, SIZE, GMEM_SHARED, NULL, &result), 0);
	assert_int_equal(hva[PAGE - 1], 'x');
	assert_int_equal(hva[PAGE], 0);
	assert_int_equal(hva[3 * PAGE - 1], 0);
	assert_int_equal(hva[3 * PAGE], 'x');
	assert_int_equal(private_pages(), 0);
	expect_picture(&picture);
	gmem_destroy(gmem);
	gmem = NULL;
	munmap(hva, SIZE);
	stop_own();
}

const struct CMUnitTest adopt_mapping_cases[] = {
	CASE(library_maps_what_is_not_mapped),
	CASE(memory_is_mapped_for_an_iommu),
	CASE(shared_half_may_begin_later_in_its_file),
	CASE(shared_half_may_be_anonymous),
	CASE(locked_shared_half_is_cleared),
	CASE(mapping_of_the_vmm_stays_under_a_slot_that_stays),
	{},
};
