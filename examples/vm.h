/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * What the examples need from KVM that is not about memory: a VM with one vCPU, which
 * expects data at DATA_GPA.  The architecture's part is in vm_x86.h and vm_arm64.h:
 * VM_TYPE, vm_start(), and what the guests do.
 */
#ifndef EXAMPLES_VM_H
#define EXAMPLES_VM_H

#include <errno.h>
#include <fcntl.h>
#include <gmem.h>
#include <linux/kvm.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define CODE_GPA	0x1000
#define CODE_SLOT	0
#define DATA_GPA	0x10000
#define DEVICE_GPA	0x40000
#define PAGE		4096ul

struct vm {
	int kvm;
	int fd;
	int vcpu;
	struct kvm_run *run;
	/* Where the guest's code is, if it has to be in memory of the library's. */
	struct gmem *code;
};

/* What a guest does, from DATA_GPA on, before it halts. */
enum guest {
	GUEST_TO_UPPER_CASE,	/* of a string; then it lets the host have the page */
	GUEST_WRITES_G,		/* one byte; then the same */
	GUEST_SAYS_HI,		/* asks for the page to be shared, writes, rings, takes it back */
	/*
	 * x86: shares pages 1 and 2, has the device at DEVICE_GPA copy one to the other, rings,
	 * takes page 2 back, writes 's', has it copied again, rings with what is there
	 */
	GUEST_HAS_A_DEVICE,
};

/* 0 continues; anything else ends the program with a message about @what. */
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

/* A VM and its vCPU. */
static inline void vm_create(struct vm *vm, unsigned long type)
{
	*vm = (struct vm){ .kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC) };
	check(sys(vm->kvm), "/dev/kvm");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, type);
	check(sys(vm->fd), "KVM_CREATE_VM");
	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	check(sys(vm->vcpu), "KVM_CREATE_VCPU");
	vm->run = mmap(NULL, ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0), PROT_READ | PROT_WRITE,
		       MAP_SHARED, vm->vcpu, 0);
	check(vm->run == MAP_FAILED ? -errno : 0, "mmap of the vCPU");
}

/* Put the code of @guest in place and let the vCPU start with it. */
static inline void vm_start(struct vm *vm, struct gmem_vm *memories, enum guest guest);

/* Was the vCPU's last exit one by which the guest rang, or ended? */
static inline int vm_rang(const struct vm *vm);
static inline int vm_halted(const struct vm *vm);

#ifdef __aarch64__
#include "vm_arm64.h"
#else
#include "vm_x86.h"
#endif

/* Run the guest to its end, and do what it asks for with @opts. */
static inline void vm_run(struct vm *vm, struct gmem_vm *memories,
			  const struct gmem_convert_opts *opts)
{
	int error, r;

	do {
		error = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : 0;
		r = error == -EINTR ? 0 : gmem_handle_exit(memories, vm->run, error, opts, NULL);
	} while (!r);
	check(r < 0 ? r : error, "KVM_RUN");
	check(vm_halted(vm) ? 0 : EPROTO, "the guest");
}

#endif
