// SPDX-License-Identifier: GPL-2.0
/*
 * The tracking of page states compared with a plain array that is slow and
 * obvious: random ranges, every boundary, every allocation failing once, and
 * its cost.  SEED= replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>

#include "../kernel/files/virt/kvm/gmem_bitmap.c"

long shim_allocated;
long shim_fail_at;
long shim_killed_at;

#define MODEL_PAGES	200000ul

static bool model[MODEL_PAGES];

static void store_both(struct kvm_gmem_bitmap *bitmap, pgoff_t start, pgoff_t end, bool value)
{
	pgoff_t err_index = -1, nr_changed = 0, nr_true = bitmap->nr_true, i;

	assert_int_equal(kvm_gmem_bitmap_reserve(bitmap, start, end, value, &err_index), 0);
	for (i = start; i < end && i < bitmap->nr_pages; i++) {
		nr_changed += model[i] != value;
		model[i] = value;
	}
	assert_int_equal(kvm_gmem_bitmap_commit(bitmap, start, end, value), nr_changed);
	assert_int_equal(bitmap->nr_true, value ? nr_true + nr_changed : nr_true - nr_changed);
	assert_int_equal(bitmap->nr_bytes, shim_allocated);
}

static void store_one(struct kvm_gmem_bitmap *bitmap, pgoff_t index, bool value)
{
	pgoff_t err_index;

	assert_int_equal(kvm_gmem_bitmap_reserve(bitmap, index, index + 1, value, &err_index), 0);
	kvm_gmem_bitmap_commit(bitmap, index, index + 1, value);
}

static void expect_model(struct kvm_gmem_bitmap *bitmap)
{
	pgoff_t first, next, i = 0;

	for (i = 0; i < bitmap->nr_pages; i++) {
		if (kvm_gmem_bitmap_test(bitmap, i) != model[i])
			fail_msg("page %lu is %d, should be %d", i, !model[i], model[i]);
	}

	i = 0;
	kvm_gmem_bitmap_for_each_run(bitmap, first, next, 0, bitmap->nr_pages, true) {
		for (; i < first; i++)
			assert_false(model[i]);
		for (; i < next; i++)
			assert_true(model[i]);
	}
	for (; i < bitmap->nr_pages; i++)
		assert_false(model[i]);
}

static pgoff_t near_boundary(pgoff_t nr_pages)
{
	static const unsigned int shifts[] = { 0, 6, 10, 16 };
	pgoff_t at = (pgoff_t)rand() << shifts[rand() % 4];

	return (at + rand() % 3 - 1) % nr_pages;
}

static void seed_random(void)
{
	const char *seed = getenv("SEED");
	unsigned int s = seed ? strtoul(seed, NULL, 0) : (unsigned long)time(NULL);

	print_message("# SEED=%u\n", s);
	srand(s);
}

/* What a file of one state may keep: a leaf, and the nodes above it. */
static long one_path(const struct kvm_gmem_bitmap *bitmap)
{
	return sizeof(struct leaf) + bitmap->height * sizeof(struct node);
}

static void store_in_pieces(struct kvm_gmem_bitmap *bitmap, bool value)
{
	pgoff_t start, end;

	for (start = 0; start < bitmap->nr_pages; start = end) {
		end = start + 1 + near_boundary(bitmap->nr_pages - start);
		store_both(bitmap, start, end, value);
	}
}

static void random_ranges(pgoff_t nr_pages, bool value, int rounds)
{
	struct kvm_gmem_bitmap bitmap;
	pgoff_t a, b, end;
	int i;

	kvm_gmem_bitmap_init(&bitmap, nr_pages, value);
	memset(model, value, sizeof(model));
	for (i = 0; i < rounds; i++) {
		a = near_boundary(nr_pages);
		b = near_boundary(nr_pages);
		if (rand() % 4 == 0)
			b = a;
		end = max(a, b) + 1;
		if (end == nr_pages)
			end += rand() % 3;
		store_both(&bitmap, min(a, b), end, rand() % 2);
		if (i % 50 == 0)
			expect_model(&bitmap);
	}
	expect_model(&bitmap);
	store_in_pieces(&bitmap, !value);
	expect_model(&bitmap);
	assert_true(shim_allocated <= one_path(&bitmap));
	store_both(&bitmap, 0, nr_pages, value);
	expect_model(&bitmap);
	assert_int_equal(shim_allocated, 0);
	kvm_gmem_bitmap_destroy(&bitmap);
}

