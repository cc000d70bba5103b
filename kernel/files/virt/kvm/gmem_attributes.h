/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_ATTRIBUTES_H__
#define __KVM_GMEM_ATTRIBUTES_H__

#include <linux/types.h>

#include "gmem_bitmap.h"

struct kvm;

/* Who may use each page of a file: set for guest only, clear for guest and host. */
struct kvm_gmem_attributes {
#ifdef CONFIG_KVM_GMEM_CONVERT
	struct kvm_gmem_bitmap private;
#else
	bool is_private;
#endif
};

#ifdef CONFIG_KVM_GMEM_CONVERT

/* Stale at once, unless invalidate_lock is held or mmu_invalidate_seq checked. */
static inline bool
kvm_gmem_attributes_is_private(const struct kvm_gmem_attributes *attributes,
			       pgoff_t index)
{
	return kvm_gmem_bitmap_test(&attributes->private, index);
}

u64 kvm_gmem_supported_attributes(struct kvm *kvm);
bool kvm_gmem_range_is_in_place(struct kvm *kvm, gfn_t start, gfn_t end);
int kvm_gmem_reserve_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
				   bool to_private, pgoff_t *err_gfn);
void kvm_gmem_release_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end);

#else

static inline bool
kvm_gmem_attributes_is_private(const struct kvm_gmem_attributes *attributes,
			       pgoff_t index)
{
	return attributes->is_private;
}

static inline u64 kvm_gmem_supported_attributes(struct kvm *kvm)
{
	return 0;
}

static inline bool kvm_gmem_range_is_in_place(struct kvm *kvm, gfn_t start,
					      gfn_t end)
{
	return false;
}

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_ATTRIBUTES_H__ */
