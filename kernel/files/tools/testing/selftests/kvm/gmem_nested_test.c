// SPDX-License-Identifier: GPL-2.0
/*
 * In-place memory for a nested guest: L2, whose page tables KVM shadows, gets the pages of
 * the file and nothing else that user space has mapped.
 */
#include <string.h>
#include <sys/mman.h>

#include "gmem_harness.h"
#include "gmem_util.h"
#include "svm_util.h"
#include "vmx.h"

/* L1 has the pages at GPA, L2 at ALIAS; below 4 GiB, L1 and L2 use the same mapping. */
#define GPA		0xc0000000ul
#define ALIAS		0xc0010000ul
#define NR_PAGES	2ul

FIXTURE(nested) {
	struct kvm_vcpu *vcpu;
	struct kvm_vm *vm;
	int fd;
};

/* Reads each page, then whatever it is asked to read again. */
static void l2_code(void)
{
	GUEST_SYNC(READ_ONCE(*(u8 *)ALIAS));
	GUEST_SYNC(READ_ONCE(*(u8 *)(ALIAS + PAGE_SIZE)));
	GUEST_SYNC(READ_ONCE(*(u8 *)(ALIAS + PAGE_SIZE)));
	vmcall();
}

static void l1_code(void *data)
{
	if (this_cpu_has(X86_FEATURE_VMX)) {
		struct vmx_pages *vmx = data;

		GUEST_ASSERT(prepare_for_vmx_operation(vmx));
		GUEST_ASSERT(load_vmcs(vmx));
		prepare_vmcs(vmx, l2_code);
		GUEST_ASSERT(!vmlaunch());
	} else {
		struct svm_test_data *svm = data;

		generic_svm_setup(svm, l2_code);
		run_guest(svm->vmcb, svm->vmcb_gpa);
	}
	GUEST_DONE();
}

static int l2_read(struct kvm_vcpu *vcpu)
{
	struct ucall uc;

	vcpu_run(vcpu);
	TEST_ASSERT_EQ(get_ucall(vcpu, &uc), UCALL_SYNC);

	return uc.args[1];
}

FIXTURE_SETUP(nested)
{
	const struct vm_shape shape = {
		.mode = VM_MODE_DEFAULT,
		.type = KVM_X86_SW_PROTECTED_VM,
	};
	gva_t data = 0;
	u64 i;

	TEST_REQUIRE(kvm_check_cap(KVM_CAP_VM_TYPES) & BIT(KVM_X86_SW_PROTECTED_VM));
	TEST_REQUIRE(kvm_cpu_has(X86_FEATURE_VMX) || kvm_cpu_has(X86_FEATURE_SVM));
	TEST_REQUIRE(kvm_cpu_has_tdp());

	self->vm = vm_create_shape_with_one_vcpu(shape, &self->vcpu, l1_code);
	require_in_place(self->vm);

	vm_enable_tdp(self->vm);
	if (kvm_cpu_has(X86_FEATURE_VMX))
		vcpu_alloc_vmx(self->vm, &data);
	else
		vcpu_alloc_svm(self->vm, &data);
	vcpu_args_set(self->vcpu, 1, data);

	self->fd = vm_create_guest_memfd(self->vm, NR_PAGES * PAGE_SIZE, GMEM_IN_PLACE);
	virt_map(self->vm, ALIAS, ALIAS, NR_PAGES);
	tdp_identity_map_default_memslots(self->vm);
	for (i = 0; i < NR_PAGES; i++) {
		tdp_map(self->vm, ALIAS + i * PAGE_SIZE, GPA + i * PAGE_SIZE, PAGE_SIZE);
		/* Mark them as used by L2: KVM prefetches no others. */
		*tdp_get_pte(self->vm, ALIAS + i * PAGE_SIZE) |=
			PTE_ACCESSED_MASK(&self->vm->stage2_mmu) |
			PTE_DIRTY_MASK(&self->vm->stage2_mmu);
	}
}

FIXTURE_TEARDOWN(nested)
{
	close(self->fd);
	kvm_vm_free(self->vm);
}

/*
 * The slot's userspace_addr points to memory other than the file's, which nothing forbids.
 * The first access may also map its neighbour, but not from there: the slot is not notified
 * when that memory is unmapped.
 */
TEST_F(nested, neighbours_come_from_the_file_too)
{
	u64 size = NR_PAGES * PAGE_SIZE;
	u8 *file, *other;

	file = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	other = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1);
	memset(file, 'f', size);
	memset(other, 'o', size);
	vm_set_user_memory_region2(self->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GPA, size,
				   other, self->fd, 0);

	TEST_ASSERT_EQ(l2_read(self->vcpu), 'f');
	TEST_ASSERT_EQ(l2_read(self->vcpu), 'f');

	/* L2 does not keep anything that user space unmaps, either. */
	kvm_munmap(other, size);
	memset(file, 'g', size);
	TEST_ASSERT_EQ(l2_read(self->vcpu), 'g');
	kvm_munmap(file, size);
}

/* Converting L1's page takes it from L2 as well. */
TEST_F(nested, zeroed_page_is_zeroed_for_the_inner_guest)
{
	u64 size = NR_PAGES * PAGE_SIZE;
	u8 *file;

	file = kvm_mmap(size, PROT_READ | PROT_WRITE, MAP_SHARED, self->fd);
	memset(file, 'f', size);
	vm_set_user_memory_region2(self->vm, GMEM_SLOT, KVM_MEM_GUEST_MEMFD, GPA, size,
				   file, self->fd, 0);

	TEST_ASSERT_EQ(l2_read(self->vcpu), 'f');
	TEST_ASSERT_EQ(l2_read(self->vcpu), 'f');
	TEST_ASSERT_EQ(__gmem_convert(self->fd, 0, size, PRIVATE, ZERO, NULL), 0);
	TEST_ASSERT_EQ(__gmem_convert(self->fd, 0, size, SHARED, PRESERVE, NULL), 0);
	TEST_ASSERT_EQ(l2_read(self->vcpu), 0);
	kvm_munmap(file, size);
}

TEST_HARNESS_MAIN