static void random_ranges_match_a_plain_array(void **state)
{
	(void)state;
	seed_random();
	random_ranges(MODEL_PAGES, false, 3000);
	random_ranges(MODEL_PAGES, true, 1000);
}

/* Few leaves, so that the one that stays is often one that is needed next. */
static void random_ranges_over_few_leaves_match_a_plain_array(void **state)
{
	pgoff_t leaves;

	(void)state;
	seed_random();
	for (leaves = 1; leaves <= 5; leaves++)
		random_ranges(leaves * LEAF_PAGES, leaves % 2, 5000);
}

/* Beside the last page there are bits, or entries, of pages that do not exist. */
static void random_ranges_in_files_of_odd_sizes_match_a_plain_array(void **state)
{
	static const pgoff_t sizes[] = { 1, 63, 65, 1000, 1023, 1025, 65535, 65537 };
	unsigned int i;

	(void)state;
	seed_random();
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		random_ranges(sizes[i], false, 1000);
		random_ranges(sizes[i], true, 1000);
	}
}

/* The leaf that stays is reserved, and another takes its place within the store. */
static void what_is_reserved_stays_until_it_is_committed(void **state)
{
	struct kvm_gmem_bitmap bitmap;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, 4 * LEAF_PAGES, false);
	memset(model, 0, sizeof(model));
	store_both(&bitmap, 1024, 1034, true);
	store_both(&bitmap, 1024, 1034, false);
	store_both(&bitmap, 0, 512, true);
	store_both(&bitmap, 512, 1034, true);
	expect_model(&bitmap);
	kvm_gmem_bitmap_destroy(&bitmap);
}

/* The leaf that stays is reserved, and so is a stretch that has no use for it. */
static void what_is_reserved_with_a_mask_stays_until_it_is_committed(void **state)
{
	const pgoff_t nr_pages = 4 * LEAF_PAGES;
	struct kvm_gmem_bitmap bitmap, mask;
	pgoff_t err_index;
	int r;

	(void)state;
	kvm_gmem_bitmap_init(&mask, nr_pages, false);
	memset(model, 0, sizeof(model));
	store_both(&mask, 512, 3 * LEAF_PAGES, true);
	kvm_gmem_bitmap_init(&bitmap, nr_pages, false);
	store_one(&bitmap, 5, true);
	store_one(&bitmap, 5, false);

	r = kvm_gmem_bitmap_reserve_masked(&bitmap, &mask, true, 0, nr_pages, true, &err_index);
	assert_int_equal(r, 0);
	kvm_gmem_bitmap_commit_masked(&bitmap, &mask, true, 0, nr_pages, true);
	expect_model(&bitmap);
	kvm_gmem_bitmap_destroy(&bitmap);
	kvm_gmem_bitmap_destroy(&mask);
}

/* One call makes two leaves uniform, of which one may stay. */
static void a_second_leaf_that_becomes_uniform_takes_the_place_of_the_first(void **state)
{
	struct kvm_gmem_bitmap bitmap;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, MODEL_PAGES, true);
	memset(model, 1, sizeof(model));
	store_both(&bitmap, 65530, 65550, false);
	store_both(&bitmap, 65530, 65550, true);
	expect_model(&bitmap);
	assert_true(shim_allocated <= one_path(&bitmap));
	kvm_gmem_bitmap_destroy(&bitmap);
}

