// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * A VMM that makes its own files, mapping and slots, as most existing ones do, and uses the
 * library only for conversions.  All memory begins private; the guest asks for one page to be
 * shared, leaves a message there, rings, and takes the page back.
 */
#define _GNU_SOURCE
#include <gmem.h>
#include <stdbool.h>
#include <unistd.h>

#include "guest_memfd.h"
#include "vm.h"

#define SIZE	(16 * PAGE)
#define SLOT	1

/* What the VMM has and keeps. */
struct ram {
	int guest_memfd;
	void *hva;
};

/* In place one file has both halves; otherwise the shared half is anonymous memory at hva. */
static void make_ram(const struct vm *vm, struct ram *ram, bool in_place)
{
	struct kvm_create_guest_memfd create = {
		.size = SIZE, .flags = in_place ? GUEST_MEMFD_FLAG_MMAP : 0,
	};

	ram->guest_memfd = ioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &create);
	check(sys(ram->guest_memfd), "KVM_CREATE_GUEST_MEMFD");
	ram->hva = mmap(NULL, SIZE, PROT_READ | PROT_WRITE,
			in_place ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS,
			in_place ? ram->guest_memfd : -1, 0);
	check(ram->hva == MAP_FAILED ? -errno : 0, "mmap");
}

/* 0, or -errno. */
static int set_slot(const struct vm *vm, const struct ram *ram, uint64_t size)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = SLOT, .flags = KVM_MEM_GUEST_MEMFD, .guest_phys_addr = DATA_GPA,
		.memory_size = size, .userspace_addr = (uintptr_t)ram->hva,
		.guest_memfd = ram->guest_memfd,
	};

	return sys(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region));
}

/*
 * The states are the kernel's, if it can be asked; otherwise all memory has its initial
 * state.
 */
static void adopt(struct gmem_vm *memories, const struct ram *ram, struct gmem **gmem)
{
	struct gmem_adopt_opts opts = GMEM_INIT(struct gmem_adopt_opts);
	int r;

	opts.hva = ram->hva;
	opts.attributes = GMEM_PRIVATE;
	opts.flags = GMEM_ASK_KERNEL;
	r = gmem_adopt(memories, SIZE, ram->guest_memfd, -1, &opts, gmem);
	if (r == -EOPNOTSUPP) {
		opts.flags = 0;
		r = gmem_adopt(memories, SIZE, ram->guest_memfd, -1, &opts, gmem);
	}
	check(r, "gmem_adopt");
}

int main(void)
{
	struct gmem_bind_opts no_slot = GMEM_INIT(struct gmem_bind_opts);
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	const struct gmem_probe *probe;
	struct gmem_vm *memories;
	struct gmem *gmem;
	struct ram ram;
	bool rang = false;
	struct vm vm;
	int r, slot;

	vm_create(&vm, VM_TYPE);
	opts.vm_type = VM_TYPE;
	check(gmem_vm_init(vm.fd, &opts, &memories), "gmem_vm_init");
	probe = gmem_vm_probe(memories);
	make_ram(&vm, &ram, probe->mechanism != GMEM_TWO_BACKINGS);

	/* Bind first, so that no vCPU finds a slot with the wrong states. */
	adopt(memories, &ram, &gmem);
	no_slot.flags = GMEM_NO_SLOT;
	check(gmem_bind(gmem, 0, DATA_GPA, 0, SIZE, &no_slot), "gmem_bind");
	check(set_slot(&vm, &ram, SIZE), "KVM_SET_USER_MEMORY_REGION2");
	vm_start(&vm, memories, GUEST_SAYS_HI);

	for (;;) {
		r = ioctl(vm.vcpu, KVM_RUN, 0) ? -errno : 0;
		if (r == -EINTR)
			continue;
		r = gmem_handle_exit(memories, vm.run, r, NULL, NULL);
		if (!r)
			continue;
		check(r < 0 ? r : 0, "gmem_handle_exit");
		if (!vm_rang(&vm))
			break;
		printf("%s: the guest says %.2s\n", gmem_mechanism_name(probe->mechanism),
		       (char *)ram.hva);
		rang = !memcmp(ram.hva, "hi", 2);
	}

	check(gmem_lookup_gpa(memories, DATA_GPA, &range), "gmem_lookup_gpa");
	r = rang && vm_halted(&vm) && range.attributes == GMEM_PRIVATE;

	/* In the opposite order. */
	slot = set_slot(&vm, &ram, 0);
	check(slot == -EPERM ? 0 : slot, "deleting the slot");
	check(gmem_unbind(memories, DATA_GPA, NULL), "gmem_unbind");
	gmem_destroy(gmem);
	gmem_destroy(vm.code);
	gmem_vm_exit(memories);

	/*
	 * Everything still exists.  If KVM keeps a protected guest's slot, its mapping has to stay.
	 */
	if (!slot)
		check(sys(munmap(ram.hva, SIZE)), "munmap");
	check(sys(close(ram.guest_memfd)), "close");
	printf("page 0 %s; the VMM has closed its own file\n", r ? "is private again" : "is WRONG");
	return r ? 0 : 1;
}
