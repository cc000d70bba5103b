/* SPDX-License-Identifier: GPL-2.0 */
#ifndef __KVM_GMEM_BITMAP_H__
#define __KVM_GMEM_BITMAP_H__

#include <linux/types.h>

/*
 * One bit for each page of a file.  Stretches of one value cost nothing; where
 * values are mixed, a page costs one bit plus 1/16 of a bit for the tree above
 * it.
 *
 * The tree has a fixed height, given by the size of the file.  An entry is a
 * value that all pages below it have, or a pointer to the next level down.
 * Readers are lock-free.  Writers must exclude each other, and work in two
 * steps, so that a store that has begun cannot fail: reserve() makes the tree
 * fine enough to hold the range, without changing the value of any page, and
 * commit() stores.  release() gives back what was reserved and not used.
 *
 * What was converted once is likely to be converted back, so the leaf that
 * became uniform last stays, with its path: at most one for each tree.
 */
struct kvm_gmem_bitmap {
	void __rcu *root;
	pgoff_t nr_pages;
	/* A page of the leaf that stays. */
	pgoff_t spare;
	/* How many pages have the value true. */
	pgoff_t nr_true;
	/* What the tree takes. */
	size_t nr_bytes;
	unsigned int height;
	/* The value of the last page, and so of everything beyond it. */
	bool end_value;
};

void kvm_gmem_bitmap_init(struct kvm_gmem_bitmap *bitmap, pgoff_t nr_pages,
			  bool value);
void kvm_gmem_bitmap_destroy(struct kvm_gmem_bitmap *bitmap);

bool kvm_gmem_bitmap_test(const struct kvm_gmem_bitmap *bitmap, pgoff_t index);
unsigned long kvm_gmem_bitmap_read(const struct kvm_gmem_bitmap *bitmap,
				   pgoff_t start, unsigned int nr);
pgoff_t kvm_gmem_bitmap_find(const struct kvm_gmem_bitmap *bitmap,
			     pgoff_t start, pgoff_t end, bool value);

int kvm_gmem_bitmap_reserve(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			    pgoff_t end, bool value, pgoff_t *err_index);
pgoff_t kvm_gmem_bitmap_commit(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			       pgoff_t end, bool value);
void kvm_gmem_bitmap_release(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			     pgoff_t end);

/*
 * The same for those pages of the range that have @wanted in @mask, a tree of the
 * same file.  The cost follows how mixed @mask is.
 */
int kvm_gmem_bitmap_reserve_masked(struct kvm_gmem_bitmap *bitmap,
				   const struct kvm_gmem_bitmap *mask, bool wanted,
				   pgoff_t start, pgoff_t end, bool value,
				   pgoff_t *err_index);
void kvm_gmem_bitmap_commit_masked(struct kvm_gmem_bitmap *bitmap,
				   const struct kvm_gmem_bitmap *mask, bool wanted,
				   pgoff_t start, pgoff_t end, bool value);
void kvm_gmem_bitmap_release_masked(struct kvm_gmem_bitmap *bitmap,
				    const struct kvm_gmem_bitmap *mask, bool wanted,
				    pgoff_t start, pgoff_t end);

/* Each stretch [first, next) within [start, end) whose pages have @value. */
#define kvm_gmem_bitmap_for_each_run(bitmap, first, next, start, end, value)	\
	for (first = kvm_gmem_bitmap_find(bitmap, start, end, value),		\
	     next = kvm_gmem_bitmap_find(bitmap, first, end, !(value));		\
	     first < (end);							\
	     first = kvm_gmem_bitmap_find(bitmap, next, end, value),		\
	     next = kvm_gmem_bitmap_find(bitmap, first, end, !(value)))

#endif /* __KVM_GMEM_BITMAP_H__ */