static void stores_of_whole_leaves_leave_nothing_when_all_are_one_state(void **state)
{
	struct kvm_gmem_bitmap bitmap;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, MODEL_PAGES, false);
	memset(model, 0, sizeof(model));
	store_both(&bitmap, LEAF_PAGES, 2 * LEAF_PAGES, true);
	store_both(&bitmap, 0, LEAF_PAGES, true);
	store_both(&bitmap, 2 * LEAF_PAGES, MODEL_PAGES, true);
	expect_model(&bitmap);
	assert_int_equal(shim_allocated, 0);
	kvm_gmem_bitmap_destroy(&bitmap);
}

/* A range that begins in the leaf that stays, or ends there, or both. */
static void the_leaf_that_stays_is_reserved_without_memory(void **state)
{
	static const pgoff_t ranges[][2] = { { 1034, 1044 }, { 1034, 2048 }, { 1024, 1034 } };
	struct kvm_gmem_bitmap bitmap;
	pgoff_t err_index;
	unsigned int i;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, MODEL_PAGES, false);
	for (i = 0; i < ARRAY_SIZE(ranges); i++) {
		store_one(&bitmap, 1030, true);
		store_one(&bitmap, 1030, false);
		shim_fail_at = 1;
		assert_int_equal(kvm_gmem_bitmap_reserve(&bitmap, ranges[i][0], ranges[i][1], true,
							 &err_index), 0);
		shim_fail_at = 0;
		kvm_gmem_bitmap_release(&bitmap, ranges[i][0], ranges[i][1]);
		assert_int_equal(shim_allocated, 0);
	}
	kvm_gmem_bitmap_destroy(&bitmap);
}

static void one_state_costs_nothing_at_any_size(void **state)
{
	static const pgoff_t sizes[] = { 1, 2, 1023, 1024, 1025, 65536, 65537, 1ul << 32, 1ul << 51 };
	struct kvm_gmem_bitmap bitmap;
	pgoff_t err_index, middle;
	unsigned int i;

	(void)state;
	for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		kvm_gmem_bitmap_init(&bitmap, sizes[i], false);
		assert_int_equal(kvm_gmem_bitmap_reserve(&bitmap, 0, sizes[i], true, &err_index), 0);
		assert_int_equal(shim_allocated, 0);
		assert_int_equal(kvm_gmem_bitmap_commit(&bitmap, 0, sizes[i], true), sizes[i]);
		assert_true(kvm_gmem_bitmap_test(&bitmap, sizes[i] - 1));
		assert_int_equal(kvm_gmem_bitmap_find(&bitmap, 0, sizes[i], false), sizes[i]);

		/* A hole in the middle costs one leaf and its path, also when closed. */
		middle = sizes[i] / 2;
		assert_int_equal(kvm_gmem_bitmap_reserve(&bitmap, middle, middle + 1, false, &err_index), 0);
		assert_int_equal(kvm_gmem_bitmap_commit(&bitmap, middle, middle + 1, false), 1);
		assert_int_equal(kvm_gmem_bitmap_find(&bitmap, 0, sizes[i], false), middle);
		assert_int_equal(kvm_gmem_bitmap_reserve(&bitmap, middle, middle + 1, true, &err_index), 0);
		assert_int_equal(kvm_gmem_bitmap_commit(&bitmap, middle, middle + 1, true), 1);
		assert_true(shim_allocated <= one_path(&bitmap));
		assert_int_equal(kvm_gmem_bitmap_find(&bitmap, 0, sizes[i], false), sizes[i]);

		/* Another one elsewhere takes its place, and the whole file frees both. */
		store_one(&bitmap, 0, false);
		store_one(&bitmap, 0, true);
		assert_true(shim_allocated <= one_path(&bitmap));
		store_one(&bitmap, sizes[i] - 1, false);
		store_one(&bitmap, sizes[i] - 1, true);
		assert_true(shim_allocated <= one_path(&bitmap));
		assert_int_equal(kvm_gmem_bitmap_reserve(&bitmap, 0, sizes[i], false, &err_index), 0);
		kvm_gmem_bitmap_commit(&bitmap, 0, sizes[i], false);
		assert_int_equal(shim_allocated, 0);
		kvm_gmem_bitmap_destroy(&bitmap);
	}
}

