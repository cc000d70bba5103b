/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_CONVERT_H__
#define __KVM_GMEM_CONVERT_H__

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/kvm_host.h>

#include "gmem_attributes.h"
#include "gmem_content.h"

/*
 * Everything that crosses between guest_memfd.c and in-place conversion.
 *
 * The state belongs to the inode, as the memory does.  It lives until the inode
 * has gone through an RCU grace period, so a lookup through a memslot needs no
 * reference.  A file that is not in place keeps the state it was created with.
 */
struct kvm_gmem_state {
	struct kvm_gmem_attributes attributes;
#ifdef CONFIG_KVM_GMEM_CONVERT
	struct kvm_gmem_content content;
	bool in_place;
	/* Locked for the conversion of several parts.  Needs slots_lock. */
	bool is_part;
#endif
};

/* Provided by guest_memfd.c. */
struct kvm_gmem_state *kvm_gmem_state(struct inode *inode);
void kvm_gmem_invalidate_start(struct inode *inode, pgoff_t start, pgoff_t end,
			       enum kvm_gfn_range_filter attr_filter);
void kvm_gmem_invalidate_end(struct inode *inode, pgoff_t start, pgoff_t end);

/* Provided by kvm_main.c. */
int kvm_vm_set_mem_attributes(struct kvm *kvm, gfn_t start, gfn_t end,
			      unsigned long attributes);

#ifdef CONFIG_KVM_GMEM_CONVERT

static inline bool kvm_gmem_is_in_place(struct inode *inode)
{
	return kvm_gmem_state(inode)->in_place;
}

/*
 * Such a slot's mappings come from the file, whatever user space maps: faults ask
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

void kvm_gmem_state_init(struct kvm_gmem_state *state, struct kvm *kvm,
			 loff_t size, u64 flags);
void kvm_gmem_state_destroy(struct kvm_gmem_state *state);
void kvm_gmem_fault_start(struct inode *inode);
void kvm_gmem_fault_end(struct inode *inode);
struct page *kvm_gmem_fault_page(struct inode *inode, struct folio *folio,
				 struct page *page);
long kvm_gmem_convert_ioctl(struct kvm *kvm, struct inode *inode,
			    unsigned int ioctl, unsigned long arg);
long kvm_gmem_convert_vm_ioctl(struct kvm *kvm, void __user *argp);

#else

static inline bool kvm_gmem_is_in_place(struct inode *inode)
{
	return false;
}

static inline bool kvm_gmem_slot_is_in_place(struct kvm *kvm,
					     const struct kvm_memory_slot *slot)
{
	return false;
}

static inline void kvm_gmem_copy_slot(struct kvm_memory_slot *dest,
				      const struct kvm_memory_slot *src)
{
}

static inline void kvm_gmem_state_init(struct kvm_gmem_state *state,
				       struct kvm *kvm, loff_t size, u64 flags)
{
	state->attributes.is_private = !(flags & GUEST_MEMFD_FLAG_INIT_SHARED);
}

static inline void kvm_gmem_state_destroy(struct kvm_gmem_state *state)
{
}

static inline void kvm_gmem_fault_start(struct inode *inode)
{
}

static inline void kvm_gmem_fault_end(struct inode *inode)
{
}

static inline struct page *kvm_gmem_fault_page(struct inode *inode,
					       struct folio *folio,
					       struct page *page)
{
	return page;
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

/* Held from the question who may use a page until the answer is acted upon. */
DEFINE_GUARD(kvm_gmem_fault, struct inode *, kvm_gmem_fault_start(_T),
	     kvm_gmem_fault_end(_T))

#endif /* __KVM_GMEM_CONVERT_H__ */
