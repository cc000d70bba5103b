// SPDX-License-Identifier: GPL-2.0
/*
 * How far a state reaches, compared with a plain array, if conversions store during the
 * first attempts, or during all of them.  SEED= replays a run.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <time.h>
#include <cmocka.h>

#include "show_shim.h"
#include "../kernel/files/virt/kvm/gmem_bitmap.c"
#include "../kernel/files/virt/kvm/gmem_show.c"

long shim_allocated;
long shim_fail_at;
long shim_killed_at;
struct pid_namespace init_pid_ns;

#define MODEL_PAGES	70001ul
/* The most whose bytes loff_t can count. */
#define LARGEST		((1ul << 51) - 1)
#define ALWAYS		INT_MAX
/* Attempts on the largest file, each over an eighth of the previous one, down to a word. */
#define MOST_PAUSES	15

static bool model[MODEL_PAGES];
static struct kvm_gmem_state file;

/* What conversions do during one call. */
static struct {
	/* How many attempts begin while one stores, and how many end after one has stored. */
	int nr_odd;
	int nr_spoilt;
	/* It changes the requested page. */
	pgoff_t index;
	int nr_looks;
	int nr_pauses;
} beside;

struct kvm_gmem_state *kvm_gmem_state(struct inode *inode)
{
	(void)inode;
	return &file;
}

static void file_init(pgoff_t nr_pages, bool private)
{
	file = (struct kvm_gmem_state){};
	kvm_gmem_bitmap_init(&file.private, nr_pages, private);
	memset(model, private, sizeof(model));
}

static void store(pgoff_t start, pgoff_t end, bool private)
{
	pgoff_t err_index;

	assert_int_equal(kvm_gmem_bitmap_reserve(&file.private, start, end, private, &err_index),
			 0);
	kvm_gmem_bitmap_commit(&file.private, start, end, private);
	if (end <= MODEL_PAGES)
		memset(model + start, private, end - start);
}

void shim_look_begins(void)
{
	file.private_seq.sequence = 4 * beside.nr_looks + (beside.nr_looks < beside.nr_odd);
	beside.nr_looks++;
}

void shim_look_ends(void)
{
	bool private = kvm_gmem_bitmap_test(&file.private, beside.index);

	if (beside.nr_looks > beside.nr_spoilt)
		return;

	store(beside.index, beside.index + 1, !private);
	file.private_seq.sequence += 2;
}

void shim_pause(void)
{
	beside.nr_pauses++;
}

static pgoff_t ask(pgoff_t index, int nr_odd, int nr_spoilt, bool *private)
{
	pgoff_t end;

	beside.nr_odd = nr_odd;
	beside.nr_spoilt = nr_spoilt;
	beside.index = index;
	beside.nr_looks = 0;
	beside.nr_pauses = 0;
	end = gmem_show_end(&file, index, file.private.nr_pages, private);
	assert_true(beside.nr_pauses <= MOST_PAUSES);
	assert_int_equal(beside.nr_looks, beside.nr_pauses + 1);

	return end;
}

/* The model is now as it was during the attempt whose result was returned. */
static pgoff_t model_end(pgoff_t index)
{
	pgoff_t end = index;

	while (end < file.private.nr_pages && model[end] == model[index])
		end++;
	return end;
}

static pgoff_t word_end(pgoff_t index)
{
	return (index / BITS_PER_LONG + 1) * BITS_PER_LONG;
}

static void expect_answer(pgoff_t index, int nr_odd, int nr_spoilt)
{
	bool private, begins_quiet = !nr_odd && !nr_spoilt;
	pgoff_t end = ask(index, nr_odd, nr_spoilt, &private), true_end = model_end(index);

	if (private != model[index] || end <= index || end > true_end ||
	    (begins_quiet && end != true_end))
		fail_msg("page %lu of %lu is said to be %d up to %lu, is %d up to %lu: %d looks, "
			 "%d odd, %d spoilt", index, file.private.nr_pages, private, end,
			 model[index], true_end, beside.nr_looks, nr_odd, nr_spoilt);
	if (begins_quiet)
		assert_int_equal(beside.nr_looks, 1);
	/* If conversions store continuously, the call does not wait, and returns one word. */
	if (nr_odd == ALWAYS || nr_spoilt == ALWAYS)
		assert_int_equal(end, min(true_end, word_end(index)));
}

static void seed_random(void)
{
	const char *seed = getenv("SEED");
	unsigned int s = seed ? strtoul(seed, NULL, 0) : (unsigned long)time(NULL);

	print_message("# SEED=%u\n", s);
	srand(s);
}

