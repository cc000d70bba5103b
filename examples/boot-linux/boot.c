// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * What is in the guest's RAM when it starts: kernel, initrd, and the device tree.  The UART is not
 * in the tree, as a driver would need more of it than is emulated.
 */
#include <fcntl.h>
#include <libfdt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

/* RAM ends with the device tree and the pool that the guest shares for all its I/O. */
#define FDT_SIZE	(64ul << 10)
#define POOL_SIZE	(1ul << 20)

#define GIC_PHANDLE	1
#define POOL_PHANDLE	2
/* From the GIC's binding: shared (0) and private (1) interrupts, level-triggered (4). */
#define SPI(number)	0, number, 4
#define PPI(number)	1, number, 4

#define CELLS(name, ...) do {								\
	uint32_t cells_[] = { __VA_ARGS__ };						\
	for (size_t i_ = 0; i_ < sizeof(cells_) / sizeof(cells_[0]); i_++)		\
		cells_[i_] = cpu_to_fdt32(cells_[i_]);					\
	fdt_property(fdt, name, cells_, sizeof(cells_));				\
} while (0)

static void *fdt;

/* A node at @unit, with the property @name. */
static void begin(const char *node, unsigned long unit, const char *name, const char *value)
{
	char full_name[64];

	snprintf(full_name, sizeof(full_name), "%s@%lx", node, unit);
	fdt_begin_node(fdt, full_name);
	fdt_property_string(fdt, name, value);
}

static void begin_bus(const char *node, uint32_t address_cells, uint32_t size_cells)
{
	fdt_begin_node(fdt, node);
	CELLS("#address-cells", address_cells);
	CELLS("#size-cells", size_cells);
}

static void describe_memory(unsigned long pool_gpa)
{
	begin("memory", RAM_GPA, "device_type", "memory");
	CELLS("reg", RAM_GPA, vm.ram_size);
	fdt_end_node(fdt);
	begin_bus("reserved-memory", 1, 1);
	fdt_property(fdt, "ranges", NULL, 0);
	begin("pool", pool_gpa, "compatible", "restricted-dma-pool");
	CELLS("reg", pool_gpa, POOL_SIZE);
	CELLS("phandle", POOL_PHANDLE);
	fdt_end_node(fdt);
	fdt_end_node(fdt);
}

static void describe_cpus(void)
{
	unsigned int i;

	begin_bus("cpus", 1, 0);
	for (i = 0; i < vm.nr_cpus; i++) {
		begin("cpu", i, "device_type", "cpu");
		fdt_property_string(fdt, "compatible", "arm,armv8");
		fdt_property_string(fdt, "enable-method", "psci");
		CELLS("reg", i);
		fdt_end_node(fdt);
	}
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "psci");
	fdt_property_string(fdt, "compatible", "arm,psci-1.0");
	fdt_property_string(fdt, "method", "hvc");
	fdt_end_node(fdt);
	fdt_begin_node(fdt, "timer");
	fdt_property_string(fdt, "compatible", "arm,armv8-timer");
	CELLS("interrupts", PPI(13), PPI(14), PPI(11), PPI(10));
	fdt_property(fdt, "always-on", NULL, 0);
	fdt_end_node(fdt);
	begin("interrupt-controller", GICD_GPA, "compatible", "arm,gic-v3");
	fdt_property(fdt, "interrupt-controller", NULL, 0);
	CELLS("#interrupt-cells", 3);
	CELLS("reg", GICD_GPA, 0x10000, GICR_GPA, vm.nr_cpus * 0x20000);
	CELLS("phandle", GIC_PHANDLE);
	fdt_end_node(fdt);
}

/* Read @path to [@gpa, @end); returns where it ends. */
static unsigned long load(const char *path, unsigned long gpa, unsigned long end)
{
	unsigned long room = gpa < end ? end - gpa : 0;
	int fd = check(SYS(open(path, O_RDONLY | O_CLOEXEC)), path);
	unsigned long size = check(SYS(read(fd, vm.ram + (gpa - RAM_GPA), room)), path);

	if (size == room)
		finish(SETUP_FAILED, "%s does not fit; give the guest more --memory", path);
	close(fd);
	return gpa + size;
}

uint64_t boot_load(const char *image, const char *initrd, const char *append)
{
	/* Documentation/arch/arm64/booting.rst */
	const struct {
		uint64_t code, text_offset, image_size, flags, reserved[3];
		char magic[4];
	} *header = vm.ram;
	unsigned long pool_gpa = RAM_GPA + vm.ram_size - POOL_SIZE, fdt_gpa = pool_gpa - FDT_SIZE;
	unsigned long initrd_gpa, initrd_end;
	char bootargs[1024];
	unsigned int i;

	load(image, RAM_GPA, fdt_gpa);
	if (memcmp(header->magic, "ARM\x64", 4) || header->text_offset)
		finish(SETUP_FAILED, "%s is not an arm64 Image of Linux 5.8 or later", image);
	/* This is more than the file has: image_size includes what the kernel zeroes. */
	initrd_gpa = RAM_GPA + header->image_size;
	initrd_end = load(initrd, initrd_gpa, fdt_gpa);
	snprintf(bootargs, sizeof(bootargs), "console=hvc0 panic=-1 loglevel=4 %s", append);

	fdt = vm.ram + (fdt_gpa - RAM_GPA);
	fdt_create(fdt, FDT_SIZE);
	fdt_finish_reservemap(fdt);
	begin_bus("", 1, 1);
	CELLS("interrupt-parent", GIC_PHANDLE);
	fdt_property_string(fdt, "compatible", "linux,dummy-virt");
	fdt_begin_node(fdt, "chosen");
	fdt_property_string(fdt, "bootargs", bootargs);
	CELLS("linux,initrd-start", initrd_gpa);
	CELLS("linux,initrd-end", initrd_end);
	fdt_end_node(fdt);
	describe_memory(pool_gpa);
	describe_cpus();
	for (i = 0; i < vm.nr_devices; i++) {
		begin("virtio", VIRTIO_GPA + i * VIRTIO_SIZE, "compatible", "virtio,mmio");
		CELLS("reg", VIRTIO_GPA + i * VIRTIO_SIZE, VIRTIO_SIZE);
		CELLS("interrupts", SPI(i));
		CELLS("memory-region", POOL_PHANDLE);
		fdt_property(fdt, "dma-coherent", NULL, 0);
		fdt_end_node(fdt);
	}
	fdt_end_node(fdt);
	/* There is more room than the tree can need, so nothing but this can fail. */
	if (fdt_finish(fdt))
		finish(SETUP_FAILED, "the device tree is malformed");
	return fdt_gpa;
}
