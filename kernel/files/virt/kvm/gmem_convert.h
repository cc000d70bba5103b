/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_CONVERT_H__
#define __KVM_GMEM_CONVERT_H__

#include <linux/fs.h>
#include <linux/kvm_host.h>

/* Provided by guest_memfd.c. */
void kvm_gmem_invalidate_start(struct inode *inode, pgoff_t start, pgoff_t end,
			       enum kvm_gfn_range_filter attr_filter);
void kvm_gmem_invalidate_end(struct inode *inode, pgoff_t start, pgoff_t end);

/* Provided by kvm_main.c. */
#ifdef CONFIG_KVM_GENERIC_MEMORY_ATTRIBUTES
int kvm_vm_set_mem_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
			      unsigned long attributes, bool reserved);
#else
/* Nothing is in place, so gfns are shared and stay so: nothing was reserved. */
static inline int kvm_vm_set_mem_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
					    unsigned long attributes, bool reserved)
{
	return 0;
}
#endif

#ifdef CONFIG_KVM_GMEM_CONVERT

/*
 * Such a slot's mappings come from the file, whatever user space maps: faults call
 * kvm_gmem_get_pfn(), and kvm_mmu_prefetch_sptes() leaves the slot alone.  So only
 * the file invalidates them.
 */
static inline bool kvm_gmem_slot_is_in_place(struct kvm *kvm,
					     const struct kvm_memory_slot *slot)
{
	return kvm_memslot_is_gmem_only(slot) && kvm_arch_has_private_mem(kvm);
}

/* The stand-in for a memslot that is being deleted answers as the memslot did. */
static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src)
{
	dest->gmem.state = src->gmem.state;
	dest->gmem.pgoff = src->gmem.pgoff;
}

long kvm_gmem_convert_ioctl(struct kvm *kvm, struct inode *inode,
			    unsigned int ioctl, unsigned long arg);
long kvm_gmem_convert_vm_ioctl(struct kvm *kvm, void __user *argp);

#else

static inline bool kvm_gmem_slot_is_in_place(struct kvm *kvm,
					     const struct kvm_memory_slot *slot)
{
	return false;
}

static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src)
{
}

static inline long kvm_gmem_convert_ioctl(struct kvm *kvm, struct inode *inode,
					  unsigned int ioctl, unsigned long arg)
{
	return -ENOTTY;
}

static inline long kvm_gmem_convert_vm_ioctl(struct kvm *kvm, void __user *argp)
{
	return -ENOTTY;
}

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_CONVERT_H__ */
