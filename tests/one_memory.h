/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* A VM with one memory, mapped.  For tests in the machine. */
#ifndef TESTS_ONE_MEMORY_H
#define TESTS_ONE_MEMORY_H

#include "../examples/vm.h"

#define PAGES	16ul
#define SLOT	1

static struct vm vm;
static struct gmem_vm *memories;
static struct gmem *ram;
static char *hva;

/* PAGES pages, shared, at DATA_GPA. */
static inline void make_vm(enum gmem_mechanism mechanism)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	void *mem;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	opts.mechanism = mechanism;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, PAGES * PAGE, NULL, &ram), "gmem_create");
	check(gmem_map(ram, &mem), "gmem_map");
	check(gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE), "gmem_bind");
	hva = mem;
}

/* With contents, where they can be kept. */
static inline int convert(uint64_t page, uint64_t nr, uint64_t attributes)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	const struct gmem_probe *probe = gmem_vm_probe(memories);

	if (probe->to_private & probe->to_shared & GMEM_POLICY_BIT(GMEM_PRESERVE))
		opts.to_private = opts.to_shared = GMEM_PRESERVE;
	return gmem_convert(ram, page * PAGE, nr * PAGE, attributes, &opts, NULL);
}

#endif
