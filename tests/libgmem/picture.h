/* SPDX-License-Identifier: LGPL-2.1-or-later OR MIT */
/*
 * A listener that keeps a picture of what it holds, by guest page, and notes the first
 * thing that a listener must never be told: to take a page twice, to let go of one that it
 * does not hold, of memory that is not bound, or out of turn.  Thread-safe.
 */
#ifndef TESTS_LIBGMEM_PICTURE_H
#define TESTS_LIBGMEM_PICTURE_H

#include <pthread.h>

#include "fake_kvm.h"
#include "gmem.h"

struct picture {
	/* The first member, so that a listener is its picture. */
	struct gmem_listener listener;
	struct gmem_vm *vm;
	bool holds[FAKE_PAGES];
	/*
	 * What it refuses: ranges with one of these guest pages, a bit each, and batches, by
	 * whether they are private; the first time with @error, later with -EIO.
	 */
	uint64_t refuse_private, refuse_shared;
	bool refuse_begin[2], refuse_commit[2];
	int error;
	unsigned int nr_refused;

	pthread_mutex_t lock;
	/* "( S0+8 P9+1! )": begin, ranges of guest pages, the second refused, commit. */
	char told[512];
	char wrong[128];
};

/* With begin() and commit() if @batches.  It holds nothing, and is not added. */
void picture_init(struct picture *picture, struct gmem_vm *vm, uint64_t flags, bool batches);

/* What it was told since it was asked last, or what was wrong. */
const char *picture_told(struct picture *picture);
#define expect_told(picture, what) assert_string_equal(picture_told(picture), what)

/*
 * "", or what is wrong: it holds what is bound and shared, in the library's eyes and the
 * kernel's, except for the pages in @but, for which the opposite is true.
 */
const char *picture_check_but(struct picture *picture, uint64_t but);
#define expect_picture_but(picture, but) assert_string_equal(picture_check_but(picture, but), "")
#define expect_picture(picture) expect_picture_but(picture, 0)

/* Bits of @nr guest pages from @page on. */
#define PAGES(page, nr) (((1ull << (nr)) - 1) << (page))

#endif
