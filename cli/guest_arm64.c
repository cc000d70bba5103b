// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * arm64's guest: one vCPU without an MMU, in a protected VM of pKVM.  Everything that it
 * touches is its own, including its code, until it agrees to share a page by a hypercall.
 *
 * The host cannot rely on setting its registers once it has run: it fetches commands
 * from a mailbox, where it has no memory, and answers there.  Each access ends KVM_RUN
 * with KVM_EXIT_MMIO.
 */
#include <errno.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <asm/hwcap.h>
#include <linux/kvm.h>

#include "guest.h"

#ifndef KVM_VM_TYPE_ARM_PROTECTED
#define KVM_VM_TYPE_ARM_PROTECTED (1ul << 31)
#endif

#define CODE_GPA	0x1000ul
#define CODE_SLOT	0

/* Commands besides the hypercalls, whose commands are their own numbers. */
#define READ		0
#define WRITE		1
#define MEM_SHARE	0xc6000003u
#define MEM_UNSHARE	0xc6000004u

/* guest_code has the number as well. */
#define MAILBOX		0x09000000ul
struct mailbox {
	uint64_t command;
	uint64_t gpa;
	uint64_t byte;
	uint64_t answer;
};

const struct vm_type vm_types[] = {
	{ "default", 0 },
	{ "protected", KVM_VM_TYPE_ARM_PROTECTED },
	{},
};

bool vm_type_exists(int kvm, const struct vm_type *type)
{
	int vm;

	/* There is no capability for this. */
	if (!type->number)
		return true;
	vm = ioctl(kvm, KVM_CREATE_VM, type->number);
	if (vm < 0)
		return errno != EINVAL;
	close(vm);
	return true;
}

const struct guest_arch guest_arch = {
	.vm_type = KVM_VM_TYPE_ARM_PROTECTED,
	.vm_type_name = "KVM_VM_TYPE_ARM_PROTECTED",
	.needs = "pKVM, which the machine has with kvm-arm.mode=protected",
	.hypercall = "MEM_SHARE and MEM_UNSHARE",
	.must_agree = true,
};

/* A page that the guest has mapped is not filled. */
int guest_none_leaves(int before)
{
	return before;
}

bool cpu_is_emulated(void)
{
	unsigned long midr;

	/* The kernel answers that for user space. */
	if (!(getauxval(AT_HWCAP) & HWCAP_CPUID))
		return false;
	asm("mrs %0, midr_el1" : "=r"(midr));
	/* No implementer, and the part number Q. */
	return !(midr >> 24 & 0xff) && (midr >> 4 & 0xfff) == 'Q';
}

/*
 * x9 is the mailbox.  Without an MMU the guest's accesses bypass the caches, which may
 * hold the host's bytes.  So a page is cleaned and invalidated there before it is used,
 * and after it was written, as lines may have been fetched again.
 */
#define IN_THIS_FILE	extern __attribute__((visibility("hidden")))
IN_THIS_FILE const uint8_t guest_code[];
IN_THIS_FILE const uint64_t guest_code_size;
asm(
"	.pushsection .rodata\n"
"	.balign 4\n"
"guest_code:\n"
"	mov	x9, #0x09000000\n"
".Lfetch:	ldr	x0, [x9]\n"
"	ldr	x1, [x9, #8]\n"
"	ldr	x2, [x9, #16]\n"
"	cbz	x0, .Lread\n"
"	cmp	x0, #1\n"
"	b.eq	.Lwrite\n"
"	mov	x2, xzr\n"
"	mov	x3, xzr\n"
"	hvc	#0\n"
".Lanswer:	str	x0, [x9, #24]\n"
"	b	.Lfetch\n"
/* The byte that the whole page holds, or MIXED. */
".Lread:	bl	.Lclean\n"
"	ldrb	w0, [x1]\n"
"	mov	x3, xzr\n"
"1:	ldrb	w4, [x1, x3]\n"
"	cmp	w4, w0\n"
"	b.ne	2f\n"
"	add	x3, x3, #1\n"
"	cmp	x3, #4096\n"
"	b.ne	1b\n"
"	b	.Lanswer\n"
"2:	mov	x0, #0x100\n"
"	b	.Lanswer\n"
".Lwrite:	bl	.Lclean\n"
"	mov	x3, xzr\n"
"1:	strb	w2, [x1, x3]\n"
"	add	x3, x3, #1\n"
"	cmp	x3, #4096\n"
"	b.ne	1b\n"
"	bl	.Lclean\n"
"	mov	x0, xzr\n"
"	b	.Lanswer\n"
/* As if lines had 16 bytes, which is the minimum. */
".Lclean:	mov	x3, xzr\n"
"1:	add	x4, x1, x3\n"
"	dc	civac, x4\n"
"	add	x3, x3, #16\n"
"	cmp	x3, #4096\n"
"	b.ne	1b\n"
"	dsb	sy\n"
"	ret\n"
"2:	.balign	8\n"
"guest_code_size:\n"
"	.quad	2b - guest_code\n"
"	.popsection\n"
);

