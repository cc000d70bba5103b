// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* The fake's side of lib/iommu.c's calls to VFIO and iommufd. */
#include <errno.h>
#include <string.h>

#include "fake_iommu.h"
#include "iommu_abi.h"

struct fake_iommu fake_iommu;

static int map(uint64_t iova, uint64_t size)
{
	struct fake_iommu *f = &fake_iommu;
	uint64_t page = (iova - FAKE_GPA) / PAGE, end = page + size / PAGE, i;

	f->nr_mapped++;
	if (f->nr_mapped == f->fail_at)
		return f->error;
	for (i = page; i < end; i++) {
		if (f->mapping[i])
			return EEXIST;
	}
	for (i = page; i < end; i++)
		f->mapping[i] = f->nr_mapped;
	return 0;
}

/* Mappings that lie across an end of the range are cut, or refuse. */
static int unmap(uint64_t iova, uint64_t size, bool cuts, int across, int nothing)
{
	struct fake_iommu *f = &fake_iommu;
	uint64_t page = (iova - FAKE_GPA) / PAGE, end = page + size / PAGE, i;
	bool found = false;

	if (!cuts && ((page && f->mapping[page] && f->mapping[page] == f->mapping[page - 1]) ||
		      (end < FAKE_PAGES && f->mapping[end] && f->mapping[end] == f->mapping[end - 1])))
		return across;
	for (i = page; i < end; i++) {
		found |= f->mapping[i];
		f->mapping[i] = 0;
	}
	return found ? 0 : nothing;
}

static unsigned int nr_entries(void)
{
	unsigned int i, nr = 0;

	for (i = 0; i < FAKE_PAGES; i++)
		nr += fake_iommu.mapping[i] && (!i || fake_iommu.mapping[i] != fake_iommu.mapping[i - 1]);
	return nr;
}

static int get_info(struct vfio_iommu_type1_info *info)
{
	struct vfio_iommu_type1_info_dma_avail avail = {
		.header = { .id = VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL, .version = 1 },
		.avail = fake_iommu.available - nr_entries(),
	};

	if (info->argsz < sizeof(*info))
		return EINVAL;
	info->flags = fake_iommu.says_available ? VFIO_IOMMU_INFO_CAPS : 0;
	info->cap_offset = 0;
	if (fake_iommu.says_available && info->argsz >= sizeof(*info) + sizeof(avail)) {
		info->cap_offset = sizeof(*info);
		memcpy(info + 1, &avail, sizeof(avail));
	}
	return 0;
}

static int of_vfio(struct ioas_of_vfio *args)
{
	switch (args->op) {
	case OF_VFIO_GET:
		args->ioas_id = fake_iommu.of_vfio;
		return fake_iommu.of_vfio ? 0 : ENODEV;
	case OF_VFIO_SET:
		fake_iommu.of_vfio = args->ioas_id;
		return 0;
	case OF_VFIO_CLEAR:
		fake_iommu.of_vfio = 0;
		return 0;
	}
	return EOPNOTSUPP;
}

static int option(const struct ioas_option *args)
{
	if (args->ioas_id != IOAS)
		return ENOENT;
	if (args->op == OPTION_SET && fake_iommu.keeps_large_pages)
		return EINVAL;
	if (args->op == OPTION_SET)
		fake_iommu.small_pages = !args->value;
	return 0;
}

int fake_iommu_call(int fd, unsigned long request, void *arg)
{
	struct vfio_iommu_type1_dma_unmap *dma_unmap = arg;
	struct vfio_iommu_type1_dma_map *dma_map = arg;
	struct ioas_unmap *ioas_unmap = arg;
	struct ioas_map *ioas_map = arg;
	bool is_iommufd = fd == IOMMUFD_FD;

	if (fd != CONTAINER_FD && fd != IOMMUFD_FD)
		return ENOTTY;

	fake_iommu.nr_calls++;
	switch (request) {
	case VFIO_IOMMU_MAP_DMA:
		if (nr_entries() >= fake_iommu.available)
			return ENOSPC;
		return map(dma_map->iova, dma_map->size);
	case VFIO_IOMMU_UNMAP_DMA:
		if (is_iommufd && fake_iommu.of_vfio != IOAS)
			return ENODEV;
		return unmap(dma_unmap->iova, dma_unmap->size, is_iommufd && fake_iommu.small_pages,
			     is_iommufd ? ENOENT : EINVAL, 0);
	case VFIO_IOMMU_GET_INFO:
		return is_iommufd ? ENODEV : get_info(arg);
	}
	if (!is_iommufd)
		return ENOTTY;
	switch (request) {
	case IOAS_MAP:
		return ioas_map->ioas_id == IOAS ? map(ioas_map->iova, ioas_map->length) : ENOENT;
	case IOAS_UNMAP:
		return unmap(ioas_unmap->iova, ioas_unmap->length, false, ENOENT, ENOENT);
	case IOAS_OPTION:
		return option(arg);
	case IOAS_OF_VFIO:
		return of_vfio(arg);
	}
	return ENOTTY;
}
