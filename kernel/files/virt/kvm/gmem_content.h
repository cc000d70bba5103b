/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_CONTENT_H__
#define __KVM_GMEM_CONTENT_H__

#include <linux/highmem.h>
#include <linux/pagemap.h>
#include <linux/types.h>

struct kvm;

#ifdef CONFIG_KVM_GMEM_CONVERT

u32 kvm_gmem_content_policies(struct kvm *kvm);
int kvm_gmem_content_fill(struct folio *folio);
int kvm_gmem_content_discard(struct inode *inode, pgoff_t start, pgoff_t end);

int kvm_gmem_content_reserve(struct inode *inode, pgoff_t start, pgoff_t end,
			     bool to_private, u64 policy, pgoff_t *err_index);
void kvm_gmem_content_commit(struct inode *inode, pgoff_t start, pgoff_t end,
			     bool to_private, u64 policy, bool mapped);
int kvm_gmem_content_clear(struct inode *inode, pgoff_t start, pgoff_t end,
			   bool to_private);
void kvm_gmem_content_release(struct inode *inode, pgoff_t start, pgoff_t end,
			      bool to_private, u64 policy);

#else

static inline u32 kvm_gmem_content_policies(struct kvm *kvm)
{
	return 0;
}

static inline int kvm_gmem_content_fill(struct folio *folio)
{
	if (!folio_test_uptodate(folio)) {
		clear_highpage(folio_page(folio, 0));
		folio_mark_uptodate(folio);
	}

	return 0;
}

static inline int kvm_gmem_content_discard(struct inode *inode, pgoff_t start,
					   pgoff_t end)
{
	return 0;
}

#endif /* CONFIG_KVM_GMEM_CONVERT */

#endif /* __KVM_GMEM_CONTENT_H__ */
