// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Code in private memory, which KVM cannot emulate. */
#include "answers.h"

/* mov al, es:[0], which is MMIO; the same by a string instruction; and what needs no emulator. */
static const uint8_t does_mmio[] = { 0x26, 0xa0, 0, 0, 0xf4 };
static const uint8_t does_string_io[] = { 0xba, BELL, 0, 0x6e, 0xf4 };
static const uint8_t does_io[] = { 0xe6, BELL, 0xf4 };

/* Run @code at the beginning of the memory, and return how that ends. */
static uint32_t run(const uint8_t *code, size_t size, uint64_t attributes)
{
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;

	/* What the last exit left to be done would move rip. */
	vm.run->immediate_exit = 1;
	ioctl(vm.vcpu, KVM_RUN, 0);
	vm.run->immediate_exit = 0;
	check(gmem_convert(ram, 0, PAGES * PAGE, GMEM_SHARED, NULL, NULL), "to shared");
	memcpy(hva, code, size);
	if (attributes == GMEM_PRIVATE)
		check(to_private(0, PAGES), "to private");
	check(sys(ioctl(vm.vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	sregs.cs.base = DATA_GPA;
	sregs.cs.selector = DATA_GPA >> 4;
	sregs.ds.base = DATA_GPA;
	sregs.ds.selector = DATA_GPA >> 4;
	sregs.es.base = DEVICE_GPA;
	sregs.es.selector = DEVICE_GPA >> 4;
	check(sys(ioctl(vm.vcpu, KVM_SET_SREGS, &sregs)), "KVM_SET_SREGS");
	check(sys(ioctl(vm.vcpu, KVM_SET_REGS, &regs)), "KVM_SET_REGS");
	check(sys(ioctl(vm.vcpu, KVM_RUN, 0)), "KVM_RUN");
	printf("# exit %u\n", vm.run->exit_reason);
	return vm.run->exit_reason;
}

#define RUN(code, attributes) run(code, sizeof(code), attributes)

static bool cannot_emulate(uint32_t exit_reason)
{
	return exit_reason == KVM_EXIT_INTERNAL_ERROR &&
	       vm.run->internal.suberror == KVM_INTERNAL_ERROR_EMULATION;
}

void emulator(void)
{
	make_vm(GMEM_IN_PLACE, PAGES * PAGE);
	check(bind_with(0), "gmem_bind");
	result(RUN(does_io, GMEM_PRIVATE) == KVM_EXIT_IO, "emulator.private_code_does_simple_io");
	result(RUN(does_mmio, GMEM_SHARED) == KVM_EXIT_MMIO && vm.run->mmio.phys_addr == DEVICE_GPA,
	       "emulator.shared_code_does_mmio");
	result(cannot_emulate(RUN(does_mmio, GMEM_PRIVATE)),
	       "emulator.mmio_of_private_code_is_an_internal_error");
	result(RUN(does_string_io, GMEM_SHARED) == KVM_EXIT_IO, "emulator.shared_code_does_string_io");
	result(cannot_emulate(RUN(does_string_io, GMEM_PRIVATE)),
	       "emulator.string_io_of_private_code_is_an_internal_error");
}
