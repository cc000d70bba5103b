// SPDX-License-Identifier: GPL-2.0
/*
 * A bit for each page of a guest_memfd, as a tree that is only as fine as the
 * values are mixed.  Knows nothing of what the bit means.
 */
#include <linux/align.h>
#include <linux/bitmap.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>

#include "gmem_bitmap.h"

#define LEAF_SHIFT	10
#define LEAF_PAGES	BIT(LEAF_SHIFT)
#define NODE_SHIFT	6
#define NODE_ENTRIES	BIT(NODE_SHIFT)

struct leaf {
	unsigned long bits[BITS_TO_LONGS(LEAF_PAGES)];
};

struct node {
	void __rcu *entries[NODE_ENTRIES];
};

/* The number of pages below an entry: 0 is the level whose entries are leaves. */
static pgoff_t span(unsigned int level)
{
	return 1UL << (LEAF_SHIFT + level * NODE_SHIFT);
}

static void *uniform(bool value)
{
	return (void *)(unsigned long)value;
}

static bool is_uniform(const void *entry)
{
	return (unsigned long)entry <= 1;
}

static unsigned int entry_of(pgoff_t index, unsigned int level)
{
	return (index / span(level - 1)) % NODE_ENTRIES;
}

/* For writers.  Their callers assert the lock that keeps them apart. */
static void *entry_protected(void __rcu *const *entry)
{
	return rcu_dereference_protected(*entry, true);
}

/* The leaf or the uniform value that @index falls into, and at which level. */
static const void *lookup(const struct kvm_gmem_bitmap *bitmap, pgoff_t index,
			  unsigned int *level)
{
	const void *entry = rcu_dereference(bitmap->root);

	for (*level = bitmap->height; *level && !is_uniform(entry); --*level) {
		const struct node *node = entry;

		entry = rcu_dereference(node->entries[entry_of(index, *level)]);
	}

	return entry;
}

/*
 * Readers of other bits in the same word run at the same time, hence the marked
 * accesses.  No other writer does.
 */
static void set_bits(struct leaf *leaf, unsigned int first, unsigned int nr,
		     bool value)
{
	unsigned int end = first + nr;

	while (first < end) {
		unsigned long *word = &leaf->bits[BIT_WORD(first)];
		unsigned int bit = first % BITS_PER_LONG;
		unsigned int n = min(end - first, BITS_PER_LONG - bit);
		unsigned long mask = GENMASK(bit + n - 1, bit);

		WRITE_ONCE(*word, value ? *word | mask : *word & ~mask);
		first += n;
	}
}

static void *new_entry(unsigned int level, bool value)
{
	struct node *node;
	struct leaf *leaf;
	unsigned int i;

	if (!level) {
		leaf = kmalloc_obj(*leaf, GFP_KERNEL_ACCOUNT);
		if (leaf)
			memset(leaf, value ? 0xff : 0, sizeof(*leaf));
		return leaf;
	}

	node = kmalloc_obj(*node, GFP_KERNEL_ACCOUNT);
	for (i = 0; node && i < NODE_ENTRIES; i++)
		RCU_INIT_POINTER(node->entries[i], uniform(value));
	return node;
}

/* Free what is below an entry that no new reader can find any more. */
static void free_entry(void *entry, unsigned int level)
{
	struct node *node = entry;
	unsigned int i;

	if (is_uniform(entry))
		return;

	for (i = 0; level && i < NODE_ENTRIES; i++)
		free_entry(entry_protected(&node->entries[i]), level - 1);

	kfree_rcu_mightsleep(entry);
	cond_resched();
}

static void replace_entry(void __rcu **entry, unsigned int level, bool value)
{
	void *old = entry_protected(entry);

	rcu_assign_pointer(*entry, uniform(value));
	free_entry(old, level);
}

/* Give back a level whose entries or bits have all become the same. */
static void collapse(void __rcu **entry, unsigned int level)
{
	void *old = entry_protected(entry);
	const struct leaf *leaf = old;
	const struct node *node = old;
	void *first;
	unsigned int i;

	if (is_uniform(old))
		return;

	if (!level) {
		bool value = test_bit(0, leaf->bits);

		if (value ? bitmap_full(leaf->bits, LEAF_PAGES) :
			    bitmap_empty(leaf->bits, LEAF_PAGES))
			replace_entry(entry, level, value);
		return;
	}

	first = entry_protected(&node->entries[0]);
	if (!is_uniform(first))
		return;

	for (i = 1; i < NODE_ENTRIES; i++) {
		if (entry_protected(&node->entries[i]) != first)
			return;
	}

	replace_entry(entry, level, first == uniform(true));
}

