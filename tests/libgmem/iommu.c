// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The library's listener for an IOMMU: what is mapped is what is bound and shared. */
#include <errno.h>
#include <string.h>

#include "fake_iommu.h"
#include "unit_vm.h"

static struct gmem_iommu *iommu;

static int add(int fd, uint32_t ioas_id)
{
	struct gmem_iommu_opts opts = GMEM_INIT(struct gmem_iommu_opts);

	opts.fd = fd;
	opts.ioas_id = ioas_id;
	return gmem_add_iommu(vm, &opts, &iommu);
}

static void begin(void)
{
	fake_iommu = (struct fake_iommu){ .available = 100, .says_available = true };
	start(GMEM_IN_PLACE);
	fake.other_call = fake_iommu_call;
	mix();
}

static unsigned int nr_mappings(void)
{
	unsigned int i, nr = 0;

	for (i = 0; i < FAKE_PAGES; i++)
		nr += fake_iommu.mapping[i] &&
		      (!i || fake_iommu.mapping[i] != fake_iommu.mapping[i - 1]);
	return nr;
}

/* What is shared is mapped, and nothing else; or nothing at all. */
static void expect_mapped(bool all)
{
	unsigned int i;

	for (i = 0; i < ALL / PAGE; i++)
		assert_int_equal(!!fake_iommu.mapping[i],
				 all && !kernel_private(FAKE_GPA + i * PAGE));
}

static void container_has_a_mapping_for_each_page(void **state)
{
	(void)state;
	begin();
	assert_int_equal(add(CONTAINER_FD, 0), 0);
	expect_mapped(true);
	/* MIXED has 20 pages. */
	assert_int_equal(nr_mappings(), 20);
	convert_pages(0, 24, GMEM_SHARED);
	expect_mapped(true);
	convert_pages(5, 1, GMEM_PRIVATE);
	convert_pages(9, 12, GMEM_PRIVATE);
	expect_mapped(true);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA + SLOT_SIZE, NULL), 0);
	assert_int_equal(fake_iommu.mapping[8], 0);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE, NULL), 0);
	expect_mapped(true);
	assert_int_equal(gmem_remove_iommu(iommu), 0);
	expect_mapped(false);
	stop();
}

static void iommufd_has_a_mapping_for_each_range_and_cuts(void **state)
{
	(void)state;
	begin();
	assert_int_equal(add(IOMMUFD_FD, IOAS), 0);
	expect_mapped(true);
	assert_int_equal(nr_mappings(), 4);
	/* One call for each part, whatever is mapped there. */
	fake_iommu.nr_calls = 0;
	convert_pages(1, 6, GMEM_PRIVATE);
	assert_int_equal(fake_iommu.nr_calls, 1);
	expect_mapped(true);
	convert_pages(12, 1, GMEM_PRIVATE);
	expect_mapped(true);
	convert_pages(0, 24, GMEM_SHARED);
	expect_mapped(true);
	assert_int_equal(gmem_remove_iommu(iommu), 0);
	expect_mapped(false);
	/* The next one may have VFIO's calls. */
	assert_int_equal(fake_iommu.of_vfio, 0);
	stop();
}

static void iommufd_that_cannot_cut_has_pages(void **state)
{
	bool taken;

	(void)state;
	for (taken = false; ; taken = true) {
		begin();
		/* VFIO's calls mean another IOAS, or something has been mapped already. */
		fake_iommu.of_vfio = taken ? IOAS + 1 : 0;
		fake_iommu.keeps_large_pages = !taken;
		assert_int_equal(add(IOMMUFD_FD, IOAS), 0);
		assert_int_equal(nr_mappings(), 20);
		convert_pages(9, 1, GMEM_PRIVATE);
		convert_pages(0, 24, GMEM_SHARED);
		convert_pages(0, 24, GMEM_PRIVATE);
		expect_mapped(true);
		assert_int_equal(gmem_remove_iommu(iommu), 0);
		expect_mapped(false);
		assert_int_equal(fake_iommu.of_vfio, taken ? IOAS + 1 : 0);
		if (taken)
			break;
		renew();
	}
	stop();
}

static void container_that_is_full_says_so_before_it_maps(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int says;

	(void)state;
	for (says = 0; says < 2; says++) {
		begin();
		fake_iommu.says_available = says;
		fake_iommu.available = 19;
		assert_int_equal(add(CONTAINER_FD, 0), -ENOSPC);
		assert_null(iommu);
		expect_mapped(false);

		fake_iommu.available = 21;
		assert_int_equal(add(CONTAINER_FD, 0), 0);
		fake_iommu.nr_mapped = 0;
		assert_int_equal(convert_all(GMEM_SHARED, &result), -ENOSPC);
		assert_int_equal(result.step, GMEM_STEP_AFTER_SHARED);
		assert_int_equal(result.left_size, 0);
		expect_mapped(true);
		if (says)
			assert_int_equal(fake_iommu.nr_mapped, 0);
		assert_int_equal(gmem_remove_iommu(iommu), 0);
		renew();
	}
	start(GMEM_IN_PLACE);
	stop();
}

static void mapping_that_fails_leaves_nothing_mapped(void **state)
{
	unsigned int at;

	(void)state;
	for (at = 1; at <= 20; at++) {
		begin();
		fake_iommu.fail_at = at;
		fake_iommu.error = ENOMEM;
		assert_int_equal(add(CONTAINER_FD, 0), -ENOMEM);
		expect_mapped(false);
		assert_int_equal(add(CONTAINER_FD, 0), 0);
		expect_mapped(true);

		/* The same in a conversion, of four pages. */
		fake_iommu.nr_mapped = 0;
		fake_iommu.fail_at = at % 4 + 1;
		assert_int_equal(convert_all(GMEM_SHARED, NULL), -ENOMEM);
		expect_mapped(true);
		assert_int_equal(gmem_remove_iommu(iommu), 0);
		expect_mapped(false);
		renew();
	}
	start(GMEM_IN_PLACE);
	stop();
}

static void what_is_no_iommu_is_refused(void **state)
{
	struct gmem_iommu_opts opts = GMEM_INIT(struct gmem_iommu_opts);

	(void)state;
	begin();
	assert_int_equal(add(IOMMUFD_FD, IOAS + 1), -ENOENT);
	assert_int_equal(add(IOMMUFD_FD, 0), -ENODEV);
	assert_int_equal(add(CONTAINER_FD, IOAS), -ENOTTY);
	assert_int_equal(add(fake.vm_fd, 0), -ENOTTY);
	opts.struct_size = 0;
	assert_int_equal(gmem_add_iommu(vm, &opts, &iommu), -EINVAL);
	assert_null(iommu);
	assert_int_equal(gmem_remove_iommu(NULL), 0);
	expect_mapped(false);
	stop();
}

const struct CMUnitTest iommu_cases[] = {
	CASE(container_has_a_mapping_for_each_page),
	CASE(iommufd_has_a_mapping_for_each_range_and_cuts),
	CASE(iommufd_that_cannot_cut_has_pages),
	CASE(container_that_is_full_says_so_before_it_maps),
	CASE(mapping_that_fails_leaves_nothing_mapped),
	CASE(what_is_no_iommu_is_refused),
	{},
};
