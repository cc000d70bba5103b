// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: the system calls that the library makes if a guest has a device behind an
 * IOMMU, as libgmem(7) lists them, and what happens under a filter that leaves one out.  TAP.
 */
#include "../examples/edu.h"
#include "iommu_abi.h"
#include "kvm_abi.h"
#include "one_memory.h"
#include "system_calls.h"
#include "tap.h"

static char bdf[256];

/* How the device was opened. */
static enum {
	TYPE1,
	IOMMUFD,
	/* Something is already mapped there, so the library cannot split mappings. */
	IOMMUFD_IN_USE,
} path;

static struct gmem_iommu_opts iommu_opts = GMEM_INITIALIZER(struct gmem_iommu_opts);
static struct gmem_iommu *iommu;

static void open_device(void)
{
	static char elsewhere[PAGE] __attribute__((aligned(PAGE)));
	struct ioas_map map = {
		.size = sizeof(map), .flags = IOAS_MAP_FIXED_IOVA | IOAS_MAP_READABLE,
		.user_va = (uintptr_t)elsewhere, .length = PAGE, .iova = 16ul << 20,
	};
	int device = path == TYPE1 ? edu_open_type1(bdf, &iommu_opts) :
				     edu_open_iommufd(bdf, &iommu_opts);

	check(device < 0 ? device : 0, bdf);
	map.ioas_id = iommu_opts.ioas_id;
	if (path == IOMMUFD_IN_USE)
		check(sys(ioctl(iommu_opts.fd, IOAS_MAP, &map)), "IOMMU_IOAS_MAP");
}

static void begin(void)
{
	open_device();
	make_vm(GMEM_IN_PLACE);
	check(gmem_add_iommu(memories, &iommu_opts, &iommu), "gmem_add_iommu");
}

/* ---- What a filter has to allow -------------------------------------------------- */