/* Make a boundary at @index possible, on the way to storing @value next to it. */
static int refine(struct kvm_gmem_bitmap *bitmap, pgoff_t index, bool value,
		  pgoff_t *err_index)
{
	void __rcu **entry = &bitmap->root;
	unsigned int level = bitmap->height;

	for (;;) {
		void *old = entry_protected(entry);
		struct node *node;

		if (IS_ALIGNED(index, span(level)) || old == uniform(value))
			return 0;

		if (is_uniform(old)) {
			void *new = new_entry(level, old == uniform(true));

			if (!new) {
				*err_index = ALIGN_DOWN(index, span(level));
				return -ENOMEM;
			}
			rcu_assign_pointer(*entry, new);
			old = new;
		}

		if (!level)
			return 0;

		node = old;
		entry = &node->entries[entry_of(index, level)];
		level--;
	}
}

/* Undo refine() as far as nothing was stored, from the bottom up. */
static void coarsen(void __rcu **entry, unsigned int level, pgoff_t index)
{
	struct node *node = entry_protected(entry);

	if (is_uniform(node))
		return;

	if (level)
		coarsen(&node->entries[entry_of(index, level)], level - 1, index);

	collapse(entry, level);
}

/* Set the part of [start, end) that is below @entry, which begins at @base. */
static void store(void __rcu **entry, unsigned int level, pgoff_t base,
		  pgoff_t start, pgoff_t end, bool value)
{
	void *old = entry_protected(entry);
	struct node *node = old;
	pgoff_t first, last;
	unsigned int i;

	if (old == uniform(value))
		return;

	if (start <= base && end >= base + span(level)) {
		replace_entry(entry, level, value);
		return;
	}

	/* Only a missing reserve() can lead here. */
	if (WARN_ON_ONCE(is_uniform(old)))
		return;

	first = max(start, base);
	last = min(end, base + span(level)) - 1;

	if (!level) {
		set_bits(old, first - base, last - first + 1, value);
	} else {
		for (i = entry_of(first, level); i <= entry_of(last, level); i++)
			store(&node->entries[i], level - 1,
			      base + i * span(level - 1), start, end, value);
	}

	collapse(entry, level);
}

/*
 * Pages behind the end of the file have no meaning: a range that reaches the
 * end covers them too, so that the last level can become uniform.
 */
static pgoff_t round_end(const struct kvm_gmem_bitmap *bitmap, pgoff_t end)
{
	return end < bitmap->nr_pages ? end : span(bitmap->height);
}

void kvm_gmem_bitmap_init(struct kvm_gmem_bitmap *bitmap, pgoff_t nr_pages,
			  bool value)
{
	bitmap->nr_pages = nr_pages;
	bitmap->height = 0;
	while (span(bitmap->height) < nr_pages)
		bitmap->height++;
	RCU_INIT_POINTER(bitmap->root, uniform(value));
}

void kvm_gmem_bitmap_destroy(struct kvm_gmem_bitmap *bitmap)
{
	replace_entry(&bitmap->root, bitmap->height, false);
}

bool kvm_gmem_bitmap_test(const struct kvm_gmem_bitmap *bitmap, pgoff_t index)
{
	const struct leaf *leaf;
	unsigned int level;

	guard(rcu)();

	leaf = lookup(bitmap, index, &level);
	if (is_uniform(leaf))
		return leaf == uniform(true);

	return test_bit(index % LEAF_PAGES, leaf->bits);
}

/* The first page of [start, end) that has @value, or @end. */
pgoff_t kvm_gmem_bitmap_find(const struct kvm_gmem_bitmap *bitmap,
			     pgoff_t start, pgoff_t end, bool value)
{
	while (start < end) {
		unsigned int level, first, last;
		const struct leaf *leaf;
		pgoff_t next;
		bool found;

		rcu_read_lock();
		leaf = lookup(bitmap, start, &level);
		next = min(end, ALIGN_DOWN(start, span(level)) + span(level));
		if (is_uniform(leaf)) {
			found = leaf == uniform(value);
			if (found)
				next = start;
		} else {
			first = start % LEAF_PAGES;
			last = first + (next - start);
			if (value)
				first = find_next_bit(leaf->bits, last, first);
			else
				first = find_next_zero_bit(leaf->bits, last, first);
			found = first < last;
			next -= last - first;
		}
		rcu_read_unlock();

		if (found)
			return next;

		start = next;
		cond_resched();
	}

	return end;
}

/*
 * Prepare to store @value in [start, end).  On failure nothing is reserved and
 * @err_index is the first page of the range that could not be.
 */
int kvm_gmem_bitmap_reserve(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			    pgoff_t end, bool value, pgoff_t *err_index)
{
	int r;

	r = refine(bitmap, start, value, err_index);
	if (!r)
		r = refine(bitmap, round_end(bitmap, end), value, err_index);
	if (r) {
		*err_index = max(*err_index, start);
		kvm_gmem_bitmap_release(bitmap, start, end);
	}

	return r;
}

void kvm_gmem_bitmap_commit(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			    pgoff_t end, bool value)
{
	store(&bitmap->root, bitmap->height, 0, start, round_end(bitmap, end), value);
}

void kvm_gmem_bitmap_release(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			     pgoff_t end)
{
	coarsen(&bitmap->root, bitmap->height, start);
	if (end < bitmap->nr_pages)
		coarsen(&bitmap->root, bitmap->height, end);
}
