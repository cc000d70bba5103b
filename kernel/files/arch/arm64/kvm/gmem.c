// SPDX-License-Identifier: GPL-2.0
/*
 * Protected VMs on a guest_memfd.
 *
 * EL2 decides who may touch a page, and the file's attribute decides what the host's
 * user space may map; the latter is the narrower of the two.  A page that the guest
 * has is shared in the file only while the host has claimed it at EL2.  The host can
 * claim a page that the guest shares; until the host lets go, EL2 does not give the
 * page back to the guest.
 *
 * A hypercall that shares a page, or takes it back, ends KVM_RUN so that user space
 * converts the page.  The guest repeats the hypercall, and EL2 looks again.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>

#include <kvm/arm_hypercalls.h>

#include <asm/kvm_emulate.h>
#include <asm/kvm_mmu.h>
#include <asm/kvm_pkvm.h>

#include "gmem.h"

/* The first page of [start, end) that the guest has. */
static struct pkvm_mapping *pkvm_gmem_mapping(struct kvm *kvm, gfn_t start, gfn_t end)
{
	struct kvm_pgtable *pgt = kvm->arch.mmu.pgt;

	lockdep_assert_held(&kvm->mmu_lock);

	if (!pgt || start >= end)
		return NULL;

	return pkvm_mapping_iter_first(&pgt->pkvm_mappings, gfn_to_gpa(start),
				       gfn_to_gpa(end) - 1);
}

/*
 * The vCPU faults where it is not to be given a page: 0 if another vCPU was faster and
 * this one may go on, -EHWPOISON if the page has been taken away, otherwise -EFAULT.
 */
static int pkvm_gmem_fault_error(struct kvm *kvm, gfn_t gfn)
{
	/* Negative if there has been no leaf yet, or for other than translation faults. */
	int r = kvm_call_hyp_nvhe(__pkvm_vcpu_in_poison_fault);

	if (r)
		return r > 0 ? -EHWPOISON : -EFAULT;

	return pkvm_gmem_mapping(kvm, gfn, gfn + 1) ? 0 : -EFAULT;
}

/*
 * Give a private page to the guest that faults on it.  No conversion can come
 * between the lookup of its attribute and this, as the file's invalidate_lock is
 * held.
 */
int kvm_arch_gmem_make_private(struct kvm *kvm, gfn_t gfn, kvm_pfn_t pfn,
			       kvm_pfn_t nr_pages)
{
	struct kvm_vcpu *vcpu = kvm_get_running_vcpu();
	struct pkvm_mapping *mapping = NULL;
	int r;

	if (!kvm_vm_is_protected(kvm))
		return 0;

	if (WARN_ON_ONCE(!vcpu || vcpu->kvm != kvm || nr_pages != 1))
		return -EINVAL;

	guard(write_lock)(&kvm->mmu_lock);

	if (pkvm_gmem_mapping(kvm, gfn, gfn + 1))
		return pkvm_gmem_fault_error(kvm, gfn);

	r = kvm_call_hyp_nvhe(__pkvm_host_donate_guest, pfn, gfn, true);
	if (r)
		return r == -ENOMEM ? r : pkvm_gmem_fault_error(kvm, gfn);

	swap(mapping, vcpu->arch.pkvm_memcache.mapping);
	*mapping = (struct pkvm_mapping) {
		.gfn = gfn,
		.pfn = pfn,
		.nr_pages = 1,
		.gmem = true,
	};
	pkvm_mapping_insert(mapping, &kvm->arch.mmu.pgt->pkvm_mappings);

	return 0;
}

/*
 * All that a guest touches becomes its own, so a page that is shared in the file has
 * to be converted first.  The caller has topped up the vCPU's memory cache.
 */
int pkvm_gmem_abort(struct kvm_vcpu *vcpu, struct kvm_memory_slot *slot, phys_addr_t ipa)
{
	struct kvm *kvm = vcpu->kvm;
	gfn_t gfn = gpa_to_gfn(ipa);
	kvm_pfn_t pfn;
	int r;

	if (kvm_slot_mem_is_private(kvm, slot, gfn)) {
		/* If a conversion comes in between, the guest faults again. */
		r = kvm_gmem_get_pfn(kvm, slot, gfn, &pfn, NULL);
	} else {
		/* Do not convert back what another vCPU has shared meanwhile. */
		guard(read_lock)(&kvm->mmu_lock);
		r = pkvm_gmem_fault_error(kvm, gfn);
	}
	if (r)
		kvm_prepare_memory_fault_exit(vcpu, gfn_to_gpa(gfn), PAGE_SIZE,
					      kvm_is_write_fault(vcpu),
					      kvm_vcpu_trap_is_exec_fault(vcpu), true);

	return r;
}

/* For pages of a file, EL2 makes the guest repeat these two, and tells the host. */
bool pkvm_gmem_is_asked(struct kvm_vcpu *vcpu)
{
	if (!kvm_vm_is_protected(vcpu->kvm))
		return false;

	switch (smccc_get_function(vcpu)) {
	case ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID:
	case ARM_SMCCC_VENDOR_HYP_KVM_MEM_UNSHARE_FUNC_ID:
		return true;
	default:
		return false;
	}
}

int pkvm_gmem_ask(struct kvm_vcpu *vcpu)
{
	bool share = smccc_get_function(vcpu) == ARM_SMCCC_VENDOR_HYP_KVM_MEM_SHARE_FUNC_ID;
	gpa_t gpa = smccc_get_arg1(vcpu);
	struct kvm_memory_slot *slot;

	guard(srcu)(&vcpu->kvm->srcu);

	/* Memslots stay once a protected guest has run. */
	slot = gfn_to_memslot(vcpu->kvm, gpa_to_gfn(gpa));
	if (!slot || !kvm_slot_has_gmem(slot))
		return -EINVAL;

	/* A conversion came first. */
	if (kvm_slot_mem_is_private(vcpu->kvm, slot, gpa_to_gfn(gpa)) != share)
		return 1;

	kvm_prepare_memory_fault_exit(vcpu, gpa, PAGE_SIZE, false, false, !share);
	return -EFAULT;
}