static void load_code(struct vm *vm)
{
	uint8_t *code;
	int r;

	vm->code = vm_memory(vm, PAGE, GMEM_SHARED, CODE_SLOT, CODE_GPA, &code);
	memcpy(code, guest_code, guest_code_size);
	r = convert(vm->code, 0, PAGE, GMEM_PRIVATE, GMEM_PRESERVE, NULL);
	if (r) {
		errno = -r;
		die("the guest's code to private");
	}
}

void guest_start(struct vm *vm)
{
	struct kvm_vcpu_init init = {};
	uint64_t pc = CODE_GPA;
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};

	if (ioctl(vm->fd, KVM_ARM_PREFERRED_TARGET, &init))
		die("KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	if (ioctl(vm->vcpu, KVM_ARM_VCPU_INIT, &init))
		die("KVM_ARM_VCPU_INIT");
	if (ioctl(vm->vcpu, KVM_SET_ONE_REG, &reg))
		die("KVM_SET_ONE_REG of the PC");
	load_code(vm);
}

/* Handle an access to the mailbox.  True once it was the answer, which is in *@mailbox. */
static bool use_mailbox(struct kvm_run *run, struct mailbox *mailbox)
{
	uint64_t offset = run->mmio.phys_addr - MAILBOX;

	if (run->exit_reason != KVM_EXIT_MMIO || offset >= sizeof(*mailbox) ||
	    run->mmio.len != sizeof(uint64_t)) {
		errno = 0;
		die("the guest ended with exit reason %u", run->exit_reason);
	}
	if (run->mmio.is_write)
		memcpy((uint8_t *)mailbox + offset, run->mmio.data, sizeof(uint64_t));
	else
		memcpy(run->mmio.data, (uint8_t *)mailbox + offset, sizeof(uint64_t));
	return run->mmio.is_write;
}

/*
 * Returns 0, with the answer of a command in *@answer; or -errno of a conversion for
 * which the command waits.  The guest is then in the middle of it, and the next call
 * continues it.
 */
static int command(struct vm *vm, struct mailbox mailbox, const struct gmem_convert_opts *opts,
		   uint64_t *answer)
{
	int error, r;

	for (;;) {
		error = ioctl(vm->vcpu, KVM_RUN, 0) ? -errno : 0;
		r = opts ? gmem_handle_exit(vm->gmem, vm->run, error, opts, NULL) : 1;
		if (!r)
			continue;
		if (r < 0)
			return r;
		if (error) {
			errno = -error;
			die("KVM_RUN, exit reason %u", vm->run->exit_reason);
		}
		if (use_mailbox(vm->run, &mailbox)) {
			*answer = mailbox.answer;
			return 0;
		}
	}
}

static int must(int r)
{
	if (r) {
		errno = -r;
		die("a conversion that the guest waits for");
	}
	return r;
}

int guest_read_asking(struct vm *vm, unsigned int page, const struct gmem_convert_opts *opts)
{
	struct mailbox mailbox = { .command = READ, .gpa = VM_DATA + page * PAGE };
	uint64_t answer;

	must(command(vm, mailbox, opts, &answer));
	return (int)answer;
}

void guest_write(struct vm *vm, unsigned int page, uint8_t byte)
{
	struct mailbox mailbox = { .command = WRITE, .gpa = VM_DATA + page * PAGE, .byte = byte };
	uint64_t answer;

	must(command(vm, mailbox, NULL, &answer));
}

int guest_ask(struct vm *vm, uint64_t gpa, uint64_t nr_pages, bool to_private,
	      const struct gmem_convert_opts *opts)
{
	struct mailbox mailbox = { .command = to_private ? MEM_UNSHARE : MEM_SHARE, .gpa = gpa };
	uint64_t answer;
	int r = 0;

	/* One page each. */
	for (; !r && nr_pages; nr_pages--, mailbox.gpa += PAGE) {
		r = command(vm, mailbox, opts, &answer);
		if (!r && answer)
			r = -EINVAL;
	}

	return r;
}

void guest_agree(struct vm *vm, unsigned int page, unsigned int nr_pages)
{
	struct gmem_convert_opts keep = GMEM_CONVERT_OPTS;
	uint64_t gpa = VM_DATA + page * PAGE;
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	for (; nr_pages; nr_pages--, gpa += PAGE) {
		must(gmem_lookup_gpa(vm->gmem, gpa, &range));
		/* It is faulted in on the way, and becomes shared. */
		must(guest_ask(vm, gpa, 1, false, &keep));
		must(gmem_convert_gpa(vm->gmem, gpa, PAGE, range.attributes, &keep, NULL));
	}
}
