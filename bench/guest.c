// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A guest that touches pages, and does nothing else, on the requested number of vCPUs. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "bench.h"

#define CODE_GPA	0x1000ul
#define CODE_SLOT	0
#define CR0_PE		1

/* EDI is the first page, ECX the number of pages. */
static const uint8_t code[] = {
	0xff, 0x07,				/* 1: incl (%edi) */
	0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* addl $4096, %edi */
	0x49,					/* decl %ecx */
	0x75, 0xf5,				/* jnz 1b */
	0xf4,					/* hlt */
};

/* The same, for the range at PARAMETERS, again at each KVM_RUN. */
static const uint8_t code_again[] = {
	0x8b, 0x3d, 0x00, 0x18, 0x00, 0x00,	/* 1: movl PARAMETERS, %edi */
	0x8b, 0x0d, 0x04, 0x18, 0x00, 0x00,	/* movl PARAMETERS + 4, %ecx */
	0xff, 0x07,				/* 2: incl (%edi) */
	0x81, 0xc7, 0x00, 0x10, 0x00, 0x00,	/* addl $4096, %edi */
	0x49,					/* decl %ecx */
	0x75, 0xf5,				/* jnz 2b */
	0xf4,					/* hlt */
	0xeb, 0xe6,				/* jmp 1b */
};

#define AGAIN_AT	0x400
#define PARAMETERS_AT	0x800

static void flat(struct kvm_segment *segment, uint8_t type)
{
	*segment = (struct kvm_segment){
		.limit = 0xffffffff, .selector = type == 11 ? 8 : 16, .type = type,
		.present = 1, .db = 1, .s = 1, .g = 1,
	};
}

static int vcpu_create(struct guest *guest, unsigned int id)
{
	struct kvm_sregs sregs;
	int fd = ioctl(guest->fd, KVM_CREATE_VCPU, id);

	if (fd < 0)
		die("KVM_CREATE_VCPU %u", id);
	if (ioctl(fd, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	flat(&sregs.cs, 11);
	flat(&sregs.ds, 3);
	flat(&sregs.es, 3);
	flat(&sregs.ss, 3);
	sregs.cr0 |= CR0_PE;
	if (ioctl(fd, KVM_SET_SREGS, &sregs))
		die("KVM_SET_SREGS");
	/* Secondary vCPUs would wait for a start-up interrupt. */
	if (id) {
		struct kvm_mp_state state = { .mp_state = KVM_MP_STATE_RUNNABLE };

		if (ioctl(fd, KVM_SET_MP_STATE, &state) && errno != EINVAL && errno != ENXIO)
			die("KVM_SET_MP_STATE");
	}

	return fd;
}

void guest_create(struct guest *guest, unsigned int nr_vcpus)
{
	struct kvm_userspace_memory_region2 region = {
		.slot = CODE_SLOT, .guest_phys_addr = CODE_GPA, .memory_size = BENCH_PAGE,
	};
	unsigned int i;
	uint8_t *page;

	guest->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (guest->kvm < 0)
		die("cannot open /dev/kvm");
	guest->fd = ioctl(guest->kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM);
	if (guest->fd < 0 && errno == EINVAL)
		die_unsupported("this kernel has no VMs of type KVM_X86_SW_PROTECTED_VM: they need "
				"CONFIG_KVM_SW_PROTECTED_VM and nested paging");
	if (guest->fd < 0)
		die("KVM_CREATE_VM of type KVM_X86_SW_PROTECTED_VM");

	page = mmap(NULL, BENCH_PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		die("mmap of the guest's code");
	memcpy(page, code, sizeof(code));
	memcpy(page + AGAIN_AT, code_again, sizeof(code_again));
	guest->code = page;
	region.userspace_addr = (uintptr_t)page;
	if (ioctl(guest->fd, KVM_SET_USER_MEMORY_REGION2, &region))
		die("KVM_SET_USER_MEMORY_REGION2 of the code");

	guest->nr_vcpus = nr_vcpus;
	for (i = 0; i < nr_vcpus; i++)
		guest->vcpus[i] = vcpu_create(guest, i);
}

void guest_destroy(struct guest *guest)
{
	unsigned int i;

	for (i = 0; i < guest->nr_vcpus; i++)
		close(guest->vcpus[i]);
	close(guest->fd);
	close(guest->kvm);
}

void guest_aim(struct guest *guest, uint64_t gpa, uint64_t size)
{
	struct kvm_regs regs = { .rip = CODE_GPA + AGAIN_AT, .rflags = 2 };
	uint32_t parameters[] = { gpa, size / BENCH_PAGE };

	memcpy(guest->code + PARAMETERS_AT, parameters, sizeof(parameters));
	if (ioctl(guest->vcpus[0], KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
}

static void run(int vcpu)
{
	int r;

	/* A fault that raced with a conversion exits to user space: run again. */
	do {
		r = ioctl(vcpu, KVM_RUN, 0);
	} while (r && (errno == EINTR || errno == EFAULT));
	if (r)
		die("KVM_RUN");
}

void guest_run(struct guest *guest)
{
	run(guest->vcpus[0]);
}

void guest_touch(struct guest *guest, unsigned int vcpu, uint64_t gpa, uint64_t size)
{
	struct kvm_regs regs = {
		.rip = CODE_GPA, .rdi = gpa, .rcx = size / BENCH_PAGE, .rflags = 2,
	};
	int fd = guest->vcpus[vcpu];

	if (ioctl(fd, KVM_SET_REGS, &regs))
		die("KVM_SET_REGS");
	run(fd);
	if (ioctl(fd, KVM_GET_REGS, &regs))
		die("KVM_GET_REGS");
	if (regs.rcx || regs.rdi != gpa + size) {
		errno = EPROTO;
		die("the guest has not touched %llu bytes at %#llx",
		    (unsigned long long)size, (unsigned long long)gpa);
	}
}
