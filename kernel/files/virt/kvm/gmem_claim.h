/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_CLAIM_H__
#define __KVM_GMEM_CLAIM_H__

#include <linux/fs.h>
#include <linux/kvm_host.h>

#ifdef CONFIG_HAVE_KVM_ARCH_GMEM_CLAIM

/* What the architecture is told: gfns [start, end) of a memslot, which are bound. */
typedef int (*kvm_gmem_bound_fn)(struct kvm *kvm, struct kvm_memory_slot *slot,
				 gfn_t start, gfn_t end, void *arg);

/* Provided by guest_memfd.c. */
int kvm_gmem_walk_bound(struct inode *inode, pgoff_t start, pgoff_t end,
			kvm_gmem_bound_fn fn, void *arg);

int kvm_gmem_claim(struct inode *inode, pgoff_t start, pgoff_t end, pgoff_t *err_index);
void kvm_gmem_unclaim(struct inode *inode, pgoff_t start, pgoff_t end, bool private);
bool kvm_gmem_guest_has(struct inode *inode, pgoff_t start, pgoff_t end);

#else

static inline int kvm_gmem_claim(struct inode *inode, pgoff_t start, pgoff_t end,
				 pgoff_t *err_index)
{
	return 0;
}

static inline void kvm_gmem_unclaim(struct inode *inode, pgoff_t start, pgoff_t end,
				    bool private)
{
}

static inline bool kvm_gmem_guest_has(struct inode *inode, pgoff_t start, pgoff_t end)
{
	return false;
}

#endif /* CONFIG_HAVE_KVM_ARCH_GMEM_CLAIM */

#endif /* __KVM_GMEM_CLAIM_H__ */
