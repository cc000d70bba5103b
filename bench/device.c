// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * Memory that an IOMMU has mapped for a device: the cost of mapping by the size of a
 * mapping, and of a conversion there and back through libgmem, with and without a
 * device.  The device does nothing.
 */
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../examples/edu.h"
#include "bench.h"
#include "gmem.h"
#include "iommu_abi.h"

#define GUEST_GPA	GIB
#define SLOT		1
#define SIZE		(16 * MIB)
#define SW_PROTECTED_VM	1

/* No device at all; page by page; and a mapping for each range, from which pages are cut. */
enum path { NO_DEVICE, TYPE1, IOMMUFD };

static const char *const path_names[] = { "no_device", "type1", "iommufd" };

struct device {
	struct gmem_iommu_opts opts;
	int fd;
};

static void open_device(struct device *device, enum path path, const char *bdf)
{
	device->opts = GMEM_INIT(struct gmem_iommu_opts);
	device->fd = path == TYPE1 ? edu_open_type1(bdf, &device->opts) :
				     edu_open_iommufd(bdf, &device->opts);
	if (device->fd < 0) {
		errno = -device->fd;
		die("cannot open %s through %s", bdf, path_names[path]);
	}
}

static void close_device(struct device *device)
{
	close(device->fd);
	close(device->opts.fd);
}

/* ---- Mapping alone ------------------------------------------------------------ */

static int map(const struct device *device, void *hva, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_map dma_map = {
		.argsz = sizeof(dma_map), .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
		.vaddr = (uintptr_t)hva, .iova = iova, .size = size,
	};
	struct ioas_map ioas_map = {
		.size = sizeof(ioas_map),
		.flags = IOAS_MAP_FIXED_IOVA | IOAS_MAP_READABLE | IOAS_MAP_WRITEABLE,
		.ioas_id = device->opts.ioas_id, .user_va = (uintptr_t)hva, .length = size,
		.iova = iova,
	};

	return device->opts.ioas_id ? ioctl(device->opts.fd, IOAS_MAP, &ioas_map) :
				      ioctl(device->opts.fd, VFIO_IOMMU_MAP_DMA, &dma_map);
}

static int unmap(const struct device *device, uint64_t iova, uint64_t size)
{
	struct vfio_iommu_type1_dma_unmap dma_unmap = {
		.argsz = sizeof(dma_unmap), .iova = iova, .size = size,
	};
	struct ioas_unmap ioas_unmap = {
		.size = sizeof(ioas_unmap), .ioas_id = device->opts.ioas_id, .iova = iova,
		.length = size,
	};

	return device->opts.ioas_id ? ioctl(device->opts.fd, IOAS_UNMAP, &ioas_unmap) :
				      ioctl(device->opts.fd, VFIO_IOMMU_UNMAP_DMA, &dma_unmap);
}

static void granularity(const struct device *device, enum path path, char *hva, uint64_t bytes)
{
	struct key key = {
		.way = path_names[path], .direction = "-", .policy = "-", .touched = "host",
		.unit = clock_is_instructions() ? "instructions/page" : "ns/page",
		.bytes = bytes, .count = 1,
	};
	struct budget budget;
	uint64_t began, at;

	budget_start(&budget, 3);
	while (budget_left(&budget, 1, 5)) {
		began = clock_now();
		for (at = 0; at < SIZE; at += bytes) {
			if (map(device, hva + at, GUEST_GPA + at, bytes))
				die("cannot map %llu bytes for a device", bytes + 0ull);
		}
		key.measure = "dma_map";
		record(&key, clock_since(began) / (SIZE / BENCH_PAGE));

		began = clock_now();
		if (unmap(device, GUEST_GPA, SIZE))
			die("cannot unmap from a device");
		key.measure = "dma_unmap";
		record(&key, clock_since(began) / (SIZE / BENCH_PAGE));
	}
}

/* ---- Conversions ---------------------------------------------------------------- */

static void convert(struct gmem *ram, uint64_t bytes, uint64_t attributes, bool keep)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	int r;

	if (keep) {
		opts.to_shared = GMEM_PRESERVE;
		opts.to_private = GMEM_PRESERVE;
	}
	r = gmem_convert(ram, 0, bytes, attributes, &opts, NULL);
	if (r) {
		errno = -r;
		die("cannot convert what a device has");
	}
}

/*
 * libgmem's default, which is ZERO and NONE, or PRESERVE.  Memory that is mapped for a
 * device is memory that somebody uses, so without a device there are two rows: nobody
 * touches it, and the host touches each page while it is shared.
 */
static void round_trip(struct gmem *ram, enum path path, uint64_t bytes, bool keep,
		       volatile char *touch)
{
	struct key key = {
		.measure = "device_round_trip", .way = path_names[path], .direction = "-",
		.policy = keep ? "preserve" : "zero+none", .touched = touch ? "host" : "never",
		.unit = clock_unit(), .bytes = bytes, .count = 1,
	};
	struct budget budget;
	uint64_t began, at;
	double cost;

	budget_start(&budget, 3);
	while (budget_left(&budget, 1, 9)) {
		began = clock_now();
		convert(ram, bytes, GMEM_PRIVATE, keep);
		convert(ram, bytes, GMEM_SHARED, keep);
		for (at = 0; touch && at < bytes; at += BENCH_PAGE)
			touch[at] = 1;
		cost = clock_since(began);
		record(&key, cost);
	}
}

static void one_path(enum path path, const char *bdf)
{
	static const uint64_t sizes[] = { 4 * KIB, 64 * KIB, 2 * MIB, SIZE };
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_iommu *iommu = NULL;
	struct gmem_vm *vm = NULL;
	struct gmem *ram = NULL;
	struct device device;
	struct guest guest;
	void *hva = NULL;
	size_t i;
	int keep;

	guest_create(&guest, 1);
	opts.vm_type = SW_PROTECTED_VM;
	if (gmem_vm_init(guest.fd, &opts, &vm) || gmem_create(vm, SIZE, NULL, &ram) ||
	    gmem_map(ram, NULL, &hva) || gmem_bind(ram, SLOT, GUEST_GPA, 0, SIZE, NULL))
		die("cannot make a memory for a device");
	memset(hva, 1, SIZE);

	if (path != NO_DEVICE) {
		open_device(&device, path, bdf);
		for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
			granularity(&device, path, hva, sizes[i]);
		if (gmem_add_iommu(vm, &device.opts, &iommu))
			die("cannot give a device the memory");
	}
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (keep = 0; keep < 2; keep++) {
			round_trip(ram, path, sizes[i], keep, NULL);
			if (path == NO_DEVICE)
				round_trip(ram, path, sizes[i], keep, hva);
		}
	}

	gmem_remove_iommu(iommu);
	if (path != NO_DEVICE)
		close_device(&device);
	gmem_destroy(ram);
	gmem_vm_exit(vm);
	guest_destroy(&guest);
}

static void run(void)
{
	char bdf[256];
	enum path path;

	if (edu_find(bdf, sizeof(bdf)) || edu_give_to_vfio(bdf)) {
		fprintf(stderr, "no edu device available to VFIO: nothing to measure\n");
		return;
	}
	for (path = NO_DEVICE; path <= IOMMUFD; path++)
		one_path(path, bdf);
}

const struct bench bench_device = {
	.name = "device",
	.help = "memory that an IOMMU has mapped: mapping by size, conversions beside no device",
	.run = run,
	.countable = true,
};
