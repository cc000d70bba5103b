// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The smallest VMM for a guest with private memory.  All memory begins private; the
 * guest asks for one page to be shared, leaves a message there, rings, and takes the
 * page back.  The VMM only has to pass exits to gmem_handle_exit().
 */
#include <gmem.h>
#include <linux/kvm_para.h>

#include "vm.h"

#define SW_PROTECTED_VM	1
#define BELL		0x80

/* eax = KVM_HC_MAP_GPA_RANGE, ebx = gpa, ecx = pages, edx = attributes */
#define MAP_GPA_RANGE(attributes)					\
	0x66, 0xb8, KVM_HC_MAP_GPA_RANGE, 0, 0, 0,			\
	0x66, 0xbb, 0, 0, DATA_GPA >> 16, 0,				\
	0x66, 0xb9, 1, 0, 0, 0,						\
	0x66, 0xba, attributes, 0, 0, 0,				\
	0x0f, 0x01, 0xd9	/* vmmcall */

static const uint8_t guest[] = {
	MAP_GPA_RANGE(0),
	0xc6, 0x06, 0, 0, 'h',	/* mov byte [0], 'h' */
	0xc6, 0x06, 1, 0, 'i',	/* mov byte [1], 'i' */
	0xe6, BELL,		/* out BELL, al */
	MAP_GPA_RANGE(1 << 4),
	0xf4,			/* hlt */
};

int main(void)
{
	struct gmem_create_opts create = GMEM_INIT(struct gmem_create_opts);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1 << KVM_HC_MAP_GPA_RANGE },
	};
	struct gmem_range range;
	struct gmem_vm *memories;
	struct gmem *ram;
	bool rang = false;
	struct vm vm;
	void *hva;
	int r;

	vm_start(&vm, SW_PROTECTED_VM, guest, sizeof(guest));
	check(sys(ioctl(vm.fd, KVM_ENABLE_CAP, &cap)), "KVM_CAP_EXIT_HYPERCALL");

	opts.vm_type = SW_PROTECTED_VM;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	create.attributes = GMEM_PRIVATE;
	check(gmem_create(memories, 16 * PAGE, &create, &ram), "gmem_create");
	check(gmem_map(ram, &hva), "gmem_map");
	check(gmem_bind(ram, 1, DATA_GPA, 0, 16 * PAGE), "gmem_bind");

	for (;;) {
		r = ioctl(vm.vcpu, KVM_RUN, 0) ? -errno : 0;
		if (r == -EINTR)
			continue;
		r = gmem_handle_exit(memories, vm.run, r, NULL, NULL);
		if (!r)
			continue;
		check(r < 0 ? r : 0, "gmem_handle_exit");

		if (vm.run->exit_reason == KVM_EXIT_IO && vm.run->io.port == BELL) {
			printf("the guest says: %.2s\n", (char *)hva);
			rang = !memcmp(hva, "hi", 2);
		} else {
			break;
		}
	}

	check(gmem_lookup(ram, 0, &range), "gmem_lookup");
	printf("the guest %s; page 0 is %s\n",
	       vm.run->exit_reason == KVM_EXIT_HLT ? "halted" : "ended badly",
	       range.attributes == GMEM_PRIVATE ? "private again" : "shared");
	r = rang && vm.run->exit_reason == KVM_EXIT_HLT && range.attributes == GMEM_PRIVATE;
	gmem_destroy(ram);
	gmem_vm_exit(memories);
	return r ? 0 : 1;
}
