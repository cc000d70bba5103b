/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_ATTRIBUTES_H__
#define __KVM_GMEM_ATTRIBUTES_H__

#include <linux/kvm_types.h>

struct kvm;

#ifdef CONFIG_KVM_GMEM_CONVERT

u64 kvm_gmem_supported_attributes(struct kvm *kvm);
bool kvm_gmem_range_is_in_place(struct kvm *kvm, gfn_t start, gfn_t end);
int kvm_gmem_reserve_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
				   gfn_t *err_gfn);
void kvm_gmem_release_vm_attributes(struct kvm *kvm, gfn_t start, gfn_t end);

#else

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
