// SPDX-License-Identifier: GPL-2.0
/*
 * gmem_bitmap.c compared with a plain array that is slow and obvious, at every
 * boundary of its tree, and during lookups that take no lock.
 * kvm.gmem_kunit_seed replays a run whose seed is in the log.
 */
#include <kunit/test.h>
#include <linux/fs.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#include "gmem_bitmap.h"

#define MODEL_PAGES	150000
#define LARGEST_FILE	(MAX_LFS_FILESIZE >> PAGE_SHIFT)

static unsigned long long seed;
module_param_named(gmem_kunit_seed, seed, ullong, 0444);
MODULE_PARM_DESC(gmem_kunit_seed, "Seed of the KUnit suite kvm_gmem_bitmap, 0 for a new one");

static void init_random(struct kunit *test, struct rnd_state *state)
{
	u64 used = seed ?: get_random_u64();

	kunit_info(test, "replay with kvm.gmem_kunit_seed=%llu\n", used);
	prandom_seed_state(state, used);
}

/* Returns how many pages have changed. */
static pgoff_t store(struct kunit *test, struct kvm_gmem_bitmap *bitmap, pgoff_t start,
		     pgoff_t end, bool value)
{
	pgoff_t err_index;
	int r;

	r = kvm_gmem_bitmap_reserve(bitmap, start, end, value, &err_index);
	KUNIT_EXPECT_EQ(test, 0, r);

	return r ? 0 : kvm_gmem_bitmap_commit(bitmap, start, end, value);
}

/* Set [start, end) of the model as well, and expect the same number of changes. */
static void store_both(struct kunit *test, struct kvm_gmem_bitmap *bitmap, bool *model,
		       pgoff_t start, pgoff_t end, bool value)
{
	pgoff_t nr_changed = 0, index;

	for (index = start; index < end; index++)
		nr_changed += model[index] != value;
	memset(model + start, value, end - start);
	KUNIT_EXPECT_EQ(test, nr_changed, store(test, bitmap, start, end, value));
}

static void expect_one_value(struct kunit *test, struct kvm_gmem_bitmap *bitmap, bool value)
{
	KUNIT_EXPECT_PTR_EQ(test, (void *)(unsigned long)value,
			    (void *)rcu_access_pointer(bitmap->root));
}

/* Half of them are within two pages of the start of a leaf, or of a node of leaves. */
static pgoff_t random_index(struct rnd_state *state)
{
	static const u32 steps[] = { 64, 1024, 65536 };
	u32 step = steps[prandom_u32_state(state) % ARRAY_SIZE(steps)];
	s64 index = prandom_u32_state(state) % MODEL_PAGES;

	if (prandom_u32_state(state) % 2)
		index = round_down(index, step) + prandom_u32_state(state) % 5 - 2;

	return clamp_t(s64, index, 0, MODEL_PAGES - 1);
}

/* Every page by lookup, and every stretch by search, forwards. */
static void expect_model(struct kunit *test, struct kvm_gmem_bitmap *bitmap, const bool *model)
{
	pgoff_t first, next, index;

	for (index = 0; index < MODEL_PAGES; index++) {
		if (kvm_gmem_bitmap_test(bitmap, index) != model[index])
			KUNIT_FAIL_AND_ABORT(test, "page %lu should be %d", index, model[index]);
	}

	index = 0;
	kvm_gmem_bitmap_for_each_run(bitmap, first, next, 0, MODEL_PAGES, true) {
		if (memchr_inv(model + index, false, first - index) ||
		    memchr_inv(model + first, true, next - first))
			KUNIT_FAIL_AND_ABORT(test, "no stretch is [%lu, %lu)", first, next);
		index = next;
	}
	KUNIT_EXPECT_NULL(test, memchr_inv(model + index, false, MODEL_PAGES - index));
}

