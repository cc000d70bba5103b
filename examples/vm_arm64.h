/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * arm64's guests: a protected VM of pKVM, without an MMU.  Their code is in private
 * memory, too.  A page belongs to the guest from its first touch until the guest
 * shares it.  Writes to BELL and HALT end KVM_RUN, as there is no memory.
 */

/* KVM_VM_TYPE_ARM_PROTECTED, which not every header has. */
#define VM_TYPE	(1ul << 31)
#define BELL	0x09000000
#define HALT	0x09001000

#define MEM_SHARE	"3"
#define MEM_UNSHARE	"4"

/* x0 = 0xc6000003 or 0xc6000004, x1 = gpa; repeated by itself until the VMM has converted. */
#define HYPERCALL(number)			\
	"	mov	x0, #" number "\n"	\
	"	movk	x0, #0xc600, lsl #16\n"	\
	"	mov	x1, x10\n"		\
	"	mov	x2, xzr\n"		\
	"	mov	x3, xzr\n"		\
	"	hvc	#0\n"

/* The host's bytes are in the caches, which the guest's reads and writes bypass. */
#define CLEAN					\
	"	dc	civac, x10\n"		\
	"	dsb	sy\n"

#define BEGIN					\
	"	mov	x9, #0x09000000\n"	\
	"	mov	x10, #0x10000\n"

#define END					\
	"	str	w0, [x9, #0x1000]\n"	\
	"	b	.\n"

/* Where each guest of enum guest begins, and the size of all. */
#define IN_THIS_FILE	extern __attribute__((visibility("hidden")))
IN_THIS_FILE const uint8_t guest_code[];
IN_THIS_FILE const uint64_t guest_code_at[], guest_code_size;
asm(
"	.pushsection .rodata\n"
"	.balign	8\n"
"guest_code:\n"
"to_upper_case:\n"
BEGIN CLEAN
"	mov	x4, x10\n"
"1:	ldrb	w5, [x4]\n"
"	cbz	w5, 2f\n"
"	and	w5, w5, #~0x20\n"
"	strb	w5, [x4]\n"
"	add	x4, x4, #1\n"
"	b	1b\n"
"2:\n"
CLEAN HYPERCALL(MEM_SHARE) END
"writes_g:\n"
BEGIN CLEAN
"	mov	w5, #'g'\n"
"	strb	w5, [x10]\n"
CLEAN HYPERCALL(MEM_SHARE) END
"says_hi:\n"
BEGIN HYPERCALL(MEM_SHARE) CLEAN
"	mov	w5, #'h'\n"
"	strb	w5, [x10]\n"
"	mov	w5, #'i'\n"
"	strb	w5, [x10, #1]\n"
CLEAN
"	str	w0, [x9]\n"
HYPERCALL(MEM_UNSHARE) END
"code_end:\n"
"	.balign	8\n"
"guest_code_at:\n"
"	.quad	to_upper_case - guest_code, writes_g - guest_code, says_hi - guest_code\n"
"guest_code_size:\n"
"	.quad	code_end - guest_code\n"
"	.popsection\n"
);

static inline void vm_start(struct vm *vm, struct gmem_vm *memories, enum guest guest)
{
	uint64_t pc = CODE_GPA + guest_code_at[guest];
	struct kvm_one_reg reg = {
		.id = KVM_REG_ARM64 | KVM_REG_SIZE_U64 | KVM_REG_ARM_CORE |
		      KVM_REG_ARM_CORE_REG(regs.pc),
		.addr = (uintptr_t)&pc,
	};
	struct kvm_vcpu_init init = {};
	void *hva;

	/* It is written while shared, and by default kept when it becomes the guest's. */
	check(gmem_create(memories, PAGE, NULL, &vm->code), "gmem_create");
	check(gmem_map(vm->code, NULL, &hva), "gmem_map");
	check(gmem_bind(vm->code, CODE_SLOT, CODE_GPA, 0, PAGE, NULL), "gmem_bind");
	memcpy(hva, guest_code, guest_code_size);
	check(gmem_convert(vm->code, 0, PAGE, GMEM_PRIVATE, NULL, NULL), "the code to private");

	check(sys(ioctl(vm->fd, KVM_ARM_PREFERRED_TARGET, &init)), "KVM_ARM_PREFERRED_TARGET");
	init.features[0] |= 1u << KVM_ARM_VCPU_PSCI_0_2;
	check(sys(ioctl(vm->vcpu, KVM_ARM_VCPU_INIT, &init)), "KVM_ARM_VCPU_INIT");
	check(sys(ioctl(vm->vcpu, KVM_SET_ONE_REG, &reg)), "KVM_SET_ONE_REG");
}

static inline int is_write_to(const struct vm *vm, uint64_t gpa)
{
	return vm->run->exit_reason == KVM_EXIT_MMIO && vm->run->mmio.is_write &&
	       vm->run->mmio.phys_addr == gpa;
}

static inline int vm_rang(const struct vm *vm)
{
	return is_write_to(vm, BELL);
}

static inline int vm_halted(const struct vm *vm)
{
	return is_write_to(vm, HALT);
}
