// SPDX-License-Identifier: GPL-2.0
/*
 * A bit for each page of a guest_memfd, as a tree that is only as fine as the
 * values are mixed.  What the bit means is unknown here.
 */
#include <linux/align.h>
#include <linux/array_size.h>
#include <linux/bitmap.h>
#include <linux/bits.h>
#include <linux/minmax.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/string.h>

#include "gmem_bitmap.h"

#define LEAF_SHIFT	10
#define LEAF_PAGES	BIT(LEAF_SHIFT)
#define NODE_SHIFT	6
#define NODE_ENTRIES	BIT(NODE_SHIFT)

#define NO_SPARE	((pgoff_t)-1)

/* A caller without memory gets an error, and is not killed for it. */
#define GFP_TRACKING	(GFP_KERNEL_ACCOUNT | __GFP_RETRY_MAYFAIL)

struct leaf {
	unsigned long bits[BITS_TO_LONGS(LEAF_PAGES)];
};

struct node {
	void __rcu *entries[NODE_ENTRIES];
};

static unsigned int shift(unsigned int level)
{
	return LEAF_SHIFT + level * NODE_SHIFT;
}

/* The number of pages below an entry: 0 is the level whose entries are leaves. */
static pgoff_t span(unsigned int level)
{
	return 1UL << shift(level);
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
	return (index >> shift(level - 1)) % NODE_ENTRIES;
}

/* For writers, whose callers assert the lock that excludes other writers. */
static void *entry_protected(void __rcu *const *entry)
{
	return rcu_dereference_protected(*entry, true);
}

/*
 * The leaf or the uniform value that @index falls into, its level, and the node
 * that holds it, if one does.
 */
static const void *gmem_bitmap_lookup(const struct kvm_gmem_bitmap *bitmap, pgoff_t index,
				      unsigned int *level, const struct node **parent)
{
	const void *entry = rcu_dereference(bitmap->root);
	const struct node *node = NULL;

	for (*level = bitmap->height; *level && !is_uniform(entry); --*level) {
		node = entry;
		entry = rcu_dereference(node->entries[entry_of(index, *level)]);
	}

	*parent = node;
	return entry;
}

/* The leaf of @index, for writers; NULL if all of its pages have one value. */
static struct leaf *gmem_bitmap_leaf(const struct kvm_gmem_bitmap *bitmap, pgoff_t index)
{
	void *entry = entry_protected(&bitmap->root);
	unsigned int level;

	for (level = bitmap->height; level && !is_uniform(entry); level--)
		entry = entry_protected(&((struct node *)entry)->entries[entry_of(index, level)]);

	return is_uniform(entry) ? NULL : entry;
}

static bool gmem_bitmap_is_one_leaf(pgoff_t start, pgoff_t end)
{
	return start / LEAF_PAGES == (end - 1) / LEAF_PAGES;
}

/*
 * Returns how many bits of @mask have changed.  Readers of other bits in the same word
 * run at the same time, hence the marked accesses.  No other writer does.
 */
static __always_inline pgoff_t gmem_bitmap_set_word(unsigned long *word, unsigned long mask,
						    bool value)
{
	unsigned long change = (value ? ~*word : *word) & mask;

	WRITE_ONCE(*word, *word ^ change);
	/* Mostly a whole word, whose bits cost more to count than to compare. */
	return change == ~0UL ? BITS_PER_LONG : hweight_long(change);
}

/* Returns how many bits of [first, end) have changed. */
static pgoff_t gmem_bitmap_set_bits(struct leaf *leaf, unsigned int first,
				    unsigned int end, bool value)
{
	unsigned long from = GENMASK(BITS_PER_LONG - 1, first % BITS_PER_LONG);
	unsigned long to = GENMASK((end - 1) % BITS_PER_LONG, 0);
	unsigned long *last = &leaf->bits[BIT_WORD(end - 1)];
	unsigned long *word = &leaf->bits[BIT_WORD(first)];
	pgoff_t nr_changed;

	if (word == last)
		return gmem_bitmap_set_word(word, from & to, value);

	nr_changed = gmem_bitmap_set_word(word, from, value);
	while (++word < last)
		nr_changed += gmem_bitmap_set_word(word, ~0UL, value);

	return nr_changed + gmem_bitmap_set_word(last, to, value);
}