static void store_random_ranges(struct kunit *test)
{
	struct kvm_gmem_bitmap bitmap;
	struct rnd_state state;
	bool *model;
	int i;

	init_random(test, &state);
	model = kunit_kzalloc(test, MODEL_PAGES, GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, model);
	kvm_gmem_bitmap_init(&bitmap, MODEL_PAGES, false);

	for (i = 0; i < 2000; i++) {
		pgoff_t a = random_index(&state), b = random_index(&state);
		pgoff_t start = min(a, b), end = max(a, b) + 1, err_index;
		bool value = prandom_u32_state(&state) % 2;

		/* Short ones mix more. */
		if (prandom_u32_state(&state) % 2)
			end = min(end, start + prandom_u32_state(&state) % 64 + 1);

		/* What is reserved and given back changes nothing. */
		if (prandom_u32_state(&state) % 4 == 0) {
			KUNIT_EXPECT_EQ(test, 0, kvm_gmem_bitmap_reserve(&bitmap, start, end,
									 value, &err_index));
			kvm_gmem_bitmap_release(&bitmap, start, end);
		} else {
			store_both(test, &bitmap, model, start, end, value);
		}

		if (i % 100 == 0)
			expect_model(test, &bitmap, model);
		cond_resched();
	}

	expect_model(test, &bitmap, model);
	store_both(test, &bitmap, model, 0, MODEL_PAGES, false);
	expect_one_value(test, &bitmap, false);
	KUNIT_EXPECT_EQ(test, 0, bitmap.nr_bytes);
	kvm_gmem_bitmap_destroy(&bitmap);
}

static const struct file_size {
	const char *name;
	u64 nr_pages;
} file_sizes[] = {
	{ "one page", 1 },
	{ "one page less than a leaf", 1023 },
	{ "one leaf", 1024 },
	{ "one page more than a leaf", 1025 },
	{ "one node of leaves", 65536 },
	{ "one page more than that", 65537 },
	{ "16 TiB", SZ_16T >> PAGE_SHIFT },
	{ "the largest file", LARGEST_FILE },
};

KUNIT_ARRAY_PARAM_DESC(file_sizes, file_sizes, name);

static void expect_page(struct kunit *test, struct kvm_gmem_bitmap *bitmap, pgoff_t index,
			bool value)
{
	if (index < bitmap->nr_pages)
		KUNIT_EXPECT_EQ_MSG(test, value, kvm_gmem_bitmap_test(bitmap, index),
				    "page %lu of %lu", index, bitmap->nr_pages);
}

/* Set one page, all from it on, clear all up to it: nothing else changes, all is undone. */
static void store_around(struct kunit *test, struct kvm_gmem_bitmap *bitmap, pgoff_t index)
{
	pgoff_t nr_pages = bitmap->nr_pages;

	KUNIT_EXPECT_EQ(test, 1, store(test, bitmap, index, index + 1, true));
	expect_page(test, bitmap, index - 1, false);
	expect_page(test, bitmap, index, true);
	expect_page(test, bitmap, index + 1, false);
	KUNIT_EXPECT_EQ(test, index, kvm_gmem_bitmap_find(bitmap, 0, nr_pages, true));
	KUNIT_EXPECT_EQ(test, index + 1, kvm_gmem_bitmap_find(bitmap, index, nr_pages, false));

	KUNIT_EXPECT_EQ(test, nr_pages - index - 1, store(test, bitmap, index, nr_pages, true));
	expect_page(test, bitmap, index - 1, false);
	expect_page(test, bitmap, index, true);
	expect_page(test, bitmap, nr_pages - 1, true);
	KUNIT_EXPECT_EQ(test, nr_pages, kvm_gmem_bitmap_find(bitmap, index, nr_pages, false));

	KUNIT_EXPECT_EQ(test, 1, store(test, bitmap, 0, index + 1, false));
	expect_page(test, bitmap, 0, false);
	expect_page(test, bitmap, index, false);
	expect_page(test, bitmap, index + 1, true);
	KUNIT_EXPECT_EQ(test, index + 1, kvm_gmem_bitmap_find(bitmap, 0, nr_pages, true));

	KUNIT_EXPECT_EQ(test, nr_pages - index - 1, store(test, bitmap, index, nr_pages, false));
	KUNIT_EXPECT_EQ(test, nr_pages, kvm_gmem_bitmap_find(bitmap, 0, nr_pages, true));
	/* A leaf and its path may have stayed. */
	KUNIT_EXPECT_EQ(test, 0, store(test, bitmap, 0, nr_pages, false));
	expect_one_value(test, bitmap, false);
	KUNIT_EXPECT_EQ(test, 0, bitmap->nr_bytes);
}

