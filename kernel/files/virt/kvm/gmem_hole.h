/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_HOLE_H__
#define __KVM_GMEM_HOLE_H__

#include <linux/fs.h>
#include <linux/sched.h>

/* Provided by guest_memfd.c. */
long kvm_gmem_punch_hole(struct inode *inode, loff_t offset, loff_t len);

#ifdef CONFIG_KVM_GMEM_CONVERT

long kvm_gmem_punch_holes(struct inode *inode, loff_t offset, loff_t len);
int kvm_gmem_hole_start(struct inode *inode, pgoff_t start, pgoff_t end);
int kvm_gmem_let_in(struct inode *inode);

#else

static inline long kvm_gmem_punch_holes(struct inode *inode, loff_t offset, loff_t len)
{
	return kvm_gmem_punch_hole(inode, offset, len);
}

static inline int kvm_gmem_hole_start(struct inode *inode, pgoff_t start, pgoff_t end)
{
	filemap_invalidate_lock(inode->i_mapping);
	return 0;
}

static inline int kvm_gmem_let_in(struct inode *inode)
{
	cond_resched();
	return 0;
}

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_HOLE_H__ */
