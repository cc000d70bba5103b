// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* A VM that is just big enough to read and write pages as a guest. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/kvm.h>
#include <linux/kvm_para.h>

#include "cmd.h"

#ifndef KVM_X86_SW_PROTECTED_VM
#define KVM_X86_SW_PROTECTED_VM 1
#endif

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

/* KVM replaces it by the instruction that the CPU has. */
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

static void vcpu_create(struct vm *vm)
{
	struct kvm_userspace_memory_region region = {
		.slot = CODE_SLOT,
		.guest_phys_addr = CODE_GPA,
		.memory_size = PAGE,
	};
	struct kvm_sregs sregs;
	uint8_t *code;
	int size;

	code = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (code == MAP_FAILED)
		die("mmap of the guest's code");
	memcpy(code, code_read, sizeof(code_read));
	memcpy(code + CODE_WRITE_AT, code_write, sizeof(code_write));
	memcpy(code + CODE_HYPERCALL_AT, code_hypercall, sizeof(code_hypercall));
	region.userspace_addr = (uintptr_t)code;
	if (ioctl(vm->fd, KVM_SET_USER_MEMORY_REGION, &region))
		die("KVM_SET_USER_MEMORY_REGION");

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

const char *vm_create(struct vm *vm, enum gmem_mechanism mechanism)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	static char reason[128];
	int r;

	vm->kvm = open("/dev/kvm", O_RDWR | O_CLOEXEC);
	if (vm->kvm < 0)
		die("cannot open /dev/kvm (is KVM there, and are you in the group 'kvm'?)");
	vm->fd = ioctl(vm->kvm, KVM_CREATE_VM, KVM_X86_SW_PROTECTED_VM);
	if (vm->fd < 0 && errno == EINVAL) {
		close(vm->kvm);
		return "this kernel has no VMs of type KVM_X86_SW_PROTECTED_VM: they need "
		       "CONFIG_KVM_SW_PROTECTED_VM and nested paging";
	}
	if (vm->fd < 0)
		die("KVM_CREATE_VM of type KVM_X86_SW_PROTECTED_VM");

	opts.vm_type = KVM_X86_SW_PROTECTED_VM;
	opts.mechanism = mechanism;
	r = gmem_vm_init(vm->fd, &opts, &vm->gmem);
	if (r == -EOPNOTSUPP) {
		close(vm->fd);
		close(vm->kvm);
		if (mechanism == GMEM_MECHANISM_NONE)
			return "this kernel converts no memory; 'gmem probe' says what it does";
		snprintf(reason, sizeof(reason), "this kernel does not convert memory \"%s\"; "
			 "'gmem probe' says what it does", gmem_mechanism_name(mechanism));
		return reason;
	}
	if (r) {
		errno = -r;
		die("gmem_vm_init");
	}
	vcpu_create(vm);
	return NULL;
}

void vm_destroy(struct vm *vm)
{
	gmem_vm_exit(vm->gmem);
	close(vm->vcpu);
	close(vm->fd);
	close(vm->kvm);
}

struct gmem *vm_memory(struct vm *vm, uint64_t size, uint64_t attributes, uint32_t slot,
		       uint64_t gpa, uint8_t **hva)
{
	struct gmem_create_opts opts = GMEM_INIT(struct gmem_create_opts);
	struct gmem *gmem;
	void *memory;
	int r;

	opts.attributes = attributes;
	r = gmem_create(vm->gmem, size, &opts, &gmem);
	if (!r)
		r = gmem_map(gmem, &memory);
	if (!r && gpa != GMEM_NO_GPA)
		r = gmem_bind(gmem, slot, gpa, 0, size);
	if (r) {
		errno = -r;
		die("a memory of %llu bytes", (unsigned long long)size);
	}
	if (hva)
		*hva = memory;

	return gmem;
}

static void run_code(struct vm *vm, struct kvm_regs *regs, const struct gmem_convert_opts *opts)
{
	int r;

	regs->rflags = 2;
	if (ioctl(vm->vcpu, KVM_SET_REGS, regs))
		die("KVM_SET_REGS");
	do {
		r = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : 0;
		/* A hypercall that failed goes on too: the guest has been told. */
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

int guest_read(struct vm *vm, unsigned int page)
{
	struct kvm_regs regs = { .rbx = page * PAGE };

	run_code(vm, &regs, NULL);
	return regs.rflags & RFLAGS_ZERO ? (int)(regs.rax & 0xff) : MIXED;
}

void guest_write(struct vm *vm, unsigned int page, uint8_t byte)
{
	struct kvm_regs regs = { .rip = CODE_WRITE_AT, .rax = byte, .rbx = page * PAGE };

	run_code(vm, &regs, NULL);
}

int guest_map_gpa_range(struct vm *vm, uint64_t gpa, uint64_t nr_pages, bool to_private,
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

static sigjmp_buf on_sigbus;

static void handle_sigbus(int sig)
{
	(void)sig;
	siglongjmp(on_sigbus, 1);
}

int try_host_read(const void *page)
{
	struct sigaction old, new = { .sa_handler = handle_sigbus };
	volatile int seen = SIGBUS_READ;

	sigaction(SIGBUS, &new, &old);
	if (!sigsetjmp(on_sigbus, 1))
		seen = host_read(page);
	sigaction(SIGBUS, &old, NULL);

	return seen;
}

int convert(struct gmem *gmem, uint64_t offset, uint64_t size, uint64_t attributes,
	    enum gmem_policy policy, struct gmem_result *result)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	opts.to_shared = policy;
	opts.to_private = policy;
	return gmem_convert(gmem, offset, size, attributes, &opts, result);
}

void pin_in_pipe(void *hva, int pipefd[2])
{
	struct iovec iov = { .iov_base = hva, .iov_len = PAGE };

	if (pipe(pipefd) || vmsplice(pipefd[1], &iov, 1, 0) != (ssize_t)PAGE)
		die("vmsplice");
}

void unpin_pipe(int pipefd[2])
{
	close(pipefd[0]);
	close(pipefd[1]);
}

const char *policy_list(uint32_t policies)
{
	static char names[32];
	int policy;

	names[0] = 0;
	for (policy = GMEM_ZERO; policy <= GMEM_NONE; policy++) {
		if (!(policies & GMEM_POLICY_BIT(policy)))
			continue;
		if (names[0])
			strcat(names, ",");
		strcat(names, gmem_policy_name(policy));
	}

	return names[0] ? names : "-";
}