static size_t size_of_entry(unsigned int level)
{
	return level ? sizeof(struct node) : sizeof(struct leaf);
}

static void *gmem_bitmap_new_entry(struct kvm_gmem_bitmap *bitmap, unsigned int level,
				   bool value)
{
	void *entry;

	/* With a size that the compiler knows, kmalloc has less work. */
	if (level)
		entry = kmalloc_obj(struct node, GFP_TRACKING);
	else
		entry = kmalloc_obj(struct leaf, GFP_TRACKING);
	if (!entry)
		return NULL;

	/* No reader can find it yet. */
	if (level)
		memset_p(entry, uniform(value), NODE_ENTRIES);
	else
		memset(entry, value ? 0xff : 0, sizeof(struct leaf));

	WRITE_ONCE(bitmap->nr_bytes, bitmap->nr_bytes + size_of_entry(level));
	return entry;
}

/* How many pages below an entry have @value. */
static pgoff_t gmem_bitmap_count(const void *entry, unsigned int level, bool value)
{
	const struct node *node = entry;
	const struct leaf *leaf = entry;
	pgoff_t count = 0;
	unsigned int i;

	if (is_uniform(entry))
		return entry == uniform(value) ? span(level) : 0;

	if (!level) {
		count = bitmap_weight(leaf->bits, LEAF_PAGES);
		return value ? count : LEAF_PAGES - count;
	}

	for (i = 0; i < NODE_ENTRIES; i++) {
		const void *below = entry_protected(&node->entries[i]);

		if (below != uniform(!value))
			count += gmem_bitmap_count(below, level - 1, value);
	}
	cond_resched();

	return count;
}

/* Free an entry that no new reader can find any more, but nothing below it. */
static void gmem_bitmap_free_entry(struct kvm_gmem_bitmap *bitmap, void *entry,
				   unsigned int level)
{
	WRITE_ONCE(bitmap->nr_bytes, bitmap->nr_bytes - size_of_entry(level));
	kfree_rcu_mightsleep(entry);
	cond_resched();
}

/* The same, and everything below it. */
static void gmem_bitmap_free_tree(struct kvm_gmem_bitmap *bitmap, void *entry,
				  unsigned int level)
{
	struct node *node = entry;
	unsigned int i;

	for (i = 0; level && i < NODE_ENTRIES; i++) {
		void *below = entry_protected(&node->entries[i]);

		if (!is_uniform(below))
			gmem_bitmap_free_tree(bitmap, below, level - 1);
	}

	gmem_bitmap_free_entry(bitmap, entry, level);
}

static void gmem_bitmap_replace_entry(struct kvm_gmem_bitmap *bitmap, void __rcu **entry,
				      unsigned int level, bool value)
{
	void *old = entry_protected(entry);

	rcu_assign_pointer(*entry, uniform(value));
	if (!is_uniform(old))
		gmem_bitmap_free_tree(bitmap, old, level);
}

static bool gmem_bitmap_leaf_is_uniform(const struct leaf *leaf)
{
	unsigned long first = leaf->bits[0];
	unsigned int i;

	if (first && ~first)
		return false;

	for (i = 1; i < ARRAY_SIZE(leaf->bits); i++) {
		if (leaf->bits[i] != first)
			return false;
	}

	return true;
}

/* Give back a level whose entries or bits have all become the same. */
static void gmem_bitmap_collapse(struct kvm_gmem_bitmap *bitmap, void __rcu **entry,
				 unsigned int level)
{
	void *old = entry_protected(entry);
	const struct leaf *leaf = old;
	const struct node *node = old;
	void *first;
	unsigned int i;

	if (is_uniform(old))
		return;

	if (!level) {
		if (!gmem_bitmap_leaf_is_uniform(leaf))
			return;
		first = uniform(test_bit(0, leaf->bits));
	} else {
		first = entry_protected(&node->entries[0]);
		if (!is_uniform(first))
			return;

		for (i = 1; i < NODE_ENTRIES; i++) {
			if (entry_protected(&node->entries[i]) != first)
				return;
		}
	}

	rcu_assign_pointer(*entry, first);
	gmem_bitmap_free_entry(bitmap, old, level);
}

