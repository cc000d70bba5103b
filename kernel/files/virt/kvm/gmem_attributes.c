// SPDX-License-Identifier: GPL-2.0
/*
 * Who decides whether a guest page is private: the file, if the page's memslot
 * is bound to an in-place guest_memfd, otherwise the VM's own attributes.
 * gmem_bitmap.c is how the file stores its answer.
 */
#include <linux/kvm_host.h>
#include <linux/sched/signal.h>

#include "gmem_attributes.h"
#include "gmem_convert.h"
#include "gmem_state.h"

/*
 * Neither sleeps nor takes a lock or a reference, as page faults call it under
 * mmu_lock.  For a file that is being closed the answer is "shared"; that there
 * is no memory any more is left to kvm_gmem_get_pfn().
 */
static bool gmem_attributes_slot_is_private(const struct kvm_memory_slot *slot, gfn_t gfn)
{
	struct kvm_gmem_state *state;

	/* Pairs with the RCU-delayed free of the inode, which holds the state. */
	guard(rcu)();

	state = READ_ONCE(slot->gmem.state);
	if (!state)
		return false;

	return kvm_gmem_state_is_private(state, gfn - slot->base_gfn + slot->gmem.pgoff);
}

static bool gmem_attributes_vm_is_private(struct kvm *kvm, gfn_t gfn)
{
#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
	return kvm_get_memory_attributes(kvm, gfn) & KVM_MEMORY_ATTRIBUTE_PRIVATE;
#else
	return false;
#endif
}

/* For a caller that has the memslot of the gfn, or NULL if there is none. */
bool kvm_gmem_slot_mem_is_private(struct kvm *kvm, const struct kvm_memory_slot *slot,
				  gfn_t gfn)
{
	if (!kvm_arch_has_private_mem(kvm))
		return false;

	if (slot && kvm_gmem_slot_is_in_place(kvm, slot))
		return gmem_attributes_slot_is_private(slot, gfn);

	return gmem_attributes_vm_is_private(kvm, gfn);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_gmem_slot_mem_is_private);

bool kvm_gmem_mem_is_private(struct kvm *kvm, gfn_t gfn)
{
	return kvm_arch_has_private_mem(kvm) &&
	       kvm_gmem_slot_mem_is_private(kvm, gfn_to_memslot(kvm, gfn), gfn);
}
EXPORT_SYMBOL_FOR_KVM_INTERNAL(kvm_gmem_mem_is_private);

/* Does any gfn of [start, end) belong to a memslot for which its file decides? */
bool kvm_gmem_range_is_in_place(struct kvm *kvm, gfn_t start, gfn_t end)
{
	struct kvm_memslot_iter iter;
	int i;

	lockdep_assert_held(&kvm->slots_lock);

	for (i = 0; i < kvm_arch_nr_memslot_as_ids(kvm); i++) {
		kvm_for_each_memslot_in_gfn_range(&iter, __kvm_memslots(kvm, i),
						  start, end) {
			if (kvm_gmem_slot_is_in_place(kvm, iter.slot))
				return true;
		}
	}

	return false;
}

u64 kvm_gmem_supported_attributes(struct kvm *kvm)
{
	return kvm_arch_gmem_content_policies(kvm) ?
	       KVM_MEMORY_ATTRIBUTE_PRIVATE : 0;
}

#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES

/*
 * Allocate what is needed to make [start, end) private in the VM's own
 * attributes.  On failure nothing stays reserved.  Each private gfn has an entry
 * of its own, so the time grows with the size of the range; a fatal signal ends
 * it.
 */
int kvm_gmem_reserve_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
				   gfn_t *err_gfn)
{
	gfn_t gfn;
	int r;

	lockdep_assert_held(&kvm->slots_lock);

	for (gfn = start; gfn < end; gfn++) {
		r = fatal_signal_pending(current) ? -EINTR :
		    xa_reserve(&kvm->mem_attr_array, gfn,
			       GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL);
		if (r) {
			*err_gfn = gfn;
			kvm_gmem_release_vm_attributes(kvm, start, gfn);
			return r;
		}

		cond_resched();
	}

	return 0;
}

/* Gfns that had an attribute keep it. */
void kvm_gmem_release_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end)
{
	gfn_t gfn;

	lockdep_assert_held(&kvm->slots_lock);

	for (gfn = start; gfn < end; gfn++) {
		xa_release(&kvm->mem_attr_array, gfn);
		cond_resched();
	}
}

#else

/* Only a file can say that memory is private. */
int kvm_gmem_reserve_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
				   gfn_t *err_gfn)
{
	*err_gfn = start;
	return -EINVAL;
}

void kvm_gmem_release_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end)
{
}

#endif /* CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES */
