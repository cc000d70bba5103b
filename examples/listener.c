// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Device assignment in small.  What stands for the IOMMU holds every shared page, here
 * by keeping it in a pipe, as VFIO would by pinning it.  A page that is held does not go
 * private, so the listener lets go before, and takes hold again after the page has come
 * back.
 */
#define _GNU_SOURCE
#include <gmem.h>
#include <sys/uio.h>
#include <unistd.h>

#include "vm.h"

#define PAGES		4ul

struct iommu {
	struct gmem_listener listener;
	char *hva;
	int pipes[PAGES][2];
};

static int hold(struct iommu *iommu, uint64_t page)
{
	struct iovec iov = { .iov_base = iommu->hva + page * PAGE, .iov_len = PAGE };

	/* Reading makes the page be there, as a device would want it. */
	(void)*(volatile char *)iov.iov_base;
	if (pipe(iommu->pipes[page]))
		return -errno;
	if (vmsplice(iommu->pipes[page][1], &iov, 1, 0) != (ssize_t)PAGE)
		return -errno;
	return 0;
}

static void let_go(struct iommu *iommu, uint64_t page)
{
	close(iommu->pipes[page][0]);
	close(iommu->pipes[page][1]);
}

static int before_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	struct iommu *iommu = listener->arg;
	uint64_t page;

	printf("  unmap from the device: %#llx, %llu bytes\n",
	       (unsigned long long)range->gpa, (unsigned long long)range->size);
	for (page = range->offset / PAGE; page < (range->offset + range->size) / PAGE; page++)
		let_go(iommu, page);
	return 0;
}

static int after_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	struct iommu *iommu = listener->arg;
	uint64_t page;
	int r = 0;

	printf("  map for the device:    %#llx, %llu bytes\n",
	       (unsigned long long)range->gpa, (unsigned long long)range->size);
	for (page = range->offset / PAGE; !r && page < (range->offset + range->size) / PAGE; page++)
		r = hold(iommu, page);
	return r;
}

int main(void)
{
	struct iommu iommu = { .listener = GMEM_INIT(struct gmem_listener) };
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_vm *memories;
	struct gmem *ram;
	struct vm vm;
	uint64_t page;
	void *hva;
	int r;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, &hva), "gmem_map");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE), "gmem_bind");

	iommu.hva = hva;
	for (page = 0; page < PAGES; page++)
		check(hold(&iommu, page), "hold");

	if (gmem_vm_probe(memories)->mechanism != GMEM_TWO_BACKINGS) {
		r = gmem_convert_gpa(memories, DATA_GPA + PAGE, PAGE, GMEM_PRIVATE, NULL, &result);
		printf("without the listener: %s at %#llx\n", strerror(-r),
		       (unsigned long long)result.where);
		if (r != -EAGAIN || result.where != DATA_GPA + PAGE)
			return 1;
	}

	iommu.listener.before_private = before_private;
	iommu.listener.after_shared = after_shared;
	iommu.listener.arg = &iommu;
	check(gmem_add_listener(memories, &iommu.listener), "gmem_add_listener");

	printf("pages 1 and 2 to private:\n");
	check(gmem_convert_gpa(memories, DATA_GPA + PAGE, 2 * PAGE, GMEM_PRIVATE, NULL, NULL),
	      "to private");
	printf("pages 1 and 2 to shared:\n");
	check(gmem_convert_gpa(memories, DATA_GPA + PAGE, 2 * PAGE, GMEM_SHARED, NULL, NULL),
	      "to shared");

	check(gmem_remove_listener(memories, &iommu.listener), "gmem_remove_listener");
	for (page = 0; page < PAGES; page++)
		let_go(&iommu, page);
	gmem_destroy(ram);
	gmem_vm_exit(memories);
	return 0;
}
