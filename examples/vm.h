/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the examples need of KVM and is not about memory: a VM with one vCPU in real
 * mode, whose code lies in a page of ordinary memory at CODE_GPA.  It looks for data at
 * DATA_GPA.
 */
#ifndef EXAMPLES_VM_H
#define EXAMPLES_VM_H

#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CODE_GPA	0x1000
#define DATA_GPA	0x10000
#define PAGE		4096ul

struct vm {
	int fd;
	int vcpu;
	struct kvm_run *run;
};

/* 0 goes on; anything else ends the program with what it was about. */
static inline void check(int r, const char *what)
{
	if (!r)
		return;
	fprintf(stderr, "%s: %s\n", what, strerror(r < 0 ? -r : r));
	exit(1);
}

static inline int sys(int r)
{
	return r < 0 ? -errno : 0;
}

static inline void vm_start(struct vm *vm, unsigned long type, const uint8_t *code, size_t size)
{
	struct kvm_userspace_memory_region region = {
		.slot = 0, .guest_phys_addr = CODE_GPA, .memory_size = PAGE,
	};
	struct kvm_sregs sregs;
	struct kvm_regs regs = { .rflags = 2 };
	int kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	void *page;

	check(sys(kvm), "/dev/kvm");
	vm->fd = ioctl(kvm, KVM_CREATE_VM, type);
	check(sys(vm->fd), "KVM_CREATE_VM");
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	check(sys(vm->vcpu), "KVM_CREATE_VCPU");
	vm->run = mmap(NULL, ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		       MAP_SHARED, vm->vcpu, 0);

	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(vm->run == MAP_FAILED || page == MAP_FAILED ? -errno : 0, "mmap");
	memcpy(page, code, size);
	region.userspace_addr = (uintptr_t)page;
	check(sys(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region)), "memslot");

	check(sys(ioctl(vm->vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	sregs.cs.base = CODE_GPA;
	sregs.cs.selector = CODE_GPA >> 4;
	sregs.ds.base = DATA_GPA;
	sregs.ds.selector = DATA_GPA >> 4;
	check(sys(ioctl(vm->vcpu, KVM_SET_SREGS, &sregs)), "KVM_SET_SREGS");
	check(sys(ioctl(vm->vcpu, KVM_SET_REGS, &regs)), "KVM_SET_REGS");
}

#endif