/* Make a boundary at @index possible, in preparation for storing @value next to it. */
static int gmem_bitmap_refine(struct kvm_gmem_bitmap *bitmap, pgoff_t index,
			      bool value, pgoff_t *err_index)
{
	void __rcu **entry = &bitmap->root;
	unsigned int level = bitmap->height;

	for (;;) {
		void *old = entry_protected(entry);
		struct node *node;

		if (IS_ALIGNED(index, span(level)) || old == uniform(value))
			return 0;

		if (is_uniform(old)) {
			void *new = gmem_bitmap_new_entry(bitmap, level, old == uniform(true));

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

/* Undo gmem_bitmap_refine() where nothing was stored, from the bottom up. */
static void gmem_bitmap_coarsen(struct kvm_gmem_bitmap *bitmap, void __rcu **entry,
				unsigned int level, pgoff_t index)
{
	struct node *node = entry_protected(entry);

	if (is_uniform(node))
		return;

	if (level)
		gmem_bitmap_coarsen(bitmap, &node->entries[entry_of(index, level)], level - 1,
				    index);

	gmem_bitmap_collapse(bitmap, entry, level);
}

/* If the leaf of @index is uniform, let it stay in place of the previous one. */
static void gmem_bitmap_spare(struct kvm_gmem_bitmap *bitmap, const struct leaf *leaf,
			      pgoff_t index)
{
	pgoff_t before = bitmap->spare;

	index = ALIGN_DOWN(index, LEAF_PAGES);
	if (before == index || !gmem_bitmap_leaf_is_uniform(leaf))
		return;

	bitmap->spare = index;
	if (before != NO_SPARE)
		gmem_bitmap_coarsen(bitmap, &bitmap->root, bitmap->height, before);
}

static bool gmem_bitmap_is_within_leaf(pgoff_t index, pgoff_t leaf)
{
	return index > leaf && index < leaf + LEAF_PAGES;
}

/*
 * Called before anything is reserved: a spare leaf elsewhere would keep nodes that
 * the reservation then finds in place, and that go away with it in the middle of a
 * commit.  A leaf in which [start, end) begins or ends is part of the reservation.
 */
static void gmem_bitmap_take_spare(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
				   pgoff_t end)
{
	pgoff_t spare = bitmap->spare;

	if (spare == NO_SPARE)
		return;

	bitmap->spare = NO_SPARE;
	if (!gmem_bitmap_is_within_leaf(start, spare) &&
	    !gmem_bitmap_is_within_leaf(end, spare))
		gmem_bitmap_coarsen(bitmap, &bitmap->root, bitmap->height, spare);
}

/* Set [start, end), which is part of @leaf.  Returns how many pages have changed. */
static pgoff_t gmem_bitmap_store_leaf(struct kvm_gmem_bitmap *bitmap, struct leaf *leaf,
				      pgoff_t start, pgoff_t end, bool value)
{
	unsigned int first = start % LEAF_PAGES;
	pgoff_t count = gmem_bitmap_set_bits(leaf, first, first + (end - start), value);

	gmem_bitmap_spare(bitmap, leaf, start);
	return count;
}

/*
 * Set the part of [start, end) that is below @entry, which begins at @base.  Returns
 * how many pages have changed.  A leaf that becomes spare makes another one go away,
 * but none of the nodes on the way here, as they have this leaf.
 */
static pgoff_t gmem_bitmap_store(struct kvm_gmem_bitmap *bitmap, void __rcu **entry,
				 unsigned int level, pgoff_t base, pgoff_t start,
				 pgoff_t end, bool value)
{
	void *old = entry_protected(entry);
	pgoff_t first, last, below, child, nr_whole, count = 0;
	struct node *node = old;
	unsigned int i;

	if (old == uniform(value))
		return 0;

	if (start <= base && end >= base + span(level)) {
		count = gmem_bitmap_count(old, level, !value);
		gmem_bitmap_replace_entry(bitmap, entry, level, value);
		return count;
	}

	/* Only a missing reserve() can lead here. */
	if (WARN_ON_ONCE(is_uniform(old)))
		return 0;

	first = max(start, base);
	last = min(end, base + span(level)) - 1;

	if (!level)
		return gmem_bitmap_store_leaf(bitmap, old, first, last + 1, value);

	below = span(level - 1);
	/* Children that begin at so many pages from @start on are stored as a whole. */
	nr_whole = end - start < below ? 0 : end - start - below + 1;
	i = entry_of(first, level);
	for (child = base + i * below; child <= last; child += below, i++) {
		void *old_below = entry_protected(&node->entries[i]);

		/* Most entries are uniform, and stay so. */
		if (old_below == uniform(value))
			continue;

		if (old_below == uniform(!value) && child - start < nr_whole) {
			rcu_assign_pointer(node->entries[i], uniform(value));
			count += below;
		} else {
			count += gmem_bitmap_store(bitmap, &node->entries[i], level - 1, child,
						   start, end, value);
		}
	}
	gmem_bitmap_collapse(bitmap, entry, level);

	return count;
}

/*
 * Pages beyond the end of the file have no meaning: a range that reaches the
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
	bitmap->spare = NO_SPARE;
	bitmap->nr_true = value ? nr_pages : 0;
	bitmap->nr_bytes = 0;
	bitmap->end_value = value;
	RCU_INIT_POINTER(bitmap->root, uniform(value));
}

void kvm_gmem_bitmap_destroy(struct kvm_gmem_bitmap *bitmap)
{
	gmem_bitmap_replace_entry(bitmap, &bitmap->root, bitmap->height, false);
}

bool kvm_gmem_bitmap_test(const struct kvm_gmem_bitmap *bitmap, pgoff_t index)
{
	const void *root = rcu_access_pointer(bitmap->root);
	const struct node *parent;
	const struct leaf *leaf;
	unsigned int level;

	/* Most files have one value, and no spare leaf that could go away. */
	if (is_uniform(root))
		return root == uniform(true);

	guard(rcu)();

	leaf = gmem_bitmap_lookup(bitmap, index, &level, &parent);
	if (is_uniform(leaf))
		return leaf == uniform(true);

	return test_bit(index % LEAF_PAGES, leaf->bits);
}

/* The bits of @nr pages from @start on, at most a word: bit 0 is page @start. */
unsigned long kvm_gmem_bitmap_read(const struct kvm_gmem_bitmap *bitmap,
				   pgoff_t start, unsigned int nr)
{
	unsigned long bits = 0, word;
	const struct node *parent;
	unsigned int level, n, i;
	const struct leaf *leaf;

	guard(rcu)();

	for (i = 0; i < nr; i += n) {
		unsigned int bit = (start + i) % BITS_PER_LONG;

		n = min(nr - i, BITS_PER_LONG - bit);
		leaf = gmem_bitmap_lookup(bitmap, start + i, &level, &parent);
		if (is_uniform(leaf))
			word = leaf == uniform(true) ? ~0UL : 0;
		else
			word = READ_ONCE(leaf->bits[BIT_WORD((start + i) % LEAF_PAGES)]) >> bit;
		bits |= (word & GENMASK(n - 1, 0)) << i;
	}

	return bits;
}

/*
 * How many pages from @start on, where an entry of @node begins, are below entries
 * that equal @entry, about as far as @end.
 */
static pgoff_t gmem_bitmap_run(const struct node *node, const void *entry,
			       pgoff_t start, pgoff_t end, unsigned int level)
{
	unsigned int first = entry_of(start, level + 1), i = first;
	pgoff_t last = min(first + ((end - 1 - start) >> shift(level)), NODE_ENTRIES - 1);

	/* @start begins the next node. */
	if (!first)
		return 0;

	while (i <= last && rcu_dereference(node->entries[i]) == entry)
		i++;

	return (pgoff_t)(i - first) << shift(level);
}

/* The first page of [start, end) that has @value, or @end. */
pgoff_t kvm_gmem_bitmap_find(const struct kvm_gmem_bitmap *bitmap,
			     pgoff_t start, pgoff_t end, bool value)
{
	while (start < end) {
		unsigned int level, first, last;
		const struct node *parent;
		const struct leaf *leaf;
		pgoff_t next;
		bool found;

		rcu_read_lock();
		leaf = gmem_bitmap_lookup(bitmap, start, &level, &parent);
		next = min(end, ALIGN_DOWN(start, span(level)) + span(level));
		if (leaf == uniform(value)) {
			found = true;
			next = start;
		} else if (is_uniform(leaf)) {
			found = false;
			/* Neighbours of the same value need no lookup of their own. */
			if (parent && next < end)
				next += gmem_bitmap_run(parent, leaf, next, end, level);
			next = min(end, next);
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

	end = round_end(bitmap, end);
	gmem_bitmap_take_spare(bitmap, start, end);

	r = gmem_bitmap_refine(bitmap, start, value, err_index);
	/* If @start is inside a leaf, that leaf is refined for @end, too. */
	if (!r && (IS_ALIGNED(start, LEAF_PAGES) || !gmem_bitmap_is_one_leaf(start, end)))
		r = gmem_bitmap_refine(bitmap, end, value, err_index);
	if (r) {
		*err_index = max(*err_index, start);
		kvm_gmem_bitmap_release(bitmap, start, end);
	}

	return r;
}

/*
 * Returns how many pages of the range did not have @value.  For a tree in which
 * commit_masked() has stored the number is meaningless, as that skips what is beyond
 * the end.
 */
pgoff_t kvm_gmem_bitmap_commit(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			       pgoff_t end, bool value)
{
	pgoff_t last = round_end(bitmap, end);
	struct leaf *leaf = NULL;
	pgoff_t count;

	if (last - start < LEAF_PAGES && gmem_bitmap_is_one_leaf(start, last))
		leaf = gmem_bitmap_leaf(bitmap, start);

	if (!start && end >= bitmap->nr_pages) {
		count = value ? bitmap->nr_pages - bitmap->nr_true : bitmap->nr_true;
		gmem_bitmap_replace_entry(bitmap, &bitmap->root, bitmap->height, value);
	} else {
		/* A part of a leaf leaves the nodes above as they are. */
		if (leaf)
			count = gmem_bitmap_store_leaf(bitmap, leaf, start, last, value);
		else
			count = gmem_bitmap_store(bitmap, &bitmap->root, bitmap->height, 0,
						  start, last, value);
		/* The value beyond the end has changed with that of the last page. */
		if (end >= bitmap->nr_pages && bitmap->end_value != value)
			count -= span(bitmap->height) - bitmap->nr_pages;
	}

	if (end >= bitmap->nr_pages)
		bitmap->end_value = value;
	WRITE_ONCE(bitmap->nr_true, value ? bitmap->nr_true + count : bitmap->nr_true - count);

	return count;
}

void kvm_gmem_bitmap_release(struct kvm_gmem_bitmap *bitmap, pgoff_t start,
			     pgoff_t end)
{
	gmem_bitmap_coarsen(bitmap, &bitmap->root, bitmap->height, start);
	if (end < bitmap->nr_pages)
		gmem_bitmap_coarsen(bitmap, &bitmap->root, bitmap->height, end);
}

/*
 * The next piece of [start, end) that has @wanted in @mask: a stretch that has it
 * everywhere, or the part of a leaf that has it in places; that leaf is returned.
 * The choice depends on values alone, so a release sees the same pieces as the
 * reservation.
 */
static const struct leaf *gmem_bitmap_next_piece(const struct kvm_gmem_bitmap *mask,
						 bool wanted, pgoff_t *start, pgoff_t end,
						 pgoff_t *next)
{
	const struct leaf *leaf;

	*start = kvm_gmem_bitmap_find(mask, *start, end, wanted);
	*next = kvm_gmem_bitmap_find(mask, *start, end, !wanted);
	if (*next == end)
		return NULL;

	leaf = gmem_bitmap_leaf(mask, *start);
	if (leaf && !gmem_bitmap_leaf_is_uniform(leaf)) {
		*next = min(end, ALIGN_DOWN(*start, LEAF_PAGES) + LEAF_PAGES);
		return leaf;
	}

	/* Mixed values are left to the next piece. */
	*next = ALIGN_DOWN(*next, LEAF_PAGES);
	return NULL;
}

int kvm_gmem_bitmap_reserve_masked(struct kvm_gmem_bitmap *bitmap,
				   const struct kvm_gmem_bitmap *mask, bool wanted,
				   pgoff_t start, pgoff_t end, bool value,
				   pgoff_t *err_index)
{
	pgoff_t first = start, next;
	const struct leaf *leaf;
	int r = 0;

	/* Most ranges are one stretch. */
	leaf = gmem_bitmap_next_piece(mask, wanted, &first, end, &next);
	if (first == end)
		return 0;
	if (!leaf && next == end)
		return kvm_gmem_bitmap_reserve(bitmap, first, end, value, err_index);

	gmem_bitmap_take_spare(bitmap, 0, 0);

	for (; first < end; first = next) {
		leaf = gmem_bitmap_next_piece(mask, wanted, &first, end, &next);
		if (first == end)
			break;

		if (fatal_signal_pending(current))
			r = -EINTR;
		else if (leaf)
			/* Not a leaf's boundary, so the tree is refined down to one. */
			r = gmem_bitmap_refine(bitmap, first | 1, value, err_index);
		else
			r = kvm_gmem_bitmap_reserve(bitmap, first, next, value, err_index);
		if (r) {
			*err_index = r == -EINTR ? first : max(*err_index, first);
			kvm_gmem_bitmap_release_masked(bitmap, mask, wanted, start, next);
			return r;
		}
		cond_resched();
	}

	return 0;
}

void kvm_gmem_bitmap_commit_masked(struct kvm_gmem_bitmap *bitmap,
				   const struct kvm_gmem_bitmap *mask, bool wanted,
				   pgoff_t start, pgoff_t end, bool value)
{
	pgoff_t next;

	for (; start < end; start = next) {
		const struct leaf *leaf;
		struct leaf *to;
		unsigned int i;

		leaf = gmem_bitmap_next_piece(mask, wanted, &start, end, &next);
		if (start == end)
			break;

		if (!leaf) {
			kvm_gmem_bitmap_commit(bitmap, start, next, value);
			continue;
		}

		to = gmem_bitmap_leaf(bitmap, start);
		/* All of its pages have @value, or reserve() had made a leaf. */
		if (!to)
			continue;

		for (i = start % LEAF_PAGES; i < start % LEAF_PAGES + (next - start);
		     i = (i / BITS_PER_LONG + 1) * BITS_PER_LONG) {
			unsigned int n = min(start % LEAF_PAGES + (next - start) - i,
					     BITS_PER_LONG - i % BITS_PER_LONG);
			unsigned long bits = leaf->bits[BIT_WORD(i)];
			unsigned long *word = &to->bits[BIT_WORD(i)];

			bits = wanted ? bits : ~bits;
			bits &= GENMASK(i % BITS_PER_LONG + n - 1, i % BITS_PER_LONG);
			WRITE_ONCE(*word, value ? *word | bits : *word & ~bits);
		}
		gmem_bitmap_coarsen(bitmap, &bitmap->root, bitmap->height, start);
		cond_resched();
	}
}

void kvm_gmem_bitmap_release_masked(struct kvm_gmem_bitmap *bitmap,
				    const struct kvm_gmem_bitmap *mask, bool wanted,
				    pgoff_t start, pgoff_t end)
{
	pgoff_t next;

	for (; start < end; start = next) {
		gmem_bitmap_next_piece(mask, wanted, &start, end, &next);
		if (start == end)
			break;

		kvm_gmem_bitmap_release(bitmap, start, next);
		cond_resched();
	}
}
