/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/* x86's guests: real mode, with their code in a page of ordinary memory. */
#include <linux/kvm_para.h>

/* KVM_X86_SW_PROTECTED_VM, which not every header has. */
#define VM_TYPE	1
#define BELL	0x80

/* eax = KVM_HC_MAP_GPA_RANGE, ebx = gpa, ecx = pages, edx = attributes */
#define MAP_GPA_RANGE(page, pages, attributes)				\
	0x66, 0xb8, KVM_HC_MAP_GPA_RANGE, 0, 0, 0,			\
	0x66, 0xbb, 0, (page) << 4, DATA_GPA >> 16, 0,			\
	0x66, 0xb9, pages, 0, 0, 0,					\
	0x66, 0xba, attributes, 0, 0, 0,				\
	0x0f, 0x01, 0xd9	/* vmmcall */
#define SHARE(page, pages)	MAP_GPA_RANGE(page, pages, 0)
#define TAKE_BACK(page, pages)	MAP_GPA_RANGE(page, pages, 1 << 4)

#define PUT(page, at, c)	0xc6, 0x06, at, (page) << 4, c	/* mov byte [..], c */

/*
 * The registers of QEMU's edu, from es: source 0x80, destination 0x88, count 0x90, command
 * 0x98.  It has memory of its own at 0x40000.
 */
#define SET(reg, b0, b1, b2)						\
	0x26, 0x66, 0xc7, 0x06, reg, 0, b0, b1, b2, 0	/* mov dword es:[reg], .. */
#define DMA(command)							\
	SET(0x90, 0, 8, 0), SET(0x98, command, 0, 0),			\
	0x26, 0x66, 0xa1, 0x98, 0,	/* again: mov eax, es:[0x98] */	\
	0xa8, 1,			/* test al, 1 */		\
	0x75, 0xf7			/* jnz again */
/* Half a page to the device, and on to another page. */
#define COPY_BY_DEVICE(from, to)					\
	SET(0x80, 0, (from) << 4, DATA_GPA >> 16), SET(0x88, 0, 0, 4), DMA(1),	\
	SET(0x80, 0, 0, 4), SET(0x88, 0, (to) << 4, DATA_GPA >> 16), DMA(3)

/* The host can take memory without asking, so the first two do nothing about it. */
static const uint8_t guest_to_upper_case[] = {
	0xbe, 0, 0,	/*	mov si, 0 */
	0x8a, 0x04,	/* next: mov al, [si] */
	0x84, 0xc0,	/*	test al, al */
	0x74, 0x07,	/*	jz done */
	0x24, 0xdf,	/*	and al, ~0x20 */
	0x88, 0x04,	/*	mov [si], al */
	0x46,		/*	inc si */
	0xeb, 0xf3,	/*	jmp next */
	0xf4,		/* done: hlt */
};

static const uint8_t guest_writes_g[] = {
	0xc6, 0x06, 0, 0, 'g',	/* mov byte [0], 'g' */
	0xf4,			/* hlt */
};

static const uint8_t guest_says_hi[] = {
	SHARE(0, 1),
	PUT(0, 0, 'h'), PUT(0, 1, 'i'),
	0xe6, BELL,		/* out BELL, al */
	TAKE_BACK(0, 1),
	0xf4,			/* hlt */
};

static const uint8_t guest_has_a_device[] = {
	SHARE(1, 2),
	PUT(1, 0, 'D'), PUT(1, 1, 'M'), PUT(1, 2, 'A'),
	COPY_BY_DEVICE(1, 2),
	0xe6, BELL,		/* out BELL, al */
	TAKE_BACK(2, 1),
	PUT(2, 0, 's'),
	COPY_BY_DEVICE(1, 2),
	0xa0, 0, 2 << 4,	/* mov al, [0x2000] */
	0xe6, BELL,		/* out BELL, al */
	0xf4,			/* hlt */
};

static inline void vm_start(struct vm *vm, struct gmem_vm *memories, enum guest guest)
{
	static const struct {
		const uint8_t *code;
		size_t size;
	} guests[] = {
		[GUEST_TO_UPPER_CASE] = { guest_to_upper_case, sizeof(guest_to_upper_case) },
		[GUEST_WRITES_G] = { guest_writes_g, sizeof(guest_writes_g) },
		[GUEST_SAYS_HI] = { guest_says_hi, sizeof(guest_says_hi) },
		[GUEST_HAS_A_DEVICE] = { guest_has_a_device, sizeof(guest_has_a_device) },
	};
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL, .args = { 1 << KVM_HC_MAP_GPA_RANGE },
	};
	struct kvm_userspace_memory_region region = {
		.slot = CODE_SLOT, .guest_phys_addr = CODE_GPA, .memory_size = PAGE,
	};
	struct kvm_regs regs = { .rflags = 2 };
	struct kvm_sregs sregs;
	void *page;

	(void)memories;
	page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	check(page == MAP_FAILED ? -errno : 0, "mmap");
	memcpy(page, guests[guest].code, guests[guest].size);
	region.userspace_addr = (uintptr_t)page;
	check(sys(ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region)), "memslot");
	check(sys(ioctl(vm->fd, KVM_ENABLE_CAP, &cap)), "KVM_CAP_EXIT_HYPERCALL");

	check(sys(ioctl(vm->vcpu, KVM_GET_SREGS, &sregs)), "KVM_GET_SREGS");
	sregs.cs.base = CODE_GPA;
	sregs.cs.selector = CODE_GPA >> 4;
	sregs.ds.base = DATA_GPA;
	sregs.ds.selector = DATA_GPA >> 4;
	sregs.es.base = DEVICE_GPA;
	sregs.es.selector = DEVICE_GPA >> 4;
	check(sys(ioctl(vm->vcpu, KVM_SET_SREGS, &sregs)), "KVM_SET_SREGS");
	check(sys(ioctl(vm->vcpu, KVM_SET_REGS, &regs)), "KVM_SET_REGS");
}

static inline int vm_rang(const struct vm *vm)
{
	return vm->run->exit_reason == KVM_EXIT_IO && vm->run->io.port == BELL;
}

static inline int vm_halted(const struct vm *vm)
{
	return vm->run->exit_reason == KVM_EXIT_HLT;
}
