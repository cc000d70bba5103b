// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A listener that makes an IOMMU map what is shared, and nothing else, at the guest's
 * own addresses.  A guest converts pages, so it must be possible to unmap any single
 * page: either a page is cut out of a mapping, which iommufd can do, or each page is a
 * mapping.
 */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#include "internal.h"
#include "iommu_abi.h"

struct gmem_iommu {
	struct gmem_listener listener;
	struct gmem_vm *vm;
	int fd;
	/* 0: VFIO's type1. */
	uint32_t ioas_id;
	/* Any part of a mapping can be unmapped. */
	bool can_cut;
	/* We have made VFIO's calls of this iommufd refer to our IOAS. */
	bool is_of_vfio;
};

/* VFIO's calls refer to one IOAS for each iommufd, which several VMs may share. */
static pthread_mutex_t of_vfio_lock = PTHREAD_MUTEX_INITIALIZER;

/* ---- Mapping --------------------------------------------------------------- */

static int map(const struct gmem_iommu *iommu, uint64_t iova, void *hva, uint64_t size)
{
	struct ioas_map ioas_map = {
		.size = sizeof(ioas_map),
		.flags = IOAS_MAP_FIXED_IOVA | IOAS_MAP_READABLE | IOAS_MAP_WRITEABLE,
		.ioas_id = iommu->ioas_id,
		.user_va = (uintptr_t)hva,
		.length = size,
		.iova = iova,
	};
	struct vfio_iommu_type1_dma_map dma_map = {
		.argsz = sizeof(dma_map),
		.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)hva,
		.iova = iova,
		.size = size,
	};

	return iommu->ioas_id ? call(iommu->fd, IOAS_MAP, &ioas_map) :
				call(iommu->fd, VFIO_IOMMU_MAP_DMA, &dma_map);
}

/* Unmap whatever is mapped in the range, which may be nothing. */
static int unmap(const struct gmem_iommu *iommu, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap dma_unmap = {
		.argsz = sizeof(dma_unmap), .iova = iova, .size = size,
	};
	struct ioas_unmap ioas_unmap = {
		.size = sizeof(ioas_unmap), .ioas_id = iommu->ioas_id,
		.iova = iova, .length = size,
	};
	int r;

	/* An iommufd cuts mappings for this call, but not for its own. */
	if (!iommu->ioas_id || iommu->can_cut)
		r = call(iommu->fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap);
	else
		r = call(iommu->fd, IOAS_UNMAP, &ioas_unmap);

	return r == -ENOENT ? 0 : r;
}

/*
 * -ENOSPC before anything is mapped, if type1 says that it does not have enough mappings
 * left; if the kernel does not say, mapping finds out.
 */
static int check_room(const struct gmem_iommu *iommu, uint64_t nr_mappings)
{
	union {
		struct vfio_iommu_type1_info info;
		char room[1024];
	} answer = { .info = { .argsz = sizeof(answer) } };
	struct vfio_iommu_type1_info_dma_avail *avail;
	struct vfio_info_cap_header *cap;
	uint32_t at;

	if (iommu->ioas_id || call(iommu->fd, VFIO_IOMMU_GET_INFO, &answer) ||
	    !(answer.info.flags & VFIO_IOMMU_INFO_CAPS))
		return 0;

	for (at = answer.info.cap_offset; at && at + sizeof(*avail) <= sizeof(answer); at = cap->next) {
		cap = (void *)(answer.room + at);
		avail = (void *)cap;
		if (cap->id == VFIO_IOMMU_TYPE1_INFO_DMA_AVAIL)
			return avail->avail < nr_mappings ? -ENOSPC : 0;
	}

	return 0;
}

/* ---- The listener ----------------------------------------------------------- */

static int before_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	return unmap(listener->arg, range->gpa, range->size);
}

static int after_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	struct gmem_iommu *iommu = listener->arg;
	size_t page_size = iommu->vm->page_size;
	uint64_t at, step = iommu->can_cut ? range->size : page_size;
	void *memory;
	char *hva;
	int r;

	/* An adopted memory may not be mapped yet. */
	r = gmem_map(range->gmem, NULL, &memory);
	if (r)
		return r;

	hva = (char *)memory + range->offset;
	if (!iommu->can_cut)
		r = check_room(iommu, range->size / page_size);
	for (at = 0; !r && at < range->size; at += step) {
		r = map(iommu, range->gpa + at, hva + at, step);
		if (r && at)
			unmap(iommu, range->gpa, at);
	}

	return r;
}