static void store_at_every_boundary(struct kunit *test)
{
	const struct file_size *size = test->param_value;
	struct kvm_gmem_bitmap bitmap;
	unsigned int shift;
	int off;

	kvm_gmem_bitmap_init(&bitmap, size->nr_pages, false);

	for (shift = 0; shift < BITS_PER_LONG; shift++) {
		for (off = -2; off <= 2; off++) {
			/* Wraps around below 0, to an index that no file has. */
			pgoff_t index = BIT(shift) + off;

			if (index < size->nr_pages)
				store_around(test, &bitmap, index);
		}
		cond_resched();
	}

	store_around(test, &bitmap, 0);
	store_around(test, &bitmap, size->nr_pages - 1);
	KUNIT_EXPECT_EQ(test, size->nr_pages,
			kvm_gmem_bitmap_find(&bitmap, 0, size->nr_pages, true));
	kvm_gmem_bitmap_destroy(&bitmap);
}

/*
 * Lookups take no lock.  Whatever is stored between them, a page that nobody
 * stores to has its value.
 */
#define CONSTANT_PAGE	(3 * 65536 + 1023)

static int look_up(void *data)
{
	struct kvm_gmem_bitmap *bitmap = data;
	unsigned long nr_wrong = 0;

	while (!kthread_should_stop()) {
		nr_wrong += !kvm_gmem_bitmap_test(bitmap, CONSTANT_PAGE);
		nr_wrong += kvm_gmem_bitmap_find(bitmap, CONSTANT_PAGE, CONSTANT_PAGE + 1,
						 true) != CONSTANT_PAGE;
		kvm_gmem_bitmap_test(bitmap, CONSTANT_PAGE + 1);
		cond_resched();
	}

	return min(nr_wrong, INT_MAX);
}

static void lookup_beside_stores(struct kunit *test)
{
	struct kvm_gmem_bitmap bitmap;
	struct task_struct *reader;
	int i;

	kvm_gmem_bitmap_init(&bitmap, 4 * 65536, true);
	reader = kthread_run(look_up, &bitmap, "gmem_kunit");
	KUNIT_ASSERT_NOT_ERR_OR_NULL(test, reader);

	/* The tree grows to its full height around the page, and is freed again. */
	for (i = 0; i < 2000; i++) {
		bool value = i % 2;

		store(test, &bitmap, CONSTANT_PAGE + 1, CONSTANT_PAGE + 2, value);
		store(test, &bitmap, CONSTANT_PAGE - 1, CONSTANT_PAGE, value);
		store(test, &bitmap, 0, CONSTANT_PAGE, value);
		store(test, &bitmap, CONSTANT_PAGE + 1, 4 * 65536, value);
	}

	KUNIT_EXPECT_EQ(test, 0, kthread_stop(reader));
	store(test, &bitmap, 0, 4 * 65536, true);
	expect_one_value(test, &bitmap, true);
	kvm_gmem_bitmap_destroy(&bitmap);
}

static struct kunit_case cases[] = {
	KUNIT_CASE(store_random_ranges),
	KUNIT_CASE_PARAM(store_at_every_boundary, file_sizes_gen_params),
	KUNIT_CASE(lookup_beside_stores),
	{}
};

static struct kunit_suite suite = {
	.name = "kvm_gmem_bitmap",
	.test_cases = cases,
};

kunit_test_suite(suite);
