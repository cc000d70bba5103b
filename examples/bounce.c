// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A bounce buffer with PRESERVE: the host writes a request and hands the page to
 * the guest, which works on it where nobody can see it; the host takes it back with
 * the answer. No byte is copied and no page is exchanged.
 */
#include <gmem.h>

#include "vm.h"

int main(void)
{
	struct gmem_convert_opts keep = GMEM_CONVERT_OPTS;
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_vm *memories;
	const struct gmem_probe *probe;
	struct gmem *buffer;
	struct vm vm;
	void *hva;
	int r;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");

	probe = gmem_vm_probe(memories);
	if (!(probe->to_shared & probe->to_private & GMEM_POLICY_BIT(GMEM_PRESERVE))) {
		printf("%s keeps no contents here; copy instead\n",
		       gmem_mechanism_name(probe->mechanism));
		return 4;
	}
	keep.to_shared = GMEM_PRESERVE;
	keep.to_private = GMEM_PRESERVE;

	check(gmem_create(memories, PAGE, NULL, &buffer), "gmem_create");
	check(gmem_map(buffer, NULL, &hva), "gmem_map");
	check(gmem_bind(buffer, 1, DATA_GPA, 0, PAGE, NULL), "gmem_bind");

	vm_start(&vm, memories, GUEST_TO_UPPER_CASE);

	strcpy(hva, "request");
	printf("host writes:  %s\n", (char *)hva);
	check(gmem_convert(buffer, 0, PAGE, GMEM_PRIVATE, &keep, NULL), "to private");
	vm_run(&vm, memories, &keep);
	/* If the guest has a say in it, it is already. */
	check(gmem_convert(buffer, 0, PAGE, GMEM_SHARED, &keep, NULL), "to shared");
	printf("host reads:   %s\n", (char *)hva);

	r = strcmp(hva, "REQUEST");
	gmem_destroy(buffer);
	gmem_destroy(vm.code);
	gmem_vm_exit(memories);
	return r ? 1 : 0;
}
