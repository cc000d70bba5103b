// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The guest's memory, for which alone libgmem is needed: one file, private except for the pages
 * that the guest has shared.  Contents stay in place in both directions.
 */
#include <err.h>
#include <gmem.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vm.h"

/* Try again if somebody else holds a page for a moment. */
static const struct gmem_convert_opts preserve = {
	.struct_size = sizeof(preserve),
	.to_shared = GMEM_PRESERVE, .to_private = GMEM_PRESERVE,
	.timeout_ms = 1000,
};

static struct gmem_vm *memories;
static struct gmem *gmem;
static unsigned long nr_converted[2];
static sigjmp_buf after_sigbus;

void memory_create(void)
{
	struct kvm_userspace_memory_region plain = { .memory_size = vm.ram_size };
	struct gmem_vm_opts opts = {
		.struct_size = sizeof(opts),
		.vm_type = KVM_VM_TYPE_ARM_PROTECTED,
		.mechanism = GMEM_IN_PLACE,
	};

	if (!vm.is_protected) {
		check(-posix_memalign(&vm.ram, getpagesize(), vm.ram_size), "memory");
		plain.guest_phys_addr = RAM_GPA;
		plain.userspace_addr = (uintptr_t)vm.ram;
		IOCTL(vm.fd, KVM_SET_USER_MEMORY_REGION, &plain);
		return;
	}

	check(gmem_vm_init(vm.fd, &opts, &memories), "conversion of memory in place");
	check(gmem_create(memories, vm.ram_size, NULL, &gmem), "gmem_create");
	check(gmem_map(gmem, NULL, &vm.ram), "gmem_map");
	check(gmem_bind(gmem, 0, RAM_GPA, 0, vm.ram_size, NULL), "gmem_bind");
}

void memory_make_private(void)
{
	if (vm.is_protected)
		check(gmem_convert(gmem, 0, vm.ram_size, GMEM_PRIVATE, &preserve, NULL),
		      "making the memory private");
}

int memory_handle_exit(struct kvm_run *run, int error)
{
	int r;

	if (!vm.is_protected)
		return 1;
	r = gmem_handle_exit(memories, run, error, &preserve, NULL);
	/* Another vCPU was faster, has changed its mind, or a device holds the page: ask again. */
	if (r < 0 && r != -EALREADY && r != -EPERM && r != -EAGAIN && r != -ETIMEDOUT)
		finish(CONVERSION_FAILED, "the guest asked for a conversion at %#llx: %s",
		       run->memory_fault.gpa, strerror(-r));
	if (r == 0)
		nr_converted[!!(run->memory_fault.flags & KVM_MEMORY_EXIT_FLAG_PRIVATE)] +=
			run->memory_fault.size / getpagesize();
	return r;
}

void *guest_memory(uint64_t gpa, uint64_t size)
{
	uint64_t offset = gpa - RAM_GPA, at = offset & -(uint64_t)getpagesize();
	bool is_bad = offset > vm.ram_size || size > vm.ram_size - offset;
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	for (; vm.is_protected && !is_bad && at < offset + size; at = range.offset + range.size)
		is_bad = gmem_lookup(gmem, at, &range) || range.attributes == GMEM_PRIVATE;
	if (is_bad)
		finish(DEVICE_FAILED, "a device was given %#lx, %lu bytes: not shared", gpa, size);
	return vm.ram + offset;
}

static void on_sigbus(int number)
{
	siglongjmp(after_sigbus, number);
}

bool memory_report(void)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	volatile bool is_readable = false;

	warnx("pages that the guest shared: %lu, took back: %lu", nr_converted[0], nr_converted[1]);
	while (range.attributes != GMEM_PRIVATE)
		if (gmem_lookup(gmem, range.offset + range.size, &range))
			return true;

	signal(SIGBUS, on_sigbus);
	if (!sigsetjmp(after_sigbus, 1)) {
		(void)*(volatile char *)(vm.ram + range.offset);
		is_readable = true;
	}
	warnx("the host reads the private page at %#lx: %s", range.gpa,
	      is_readable ? "it can" : "SIGBUS");
	return !is_readable;
}
