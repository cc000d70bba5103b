/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_SHOW_H__
#define __KVM_GMEM_SHOW_H__

#include <linux/types.h>

struct inode;
struct kvm;
struct kvm_memory_attributes2_range;
struct seq_file;

#ifdef CONFIG_KVM_GMEM_CONVERT

long kvm_gmem_get_attributes(struct inode *inode,
			     struct kvm_memory_attributes2_range __user *urange);
void kvm_gmem_show(struct seq_file *m, struct kvm *kvm, struct inode *inode, u64 flags);

#else

static inline void kvm_gmem_show(struct seq_file *m, struct kvm *kvm, struct inode *inode,
				 u64 flags)
{
}

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_SHOW_H__ */
