// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* What the answers share. */
#include <linux/falloc.h>

#include "answers.h"

struct vm vm;
struct gmem_vm *memories;
struct gmem *ram;
char *hva;

void make_vm(enum gmem_mechanism mechanism, uint64_t size)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	void *mem;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	opts.mechanism = mechanism;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	check(gmem_create(memories, size, NULL, &ram), "gmem_create");
	check(gmem_map(ram, NULL, &mem), "gmem_map");
	hva = mem;
}

int bind_with(uint32_t slot_flags)
{
	struct gmem_bind_opts opts = GMEM_INIT(struct gmem_bind_opts);

	opts.slot_flags = slot_flags;
	return gmem_bind(ram, SLOT, DATA_GPA, 0, PAGES * PAGE, &opts);
}

int to_private(uint64_t page, uint64_t nr)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	if (gmem_vm_probe(memories)->to_private & GMEM_POLICY_BIT(GMEM_PRESERVE))
		opts.to_private = GMEM_PRESERVE;
	return gmem_convert(ram, page * PAGE, nr * PAGE, GMEM_PRIVATE, &opts, NULL);
}

void make_half_private(void)
{
	memset(hva, 's', PAGES / 2 * PAGE);
	memset(hva + PAGES / 2 * PAGE, 'p', PAGES / 2 * PAGE);
	check(to_private(PAGES / 2, PAGES / 2), "to private");
}

int convert(int fd)
{
	struct kvm_memory_attributes2 attrs = { .size = PAGE, .attributes = GMEM_PRIVATE };

	return sys(ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs));
}

int punch(int fd, uint64_t page)
{
	return sys(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, page * PAGE, PAGE));
}
