// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * The same program for every kernel that has private memory: it asks what is
 * available, takes the best, and relies on nothing else.  On a stock kernel that is
 * two backings, where contents do not survive and the host still reads zeros.
 */
#include <gmem.h>

#include "vm.h"

/* The first policy of the list that is offered. */
static enum gmem_policy choose(uint32_t offered, enum gmem_policy best)
{
	return offered & GMEM_POLICY_BIT(best) ? best : GMEM_NONE;
}

int main(void)
{
	struct gmem_convert_opts convert = GMEM_CONVERT_OPTS;
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	const struct gmem_probe *probe;
	struct gmem_vm *memories;
	struct gmem *ram;
	struct vm vm;
	char *mem;
	void *hva;
	int r;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	r = gmem_vm_init(vm.fd, &opts, &memories);
	if (r == -EOPNOTSUPP) {
		printf("no private memory here\n");
		return 4;
	}
	check(r, "gmem_vm_init");

	probe = gmem_vm_probe(memories);
	convert.to_private = choose(probe->to_private, GMEM_PRESERVE);
	convert.to_shared = choose(probe->to_shared, GMEM_ZERO);
	printf("mechanism: %s; %s to private, %s to shared\n",
	       gmem_mechanism_name(probe->mechanism), gmem_policy_name(convert.to_private),
	       gmem_policy_name(convert.to_shared));

	check(gmem_create(memories, PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &hva), "gmem_map");
	check(gmem_bind(ram, 1, DATA_GPA, 0, PAGE, NULL), "gmem_bind");
	mem = hva;
	vm_start(&vm, memories, GUEST_WRITES_G);

	mem[0] = 'h';
	check(gmem_convert_gpa(memories, DATA_GPA, PAGE, GMEM_PRIVATE, &convert, NULL), "to private");
	vm_run(&vm, memories, &convert);
	/* If the guest has a say in it, it is already. */
	check(gmem_convert_gpa(memories, DATA_GPA, PAGE, GMEM_SHARED, &convert, NULL), "to shared");
	printf("the guest wrote 'g'; the host reads %s\n", mem[0] ? "it" : "zeros");

	r = mem[0];
	gmem_destroy(ram);
	gmem_destroy(vm.code);
	gmem_vm_exit(memories);
	return r ? 1 : 0;
}