/* Check by a query, as perhaps nothing is shared yet. */
static int is_there(const struct gmem_iommu *iommu)
{
	struct vfio_iommu_type1_info info = { .argsz = sizeof(info) };
	struct ioas_option option = {
		.size = sizeof(option), .option = OPTION_HUGE_PAGES, .op = OPTION_GET,
		.ioas_id = iommu->ioas_id,
	};

	return iommu->ioas_id ? call(iommu->fd, IOAS_OPTION, &option) :
				call(iommu->fd, VFIO_IOMMU_GET_INFO, &info);
}

static int of_vfio(const struct gmem_iommu *iommu, uint16_t op, uint32_t *ioas_id)
{
	struct ioas_of_vfio args = { .size = sizeof(args), .op = op, .ioas_id = *ioas_id };
	int r = call(iommu->fd, IOAS_OF_VFIO, &args);

	*ioas_id = args.ioas_id;
	return r;
}

/*
 * Cutting needs small pages in the IOMMU, and so an IOAS that has nothing mapped.  It
 * also needs VFIO's calls to refer to this IOAS, so it works for one IOAS of an iommufd.
 */
static void make_cuttable(struct gmem_iommu *iommu)
{
	struct ioas_option option = {
		.size = sizeof(option), .option = OPTION_HUGE_PAGES, .op = OPTION_SET,
		.ioas_id = iommu->ioas_id,
	};
	uint32_t id = 0;

	pthread_mutex_lock(&of_vfio_lock);
	if (of_vfio(iommu, OF_VFIO_GET, &id)) {
		id = iommu->ioas_id;
		iommu->is_of_vfio = !of_vfio(iommu, OF_VFIO_SET, &id);
		if (!iommu->is_of_vfio)
			id = 0;
	}
	pthread_mutex_unlock(&of_vfio_lock);
	iommu->can_cut = id == iommu->ioas_id && !call(iommu->fd, IOAS_OPTION, &option);
}

static void destroy(struct gmem_iommu *iommu)
{
	uint32_t id = 0;

	pthread_mutex_lock(&of_vfio_lock);
	if (iommu->is_of_vfio && !of_vfio(iommu, OF_VFIO_GET, &id) && id == iommu->ioas_id)
		of_vfio(iommu, OF_VFIO_CLEAR, &id);
	pthread_mutex_unlock(&of_vfio_lock);
	free(iommu);
}

API int gmem_add_iommu(struct gmem_vm *vm, const struct gmem_iommu_opts *caller,
		       struct gmem_iommu **out)
{
	struct gmem_iommu_opts opts;
	struct gmem_iommu *iommu;
	int r;

	*out = NULL;
	r = take_struct(&opts, caller, sizeof(opts));
	if (r)
		return r;

	iommu = calloc(1, sizeof(*iommu));
	if (!iommu)
		return -ENOMEM;
	*iommu = (struct gmem_iommu){ .vm = vm, .fd = opts.fd, .ioas_id = opts.ioas_id };
	iommu->listener = GMEM_INIT(struct gmem_listener);
	iommu->listener.before_private = before_private;
	iommu->listener.after_shared = after_shared;
	iommu->listener.flags = GMEM_LISTENER_REPLAY | GMEM_LISTENER_GAPS;
	iommu->listener.arg = iommu;

	r = is_there(iommu);
	if (!r) {
		if (iommu->ioas_id)
			make_cuttable(iommu);
		r = gmem_add_listener(vm, &iommu->listener);
	}
	if (r) {
		destroy(iommu);
		return r;
	}

	*out = iommu;
	return 0;
}

API int gmem_remove_iommu(struct gmem_iommu *iommu)
{
	int r;

	if (!iommu)
		return 0;

	r = gmem_remove_listener(iommu->vm, &iommu->listener);
	destroy(iommu);
	return r;
}