/* Each page of [start, end) that has @wanted in @mask gets @value; by hand. */
static void masked_stores(pgoff_t nr_pages, int rounds)
{
	static bool mask_model[MODEL_PAGES];
	struct kvm_gmem_bitmap bitmap, mask;
	pgoff_t a, b, start, end, err_index, i;
	int round, j, r, nr_killed = 0;

	kvm_gmem_bitmap_init(&bitmap, nr_pages, false);
	kvm_gmem_bitmap_init(&mask, nr_pages, false);
	memset(model, 0, sizeof(model));
	memset(mask_model, 0, sizeof(mask_model));
	for (round = 0; round < rounds; round++) {
		bool wanted = rand() % 2, value = rand() % 2, kill = rand() % 2;
		long before;

		for (j = 0; j < 5; j++) {
			a = near_boundary(nr_pages);
			b = rand() % 2 ? a : near_boundary(nr_pages);
			start = min(a, b);
			end = max(a, b) + 1;
			r = kvm_gmem_bitmap_reserve(&mask, start, end, j % 2, &err_index);
			assert_int_equal(r, 0);
			kvm_gmem_bitmap_commit(&mask, start, end, j % 2);
			memset(mask_model + start, j % 2, end - start);
		}
		a = near_boundary(nr_pages);
		b = near_boundary(nr_pages);
		start = min(a, b);
		end = max(a, b) + 1;

		/* A reservation that fails or is released changes nothing and keeps nothing. */
		kvm_gmem_bitmap_release_masked(&bitmap, &mask, wanted, start, end);
		before = shim_allocated;
		err_index = -1;
		shim_fail_at = kill ? 0 : 1 + rand() % 8;
		shim_killed_at = kill ? 1 + rand() % 4 : 0;
		r = kvm_gmem_bitmap_reserve_masked(&bitmap, &mask, wanted, start, end, value,
						   &err_index);
		nr_killed += kill && r;
		shim_fail_at = 0;
		shim_killed_at = 0;
		if (r) {
			assert_int_equal(r, kill ? -EINTR : -ENOMEM);
			assert_true(err_index >= start && err_index < end);
		} else {
			kvm_gmem_bitmap_release_masked(&bitmap, &mask, wanted, start, end);
		}
		assert_true(shim_allocated <= before);

		r = kvm_gmem_bitmap_reserve_masked(&bitmap, &mask, wanted, start, end, value,
						   &err_index);
		assert_int_equal(r, 0);
		kvm_gmem_bitmap_commit_masked(&bitmap, &mask, wanted, start, end, value);
		for (i = start; i < end; i++) {
			if (mask_model[i] == wanted)
				model[i] = value;
		}
		if (round % 10 == 0)
			expect_model(&bitmap);
	}
	expect_model(&bitmap);
	/* One leaf is one piece, before which nobody asks. */
	assert_true(nr_killed || nr_pages <= LEAF_PAGES);
	kvm_gmem_bitmap_destroy(&bitmap);
	kvm_gmem_bitmap_destroy(&mask);
	assert_int_equal(shim_allocated, 0);
}

static void masked_stores_match_a_plain_array(void **state)
{
	pgoff_t leaves;

	(void)state;
	seed_random();
	masked_stores(MODEL_PAGES, 300);
	for (leaves = 1; leaves <= 5; leaves++)
		masked_stores(leaves * LEAF_PAGES, 1000);
}

