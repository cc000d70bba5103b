// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The smallest VMM for a guest with private memory.  All memory begins private; the
 * guest asks for one page to be shared, leaves a message there, rings, and takes the
 * page back.  The VMM only has to pass exits to gmem_handle_exit().
 */
#include <gmem.h>

#include "vm.h"

int main(void)
{
	struct gmem_create_opts create = GMEM_INIT(struct gmem_create_opts);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	struct gmem_vm *memories;
	struct gmem *ram;
	bool rang = false;
	struct vm vm;
	void *hva;
	int r;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	create.attributes = GMEM_PRIVATE;
	check(gmem_create(memories, 16 * PAGE, &create, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &hva), "gmem_map");
	check(gmem_bind(ram, 1, DATA_GPA, 0, 16 * PAGE, NULL), "gmem_bind");
	vm_start(&vm, memories, GUEST_SAYS_HI);

	for (;;) {
		r = ioctl(vm.vcpu, KVM_RUN, 0) ? -errno : 0;
		if (r == -EINTR)
			continue;
		r = gmem_handle_exit(memories, vm.run, r, NULL, NULL);
		if (!r)
			continue;
		check(r < 0 ? r : 0, "gmem_handle_exit");

		if (vm_rang(&vm)) {
			printf("the guest says: %.2s\n", (char *)hva);
			rang = !memcmp(hva, "hi", 2);
		} else {
			break;
		}
	}

	check(gmem_lookup(ram, 0, &range), "gmem_lookup");
	printf("the guest %s; page 0 is %s\n",
	       vm_halted(&vm) ? "halted" : "ended badly",
	       range.attributes == GMEM_PRIVATE ? "private again" : "shared");
	r = rang && vm_halted(&vm) && range.attributes == GMEM_PRIVATE;
	gmem_destroy(ram);
	gmem_destroy(vm.code);
	gmem_vm_exit(memories);
	return r ? 0 : 1;
}
