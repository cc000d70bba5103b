/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_FAULT_H__
#define __KVM_GMEM_FAULT_H__

#include <linux/cleanup.h>
#include <linux/fs.h>
#include <linux/mm.h>

#include "gmem_state.h"

/* Provided by guest_memfd.c. */
struct folio *kvm_gmem_get_folio(struct inode *inode, pgoff_t index);

/*
 * Held from the lookup of who may use a page until the answer is acted upon, so
 * that no conversion and no hole comes in between.  Pages of files that are not
 * in place are not converted, so there is nothing to hold.  Returns an error if
 * the task is killed.
 */
static inline struct inode *kvm_gmem_fault_start(struct inode *inode)
{
	if (kvm_gmem_is_in_place(inode) &&
	    down_read_killable(&inode->i_mapping->invalidate_lock))
		return ERR_PTR(-EINTR);

	return inode;
}

static inline void kvm_gmem_fault_end(struct inode *inode)
{
	if (!IS_ERR(inode) && kvm_gmem_is_in_place(inode))
		filemap_invalidate_unlock_shared(inode->i_mapping);
}

DEFINE_CLASS(kvm_gmem_fault, struct inode *, kvm_gmem_fault_end(_T),
	     kvm_gmem_fault_start(inode), struct inode *inode)

#ifdef CONFIG_KVM_GMEM_CONVERT

vm_fault_t kvm_gmem_fault_in_place(struct vm_fault *vmf);
vm_fault_t kvm_gmem_map_pages(struct vm_fault *vmf, pgoff_t first, pgoff_t last);
bool kvm_gmem_seems_mapped(struct inode *inode, pgoff_t start, pgoff_t end);
void kvm_gmem_unmap(struct inode *inode, pgoff_t start, pgoff_t end);

#else

static inline vm_fault_t kvm_gmem_fault_in_place(struct vm_fault *vmf)
{
	return VM_FAULT_SIGBUS;
}

#define kvm_gmem_map_pages	NULL

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_FAULT_H__ */
