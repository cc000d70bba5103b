// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * x86's guest: one vCPU in real mode, in a VM of the type KVM_X86_SW_PROTECTED_VM, the
 * only one that has private memory and runs without a launch by confidential hardware.
 * Its code is in ordinary memory.
 */
#include <cpuid.h>
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <linux/kvm.h>
#include <linux/kvm_para.h>

#include "guest.h"

#ifndef KVM_CAP_VM_TYPES
#define KVM_CAP_VM_TYPES 235
#endif

#ifndef KVM_X86_SW_PROTECTED_VM
#define KVM_X86_SW_PROTECTED_VM 1
#endif

#define CODE_GPA	0x1000ul
#define CODE_SLOT	0
#define RFLAGS_ZERO	(1ul << 6)
/* What this type of VM fills in for NONE, so that nobody relies on it. */
#define NONE_BYTE	0xab

const struct vm_type vm_types[] = {
	{ "default", 0 },
	{ "sw-protected", KVM_X86_SW_PROTECTED_VM },
	{ "sev", 2 },
	{ "sev-es", 3 },
	{ "snp", 4 },
	{ "tdx", 5 },
	{},
};

bool vm_type_exists(int kvm, const struct vm_type *type)
{
	int types = ioctl(kvm, KVM_CHECK_EXTENSION, KVM_CAP_VM_TYPES);

	return !type->number || (types > 0 && types & 1 << type->number);
}

const struct guest_arch guest_arch = {
	.vm_type = KVM_X86_SW_PROTECTED_VM,
	.vm_type_name = "KVM_X86_SW_PROTECTED_VM",
	.needs = "CONFIG_KVM_SW_PROTECTED_VM and nested paging",
	.hypercall = "KVM_HC_MAP_GPA_RANGE",
};

int guest_none_leaves(int before)
{
	(void)before;
	return NONE_BYTE;
}

bool cpu_is_emulated(void)
{
	unsigned int eax, regs[3];

	__cpuid(0x40000000, eax, regs[0], regs[1], regs[2]);
	return !memcmp(regs, "TCGTCGTCGTCG", sizeof(regs));
}

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

/* KVM replaces it with the instruction of the CPU. */
static const uint8_t code_hypercall[] = {
	0x0f, 0x01, 0xd9,	/* vmmcall */
	0xf4,			/* hlt */
};

#define CODE_WRITE_AT		0x100
#define CODE_HYPERCALL_AT	0x200

static void set_segment(struct kvm_segment *segment, uint64_t base)
{
	segment->base = base;
	segment->selector = base >> 4;
}

void guest_start(struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = CODE_SLOT,
		.guest_phys_addr = CODE_GPA,
		.memory_size = PAGE,
	};
	struct kvm_sregs sregs;
	uint8_t *code;

	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED)
		die("mmap of the guest's code");
	memcpy(code, code_read, sizeof(code_read));
	memcpy(code + CODE_WRITE_AT, code_write, sizeof(code_write));
	memcpy(code + CODE_HYPERCALL_AT, code_hypercall, sizeof(code_hypercall));
	region.userspace_addr = (uintptr_t)code;
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");

	if (ioctl(vm->vcpu, KVM_GET_SREGS, &sregs))
		die("KVM_GET_SREGS");
	set_segment(&sregs.cs, CODE_GPA);
	set_segment(&sregs.ds, VM_DATA);
	set_segment(&sregs.es, VM_DATA);
	if (ioctl(vm->vcpu, KVM_SET_SREGS, &sregs))
		die("KVM_SET_SREGS");
}

static void run_code(struct vm *vm, struct kvm_regs *regs, const struct gmem_convert_opts *opts)
{
	int r;

	regs->rflags = 2;
	if (ioctl(vm->vcpu, KVM_SET_REGS, regs))
		die("KVM_SET_REGS");
	do {
		r = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : 0;
		/* The guest continues after a failed hypercall, too, as it has been told. */
	} while (opts && gmem_handle_exit(vm->gmem, vm->run, r, opts, NULL) != 1 &&
		 vm->run->exit_reason == KVM_EXIT_HYPERCALL);
	if (r) {
		errno = -r;
		die("KVM_RUN, exit reason %u", vm->run->exit_reason);
	}
	if (vm->run->exit_reason != KVM_EXIT_HLT) {
		errno = 0;
		die("the guest ended with exit reason %u", vm->run->exit_reason);
	}
	if (ioctl(vm->vcpu, KVM_GET_REGS, regs))
		die("KVM_GET_REGS");
}

int guest_read_asking(struct vm *vm, unsigned int page, const struct gmem_convert_opts *opts)
{
	struct kvm_regs regs = { .rbx = page * PAGE };

	run_code(vm, &regs, opts);
	return regs.rflags & RFLAGS_ZERO ? (int)(regs.rax & 0xff) : MIXED;
}

void guest_write(struct vm *vm, unsigned int page, uint8_t byte)
{
	struct kvm_regs regs = { .rip = CODE_WRITE_AT, .rax = byte, .rbx = page * PAGE };

	run_code(vm, &regs, NULL);
}

int guest_ask(struct vm *vm, uint64_t gpa, uint64_t nr_pages, bool to_private,
	      const struct gmem_convert_opts *opts)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_EXIT_HYPERCALL,
		.args = { 1 << KVM_HC_MAP_GPA_RANGE },
	};
	struct kvm_regs regs = {
		.rip = CODE_HYPERCALL_AT,
		.rax = KVM_HC_MAP_GPA_RANGE,
		.rbx = gpa,
		.rcx = nr_pages,
		.rdx = to_private ? KVM_MAP_GPA_RANGE_ENCRYPTED : KVM_MAP_GPA_RANGE_DECRYPTED,
	};

	if (ioctl(vm->fd, KVM_ENABLE_CAP, &cap))
		die("KVM_ENABLE_CAP of KVM_CAP_EXIT_HYPERCALL");
	run_code(vm, &regs, opts);
	return -(int)regs.rax;
}

/* It takes memory as it is. */
void guest_agree(struct vm *vm, unsigned int page, unsigned int nr_pages)
{
	(void)vm;
	(void)page;
	(void)nr_pages;
}