/* Small and large stretches, and every size around a word, a leaf and a node. */
static void ask_everywhere(int max_odd, int max_spoilt)
{
	static const pgoff_t sizes[] = { 1, 2, 63, 64, 65, 130, 1023, 1024, 1025, 5000,
					 65536, MODEL_PAGES };
	unsigned int i, round, question;

	seed_random();
	for (i = 0; i < ARRAY_SIZE(sizes); i++) {
		for (round = 0; round < 40; round++) {
			pgoff_t nr = sizes[i], a = rand() % nr, b = a + 1 + rand() % (nr - a);

			if (round % 20 == 0)
				file_init(nr, round / 20);
			store(a, round % 2 ? b : min(b, a + 70), rand() % 2);
			for (question = 0; question < 200; question++) {
				int nr_odd = max_odd == ALWAYS ? ALWAYS : rand() % (max_odd + 1);
				int nr_spoilt = max_spoilt == ALWAYS ? ALWAYS :
								      rand() % (max_spoilt + 1);

				expect_answer(rand() % nr, nr_odd, nr_spoilt);
			}
			if (round % 20 == 19)
				kvm_gmem_bitmap_destroy(&file.private);
		}
	}
	assert_int_equal(shim_allocated, 0);
}

static void quiet_answer_reaches_as_far_as_the_state(void **state)
{
	(void)state;
	ask_everywhere(0, 0);
}

static void first_looks_during_a_store(void **state)
{
	(void)state;
	ask_everywhere(MOST_PAUSES + 2, 0);
}

static void first_looks_spoilt_by_a_store(void **state)
{
	(void)state;
	ask_everywhere(0, MOST_PAUSES + 2);
}

static void first_looks_of_both_kinds(void **state)
{
	(void)state;
	ask_everywhere(4, 8);
}

static void word_where_one_store_does_not_end(void **state)
{
	(void)state;
	ask_everywhere(ALWAYS, 0);
}

static void word_where_stores_follow_each_other_without_end(void **state)
{
	(void)state;
	ask_everywhere(0, ALWAYS);
}

static void largest_file(void **state)
{
	bool private;
	pgoff_t end;
	int nr_odd;

	(void)state;
	file_init(LARGEST, false);
	store(LARGEST - 1, LARGEST, true);

	assert_int_equal(ask(0, 0, 0, &private), LARGEST - 1);
	assert_false(private);
	assert_int_equal(ask(LARGEST - 1, 0, 0, &private), LARGEST);
	assert_true(private);
	for (nr_odd = 1; nr_odd <= MOST_PAUSES; nr_odd++) {
		end = ask(5, nr_odd, 0, &private);
		assert_false(private);
		assert_true(end > word_end(5) && end < LARGEST);
	}
	assert_int_equal(ask(5, ALWAYS, 0, &private), word_end(5));
	assert_int_equal(beside.nr_pauses, MOST_PAUSES);
	/* The last word is not a whole one. */
	assert_int_equal(ask(LARGEST - 3, ALWAYS, 0, &private), LARGEST - 1);
	assert_false(private);
	assert_int_equal(ask(LARGEST - 1, ALWAYS, 0, &private), LARGEST);
	assert_true(private);
	kvm_gmem_bitmap_destroy(&file.private);
}

static void getter_counts_the_largest_file_in_bytes(void **state)
{
	struct inode inode = { .size = (loff_t)LARGEST << PAGE_SHIFT };
	struct kvm_memory_attributes2_range range = { .offset = 1ull << PAGE_SHIFT };

	(void)state;
	file_init(LARGEST, true);
	store(0, 1, false);
	beside.nr_odd = beside.nr_spoilt = 0;

	assert_int_equal(kvm_gmem_get_attributes(&inode, &range), 0);
	assert_int_equal(range.size, (u64)(LARGEST - 1) << PAGE_SHIFT);
	assert_int_equal(range.attributes, KVM_MEMORY_ATTRIBUTE_PRIVATE);
	range.offset = (u64)(LARGEST - 1) << PAGE_SHIFT;
	assert_int_equal(kvm_gmem_get_attributes(&inode, &range), 0);
	assert_int_equal(range.size, 1 << PAGE_SHIFT);
	range.offset = (u64)LARGEST << PAGE_SHIFT;
	assert_int_equal(kvm_gmem_get_attributes(&inode, &range), -EINVAL);
	range.offset = -1ull << PAGE_SHIFT;
	assert_int_equal(kvm_gmem_get_attributes(&inode, &range), -EINVAL);
	kvm_gmem_bitmap_destroy(&file.private);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(quiet_answer_reaches_as_far_as_the_state),
		cmocka_unit_test(first_looks_during_a_store),
		cmocka_unit_test(first_looks_spoilt_by_a_store),
		cmocka_unit_test(first_looks_of_both_kinds),
		cmocka_unit_test(word_where_one_store_does_not_end),
		cmocka_unit_test(word_where_stores_follow_each_other_without_end),
		cmocka_unit_test(largest_file),
		cmocka_unit_test(getter_counts_the_largest_file_in_bytes),
	};

	return cmocka_run_group_tests_name("gmem_show", tests, NULL, NULL);
}
