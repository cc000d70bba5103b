// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A VM that is just big enough to read and write pages as a guest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "gmem.h"

#define CODE_GPA	0x1000ul
#define CODE_SLOT	0
#define RFLAGS_ZERO	(1ul << 6)

/*
 * Sixteen-bit code; BX is the offset in the data segment.  Reading leaves the
 * first byte in AL and sets ZF if all others are the same.
 */
static const uint8_t code_read[] = {
	0x8a, 0x07,		/* mov al, [bx] */
	0x89, 0xdf,		/* mov di, bx */
	0xb9, 0x00, 0x10,	/* mov cx, 4096 */
	0xf3, 0xae,		/* repe scasb */
	0xf4,			/* hlt */
};

static const uint8_t code_write[] = {
	0x89, 0xdf,		/* mov di, bx */
	0xb9, 0x00, 0x10,	/* mov cx, 4096 */
	0xf3, 0xaa,		/* rep stosb */
	0xf4,			/* hlt */
};

#define CODE_WRITE_AT	0x100

int vm_capability(int fd, unsigned long capability)
{
	int r = ioctl(fd, KVM_CHECK_EXTENSION, capability);

	return r < 0 ? 0 : r;
}

void vm_bind(struct vm *vm, unsigned int slot, uint64_t gpa, uint64_t size,
	     void *hva, int fd)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = slot,
		.flags = fd < 0 ? 0 : KVM_MEM_GUEST_MEMFD,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
		.guest_memfd = fd < 0 ? 0 : (unsigned int)fd,
	};

	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION2, &region))
		die("KVM_SET_USER_MEMORY_REGION2 of slot %u", slot);
}

static void set_segment(struct kvm_segment *segment, uint64_t base)
{
	segment->base = base;
	segment->selector = base >> 4;
}

static void vcpu_create(struct vm *vm)
{
	struct kvm_sregs sregs;
	uint8_t *code;
	int size;

	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED)
		die("mmap of the guest's code");
	memcpy(code, code_read, sizeof(code_read));
	memcpy(code + CODE_WRITE_AT, code_write, sizeof(code_write));
	vm_bind(vm, CODE_SLOT, CODE_GPA, PAGE, code, -1);

	vm->vcpu = ioctl(vm->fd, KVM_CREATE_VCPU, 0);
	if (vm->vcpu < 0)
		die("KVM_CREATE_VCPU");
	size = ioctl(vm->kvm, KVM_GET_VCPU_MMAP_SIZE, 0);
	vm->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, vm->vcpu, 0);
	if (vm->run == MAP_FAILED)
		die("mmap of the vCPU");

	if (ioctl(vm->vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	set_segment(&sregs.cs, CODE_GPA);
	set_segment(&sregs.ds, VM_DATA);
	set_segment(&sregs.es, VM_DATA);
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs))
		die("KVM_SET_SREGS");
}

void vm_create(struct vm *vm, unsigned long type)
{
	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		die("cannot open /dev/kvm (is KVM there, and are you in the group 'kvm'?)");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, type);
	if (vm->fd < 0)
		die("KVM_CREATE_VM of type %lu", type);
	vcpu_create(vm);
}

void vm_destroy(struct vm *vm)
{
	close(vm->vcpu);
	close(vm->fd);
	close(vm->kvm);
}

int vm_guest_memfd(struct vm *vm, uint64_t size, uint64_t flags)
{
	struct kvm_create_guest_memfd args = { .size = size, .flags = flags };
	int fd = ioctl(vm->fd, KVM_CREATE_GUEST_MEMFD, &args);

	/* KVM's own descriptor stays open across exec. */
	if (fd >= 0)
		fcntl(fd, F_SETFD, FD_CLOEXEC);

	return fd < 0 ? -errno : fd;
}

static int run_code(struct vm *vm, unsigned int page, uint64_t ip, uint8_t byte)
{
	struct kvm_regs regs = {
		.rip = ip,
		.rax = byte,
		.rbx = page * PAGE,
		.rflags = 2,
	};

	if (ioctl(vm->vcpu, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	if (ioctl(vm->vcpu, KVM_RUN, 0))
		die("KVM_RUN, exit reason %u", vm->run->exit_reason);
	if (vm->run->exit_reason != KVM_EXIT_HLT) {
		errno = EPROTO;
		die("the guest ended with exit reason %u", vm->run->exit_reason);
	}
	if (ioctl(vm->vcpu, KVM_GET_REGS, &regs))
		die("KVM_GET_REGS");

	return regs.rflags & RFLAGS_ZERO ? (int)(regs.rax & 0xff) : MIXED;
}

int guest_read(struct vm *vm, unsigned int page)
{
	return run_code(vm, page, 0, 0);
}

void guest_write(struct vm *vm, unsigned int page, uint8_t byte)
{
	run_code(vm, page, CODE_WRITE_AT, byte);
}

int host_read(const void *page)
{
	const volatile uint8_t *bytes = page;
	size_t i;

	for (i = 1; i < PAGE; i++) {
		if (bytes[i] != bytes[0])
			return MIXED;
	}

	return bytes[0];
}

int convert(int fd, uint64_t offset, uint64_t size, bool to_private,
	    uint64_t policy, uint64_t *where)
{
	struct kvm_memory_attributes2 attrs = {
		.offset = offset,
		.size = size,
		.attributes = to_private ? KVM_MEMORY_ATTRIBUTE_PRIVATE : 0,
		.flags = policy,
	};
	int r = ioctl(fd, KVM_SET_MEMORY_ATTRIBUTES2, &attrs) ? -errno : 0;

	if (where)
		*where = attrs.error_offset;

	return r;
}

const char *policy_name(uint64_t policy)
{
	static const char *const names[] = { "ZERO", "PRESERVE", "NONE" };

	return names[policy];
}
