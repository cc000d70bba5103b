// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * In the machine: a device is plugged in and out, and memory bound and unbound, while
 * the guest's pages are converted continuously.  Nothing is refused.  TAP.
 */
#include <pthread.h>
#include <stdatomic.h>

#include "../examples/edu.h"
#include "../examples/vm.h"
#include "iommu_abi.h"
#include "tap.h"

#define PAGES	64ul
#define ROUNDS	100

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *ram, *other;
static atomic_bool stop;
static atomic_int first_error;
static atomic_ulong nr_converted;

static void note(int r)
{
	int none = 0;

	if (r)
		atomic_compare_exchange_strong(&first_error, &none, r);
}

/* Pages of one half each, so that the threads meet the device and not each other. */
static void *convert_all_the_time(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	uint64_t base = (uintptr_t)arg * PAGES / 2, page, nr;

	while (!stop) {
		page = rand_r(&seed) % (PAGES / 2);
		nr = 1 + rand_r(&seed) % (PAGES / 2 - page);
		note(gmem_convert(ram, (base + page) * PAGE, nr * PAGE,
				  rand_r(&seed) % 2 ? GMEM_PRIVATE : GMEM_SHARED, NULL, NULL));
		nr_converted++;
	}
	return NULL;
}

static struct gmem_iommu *plug_in(const struct gmem_iommu_opts *opts)
{
	struct gmem_iommu *iommu = NULL;

	note(gmem_add_iommu(memories, opts, &iommu));
	return iommu;
}

/* iommufd's own call cannot unmap a single page of a larger mapping. */
static bool is_one_mapping(const struct gmem_iommu_opts *opts)
{
	struct ioas_unmap unmap = {
		.size = sizeof(unmap), .ioas_id = opts->ioas_id, .iova = DATA_GPA + PAGE,
		.length = PAGE,
	};

	return ioctl(opts->fd, IOAS_UNMAP, &unmap) && errno == ENOENT;
}

static void run(const char *path, const char *bdf,
		int (*open_device)(const char *bdf, struct gmem_iommu_opts *opts))
{
	struct gmem_iommu_opts iommu_opts = GMEM_INIT(struct gmem_iommu_opts);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_iommu *iommu;
	pthread_t threads[2];
	unsigned long until;
	int device, round;
	uintptr_t i;

	device = open_device(bdf, &iommu_opts);
	check(device < 0 ? device : 0, bdf);
	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_create(memories, PAGES * PAGE, NULL, &other), "gmem_create");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGES * PAGE, NULL), "gmem_bind");

	iommu = plug_in(&iommu_opts);
	if (iommu_opts.ioas_id)
		result(is_one_mapping(&iommu_opts), "%s.range_is_one_mapping", path);
	note(gmem_convert(ram, PAGE, PAGE, GMEM_PRIVATE, NULL, NULL));
	note(gmem_convert(ram, PAGE, PAGE, GMEM_SHARED, NULL, NULL));
	result(!first_error, "%s.one_page_leaves_and_comes_back", path);
	gmem_remove_iommu(iommu);

	for (i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, convert_all_the_time, (void *)i);
	for (round = 0; round < ROUNDS; round++) {
		iommu = plug_in(&iommu_opts);
		note(gmem_bind(other, 3, DATA_GPA + PAGES * PAGE, 0, PAGES * PAGE, NULL));
		/* With the device in it, whatever the CPUs are busy with. */
		for (until = nr_converted + 3; nr_converted < until; )
			sched_yield();
		if (round % 2)
			note(gmem_unbind(memories, DATA_GPA + PAGES * PAGE, NULL));
		note(gmem_remove_iommu(iommu));
		if (!(round % 2))
			note(gmem_unbind(memories, DATA_GPA + PAGES * PAGE, NULL));
	}
	stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	printf("# %lu conversions, %d rounds, first error: %s\n", nr_converted, ROUNDS,
	       strerror(-first_error));
	result(!first_error, "%s.nobody_is_refused_anything", path);

	/* Nothing is still mapped. */
	result(!gmem_convert(ram, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, NULL) &&
	       !gmem_convert(other, 0, PAGES * PAGE, GMEM_PRIVATE, NULL, NULL), "%s.nothing_stays_mapped", path);
	gmem_destroy(ram);
	gmem_destroy(other);
	gmem_vm_exit(memories);
}

/* The device is open in one way at a time, and what was opened ends with the process. */
static void run_alone(const char *path, const char *bdf, int nr,
		      int (*open_device)(const char *bdf, struct gmem_iommu_opts *opts))
{
	if (!plan_alone(nr))
		return;
	run(path, bdf, open_device);
	end_alone();
}

int main(void)
{
	char bdf[256];

	plan("hotplug", 7);
	check(edu_find(bdf, sizeof(bdf)), "QEMU's edu device");
	check(edu_give_to_vfio(bdf), "vfio-pci");
	run_alone("type1", bdf, 3, edu_open_type1);
	run_alone("iommufd", bdf, 4, edu_open_iommufd);

	return exit_status();
}