static void converts(void)
{
	begin();
	begin_calls();
	check(gmem_convert(ram, PAGE, PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	end_calls();
}

static void adds(void)
{
	open_device();
	make_vm(GMEM_IN_PLACE);
	begin_calls();
	check(gmem_add_iommu(memories, &iommu_opts, &iommu), "gmem_add_iommu");
	check(gmem_unbind(memories, DATA_GPA), "gmem_unbind");
	check(gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE), "gmem_bind");
	check(gmem_remove_iommu(iommu), "gmem_remove_iommu");
	end_calls();
}

/* As libgmem(7) lists them: without a device, and with one. */
#define CONVERTING							\
	{ SYS_ioctl, KVM_SET_MEMORY_ATTRIBUTES2 }, { SYS_madvise, 0 },	\
	{ SYS_futex, 0 }, { SYS_clock_gettime, 0 }
#define BINDING								\
	CONVERTING, { SYS_ioctl, KVM_SET_USER_MEMORY_REGION2 },		\
	{ SYS_mmap, 0 }, { SYS_munmap, 0 }, { SYS_brk, 0 }

/*
 * First the calls that are made because of the device, up to an empty entry; then the calls
 * that are made anyway.
 */
static const struct {
	const char *name;
	struct system_call of_device[6];
	struct system_call others[12];
	void (*code)(void);
} lists[][2] = {
	[TYPE1] = {
		{
			"type1.conversions", {
				{ SYS_ioctl, VFIO_IOMMU_MAP_DMA },
				{ SYS_ioctl, VFIO_IOMMU_UNMAP_DMA },
				{ SYS_ioctl, VFIO_IOMMU_GET_INFO },
			}, { CONVERTING }, converts,
		}, {
			"type1.adding", {
				{ SYS_ioctl, VFIO_IOMMU_MAP_DMA },
				{ SYS_ioctl, VFIO_IOMMU_UNMAP_DMA },
				{ SYS_ioctl, VFIO_IOMMU_GET_INFO },
			}, { BINDING }, adds,
		},
	},
	[IOMMUFD] = {
		{
			"iommufd.conversions", {
				{ SYS_ioctl, IOAS_MAP },
				{ SYS_ioctl, VFIO_IOMMU_UNMAP_DMA },
			}, { CONVERTING }, converts,
		}, {
			"iommufd.adding", {
				{ SYS_ioctl, IOAS_MAP },
				{ SYS_ioctl, VFIO_IOMMU_UNMAP_DMA },
				{ SYS_ioctl, IOAS_OPTION },
				{ SYS_ioctl, IOAS_OF_VFIO },
			}, { BINDING }, adds,
		},
	},
	[IOMMUFD_IN_USE] = {
		{
			"iommufd_in_use.conversions", {
				{ SYS_ioctl, IOAS_MAP },
				{ SYS_ioctl, IOAS_UNMAP },
			}, { CONVERTING }, converts,
		}, {
			"iommufd_in_use.adding", {
				{ SYS_ioctl, IOAS_MAP },
				{ SYS_ioctl, IOAS_UNMAP },
				{ SYS_ioctl, IOAS_OPTION },
				{ SYS_ioctl, IOAS_OF_VFIO },
			}, { BINDING }, adds,
		},
	},
};

static void filters(void)
{
	const struct system_call *call;
	struct system_call all[20];
	unsigned int i, nr;
	bool needs_all;

	for (i = 0; i < 2; i++) {
		nr = 0;
		for (call = lists[path][i].of_device; call->number; call++)
			all[nr++] = *call;
		for (call = lists[path][i].others; call->number; call++)
			all[nr++] = *call;
		all[nr] = (struct system_call){};
		result(only_calls(lists[path][i].code, all), "%s_needs_what_is_listed",
		       lists[path][i].name);

		needs_all = true;
		for (call = lists[path][i].of_device; call->number; call++) {
			if (is_killed_without(lists[path][i].code, all, call))
				continue;
			printf("# it ends well without request %#lx\n", (unsigned long)call->request);
			needs_all = false;
		}
		result(needs_all, "%s_is_killed_without_any_of_these", lists[path][i].name);
	}
}

/* ---- A filter that refuses ------------------------------------------------------- */

static void is_refused_a_mapping(void)
{
	struct gmem_result where = GMEM_INIT(struct gmem_result);
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int r;

	begin();
	check(gmem_convert(ram, 0, 2 * PAGE, GMEM_PRIVATE, NULL, NULL), "to private");
	begin_calls();
	r = gmem_convert(ram, 0, 2 * PAGE, GMEM_SHARED, NULL, &where);
	end_calls();
	check(gmem_lookup(ram, 0, &range), "gmem_lookup");
	check(r == -EPERM && where.step == GMEM_STEP_AFTER_SHARED && !where.left_size &&
	      range.attributes == GMEM_PRIVATE && range.size == 2 * PAGE && !gmem_verify(ram, NULL) ?
	      0 : EPROTO, "a mapping that is refused");
}

static void is_refused_a_conversion(void)
{
	struct gmem_result where = GMEM_INIT(struct gmem_result);
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	int r;

	begin();
	begin_calls();
	r = gmem_convert(ram, 0, 2 * PAGE, GMEM_PRIVATE, NULL, &where);
	end_calls();
	check(gmem_lookup(ram, 0, &range), "gmem_lookup");
	check(r == -EPERM && where.step == GMEM_STEP_CONVERT && !where.left_size &&
	      range.attributes == GMEM_SHARED && range.size == PAGES * PAGE &&
	      !gmem_verify(ram, NULL) ? 0 : EPROTO, "a conversion that is refused");
}

static bool is_right(struct filtered filtered, uint64_t request)
{
	return filtered.is_whole && filtered.nr_unlisted &&
	       filtered.first_unlisted.request == request && WIFEXITED(filtered.status) &&
	       !WEXITSTATUS(filtered.status);
}

static void refusals(void)
{
	static const struct system_call without_map[] = {
		CONVERTING, { SYS_ioctl, VFIO_IOMMU_UNMAP_DMA }, {},
	};
	static const struct system_call without_conversion[] = {
		{ SYS_ioctl, IOAS_MAP }, { SYS_ioctl, VFIO_IOMMU_UNMAP_DMA }, { SYS_madvise, 0 }, {},
	};

	path = IOMMUFD;
	result(is_right(run_filtered(is_refused_a_mapping, without_map, FILTER_REFUSES), IOAS_MAP),
	       "refused.mapping_is_an_error_and_undone");
	result(is_right(run_filtered(is_refused_a_conversion, without_conversion, FILTER_REFUSES),
			KVM_SET_MEMORY_ATTRIBUTES2), "refused.conversion_is_an_error_and_undone");
}

int main(void)
{
	plan("devices", 14);
	check(edu_find(bdf, sizeof(bdf)), "QEMU's edu device");
	check(edu_give_to_vfio(bdf), "vfio-pci");
	for (path = TYPE1; path <= IOMMUFD_IN_USE; path++)
		filters();
	refusals();

	return exit_status();
}
