// SPDX-License-Identifier: GPL-2.0
/*
 * Where a page belongs to the guest until the guest shares it, the host claims a
 * shared page before it uses it, and the guest does not get a claimed page back
 * until the host lets go.
 *
 * On the way to shared a page is first claimed, then its attribute is stored; on the
 * way to private it is the other way round, both under invalidate_lock.  So each
 * page that user space can map is either claimed, or the guest has never had it.
 */
#include "gmem_claim.h"

static int gmem_claim_bound(struct kvm *kvm, struct kvm_memory_slot *slot,
			    gfn_t start, gfn_t end, void *arg)
{
	pgoff_t *err_index = arg;
	gfn_t err_gfn = start;
	int r;

	r = kvm_arch_gmem_claim(kvm, slot, start, end, &err_gfn);
	if (r)
		*err_index = err_gfn - slot->base_gfn + slot->gmem.pgoff;

	return r;
}

static int gmem_claim_let_go(struct kvm *kvm, struct kvm_memory_slot *slot,
			     gfn_t start, gfn_t end, void *arg)
{
	bool *private = arg;

	kvm_arch_gmem_unclaim(kvm, slot, start, end, *private);
	return 0;
}

/*
 * Claim the pages of [start, end) that are private.  On failure none is
 * claimed, and @err_index is the lowest one that the guest has not shared.
 */
int kvm_gmem_claim(struct inode *inode, pgoff_t start, pgoff_t end, pgoff_t *err_index)
{
	int r;

	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	r = kvm_gmem_walk_bound(inode, start, end, gmem_claim_bound, err_index);
	if (r && start < *err_index)
		kvm_gmem_unclaim(inode, start, *err_index, true);

	return r;
}

/* Let go of the pages whose state is @private, before the new state is stored. */
void kvm_gmem_unclaim(struct inode *inode, pgoff_t start, pgoff_t end, bool private)
{
	lockdep_assert_held_write(&inode->i_mapping->invalidate_lock);

	kvm_gmem_walk_bound(inode, start, end, gmem_claim_let_go, &private);
}

static int gmem_claim_ask(struct kvm *kvm, struct kvm_memory_slot *slot,
			  gfn_t start, gfn_t end, void *arg)
{
	return kvm_arch_gmem_guest_has(kvm, start, end);
}

/* Does the guest have any of the pages, shared or not?  It cannot do without them. */
bool kvm_gmem_guest_has(struct inode *inode, pgoff_t start, pgoff_t end)
{
	lockdep_assert_held(&inode->i_mapping->invalidate_lock);

	return kvm_gmem_walk_bound(inode, start, end, gmem_claim_ask, NULL);
}