static void words_match_a_plain_array(void **state)
{
	struct kvm_gmem_bitmap bitmap;
	unsigned int i, nr, bit;
	unsigned long word;
	pgoff_t a, b, start;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, MODEL_PAGES, false);
	memset(model, 0, sizeof(model));
	for (i = 0; i < 500; i++) {
		a = near_boundary(MODEL_PAGES);
		b = near_boundary(MODEL_PAGES);
		store_both(&bitmap, min(a, b), max(a, b) + 1, i % 2);
		nr = 1 + rand() % BITS_PER_LONG;
		a = near_boundary(MODEL_PAGES);
		start = min(a, MODEL_PAGES - nr);
		word = kvm_gmem_bitmap_read(&bitmap, start, nr);
		for (bit = 0; bit < nr; bit++)
			assert_int_equal(word >> bit & 1, model[start + bit]);
		assert_true(nr == BITS_PER_LONG || !(word >> nr));
	}
	kvm_gmem_bitmap_destroy(&bitmap);
}

static void every_other_page_costs_less_than_a_quarter_byte(void **state)
{
	const pgoff_t nr_pages = 1ul << 20;
	struct kvm_gmem_bitmap bitmap;
	pgoff_t i, err_index;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, nr_pages, false);
	for (i = 0; i < nr_pages; i += 2) {
		assert_int_equal(kvm_gmem_bitmap_reserve(&bitmap, i, i + 1, true, &err_index), 0);
		kvm_gmem_bitmap_commit(&bitmap, i, i + 1, true);
	}
	print_message("# %.4f bytes per page\n", (double)shim_allocated / nr_pages);
	assert_true(shim_allocated <= (long)nr_pages / 4);
	kvm_gmem_bitmap_destroy(&bitmap);
	assert_int_equal(shim_allocated, 0);
}

static void failed_reserve_changes_nothing_and_says_where(void **state)
{
	const pgoff_t start = 1000, end = 150001;
	struct kvm_gmem_bitmap bitmap;
	pgoff_t err_index;
	long before, n;
	int r = -ENOMEM;

	(void)state;
	kvm_gmem_bitmap_init(&bitmap, MODEL_PAGES, false);
	memset(model, 0, sizeof(model));
	store_both(&bitmap, 70000, 70003, true);
	before = shim_allocated;

	for (n = 1; r; n++) {
		err_index = -1;
		shim_fail_at = n;
		r = kvm_gmem_bitmap_reserve(&bitmap, start, end, true, &err_index);
		shim_fail_at = 0;
		if (!r)
			break;
		assert_int_equal(r, -ENOMEM);
		assert_true(err_index >= start && err_index < end);
		assert_int_equal(shim_allocated, before);
		expect_model(&bitmap);
	}
	assert_true(n > 3);

	/* Reserved and not used: nothing changes, nothing stays. */
	expect_model(&bitmap);
	kvm_gmem_bitmap_release(&bitmap, start, end);
	assert_int_equal(shim_allocated, before);
	expect_model(&bitmap);
	kvm_gmem_bitmap_destroy(&bitmap);
	assert_int_equal(shim_allocated, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(random_ranges_match_a_plain_array),
		cmocka_unit_test(random_ranges_over_few_leaves_match_a_plain_array),
		cmocka_unit_test(random_ranges_in_files_of_odd_sizes_match_a_plain_array),
		cmocka_unit_test(what_is_reserved_stays_until_it_is_committed),
		cmocka_unit_test(what_is_reserved_with_a_mask_stays_until_it_is_committed),
		cmocka_unit_test(a_second_leaf_that_becomes_uniform_takes_the_place_of_the_first),
		cmocka_unit_test(stores_of_whole_leaves_leave_nothing_when_all_are_one_state),
		cmocka_unit_test(the_leaf_that_stays_is_reserved_without_memory),
		cmocka_unit_test(one_state_costs_nothing_at_any_size),
		cmocka_unit_test(masked_stores_match_a_plain_array),
		cmocka_unit_test(words_match_a_plain_array),
		cmocka_unit_test(every_other_page_costs_less_than_a_quarter_byte),
		cmocka_unit_test(failed_reserve_changes_nothing_and_says_where),
	};

	return cmocka_run_group_tests_name("gmem_bitmap", tests, NULL, NULL);
}