bool kvm_arch_gmem_guest_has(struct kvm *kvm, gfn_t start, gfn_t end)
{
	guard(read_lock)(&kvm->mmu_lock);

	return pkvm_gmem_mapping(kvm, start, end);
}

int kvm_arch_gmem_claim(struct kvm *kvm, const struct kvm_memory_slot *slot,
			gfn_t start, gfn_t end, gfn_t *err_gfn)
{
	struct pkvm_mapping *mapping;
	int r = 0;

	read_lock(&kvm->mmu_lock);
	while (!r && (mapping = pkvm_gmem_mapping(kvm, start, end))) {
		start = mapping->gfn + 1;
		*err_gfn = mapping->gfn;
		if (fatal_signal_pending(current))
			r = -EINTR;
		else if (kvm_slot_mem_is_private(kvm, slot, mapping->gfn))
			r = kvm_call_hyp_nvhe(__pkvm_host_claim_guest,
					      kvm->arch.pkvm.handle, mapping->gfn);
		cond_resched_rwlock_read(&kvm->mmu_lock);
	}
	read_unlock(&kvm->mmu_lock);

	return r;
}

void kvm_arch_gmem_unclaim(struct kvm *kvm, const struct kvm_memory_slot *slot,
			   gfn_t start, gfn_t end, bool private)
{
	struct pkvm_mapping *mapping;

	read_lock(&kvm->mmu_lock);
	while ((mapping = pkvm_gmem_mapping(kvm, start, end))) {
		start = mapping->gfn + 1;
		if (kvm_slot_mem_is_private(kvm, slot, mapping->gfn) == private)
			kvm_call_hyp_nvhe(__pkvm_host_unclaim_guest, kvm->arch.pkvm.handle,
					  mapping->gfn);
		cond_resched_rwlock_read(&kvm->mmu_lock);
	}
	read_unlock(&kvm->mmu_lock);
}

static void pkvm_gmem_take_page(struct kvm *kvm, struct pkvm_mapping *mapping)
{
	int r = kvm_call_hyp_nvhe(__pkvm_host_take_guest, kvm->arch.pkvm.handle, mapping->gfn);

	/* Nobody else may get a page that the guest still has. */
	if (WARN_ON_ONCE(r)) {
		get_page(pfn_to_page(mapping->pfn));
		return;
	}

	pkvm_mapping_remove(mapping, &kvm->arch.mmu.pgt->pkvm_mappings);
	kfree(mapping);
}

/*
 * Take pages back from a guest that may continue to run.  It finds them poisoned,
 * so they cannot be replaced unnoticed.
 */
static void pkvm_gmem_take_range(struct kvm *kvm, gfn_t start, gfn_t end, bool may_block)
{
	struct pkvm_mapping *mapping;

	lockdep_assert_held_write(&kvm->mmu_lock);

	while ((mapping = pkvm_gmem_mapping(kvm, start, end))) {
		start = mapping->gfn + 1;
		if (mapping->gmem)
			pkvm_gmem_take_page(kvm, mapping);
		if (may_block)
			cond_resched_rwlock_write(&kvm->mmu_lock);
	}
}

/*
 * The file loses pages: by a hole, its last close or a memory error.  Conversions keep
 * what the guest has mapped, and user space's mappings do not matter to the guest.
 */
void pkvm_gmem_take(struct kvm *kvm, struct kvm_gfn_range *range)
{
	if (kvm_vm_is_protected(kvm) && kvm_slot_has_gmem(range->slot))
		pkvm_gmem_take_range(kvm, range->start, range->end, range->may_block);
}

/*
 * The VM is destroyed.  Afterwards the pages belong to the file again, which may
 * still be open.  What a dying VM has pinned is reclaimed elsewhere, without a lock.
 */
void pkvm_gmem_take_all(struct kvm *kvm)
{
	if (!kvm_vm_is_protected(kvm))
		return;

	write_lock(&kvm->mmu_lock);
	pkvm_gmem_take_range(kvm, 0, gpa_to_gfn(kvm_phys_size(&kvm->arch.mmu)), true);
	write_unlock(&kvm->mmu_lock);
}

/* In combination with MMAP it is valid, see kvm_gmem_flags_are_valid(). */
bool kvm_arch_supports_gmem_init_shared(struct kvm *kvm)
{
	return !kvm_vm_is_protected(kvm);
}

#define TO_SHARED(name)								\
	KVM_MEMORY_ATTRIBUTES2_TO_SHARED(KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_##name)
#define TO_PRIVATE(name)							\
	KVM_MEMORY_ATTRIBUTES2_TO_PRIVATE(KVM_SET_MEMORY_ATTRIBUTES2_CONTENT_POLICY_##name)

/*
 * Nothing is encrypted, so contents survive.  A guest cannot rely on zeros that the
 * host has written.
 */
u32 kvm_arch_gmem_content_policies(struct kvm *kvm)
{
	if (kvm ? !kvm_vm_is_protected(kvm) : !is_protected_kvm_enabled())
		return 0;

	return TO_SHARED(ZERO) | TO_SHARED(PRESERVE) | TO_SHARED(NONE) |
	       TO_PRIVATE(PRESERVE) | TO_PRIVATE(NONE);
}

/* The guest has one mapping of a page, whoever may use it and whatever it holds. */
bool kvm_arch_gmem_keeps_mappings(struct kvm *kvm, u64 policy)
{
	return true;
}
