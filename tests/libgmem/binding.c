// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Memories and slots are created, or nothing is left over. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

#include "unit_vm.h"

static void structs_grow_both_ways(void **state)
{
	struct { struct gmem_create_opts opts; uint64_t later; } newer = {
		.opts = { .struct_size = sizeof(newer), .attributes = GMEM_PRIVATE },
	};
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	(void)state;
	start(GMEM_IN_PLACE);
	gmem_destroy(b);
	assert_int_equal(gmem_create(vm, SLOT_SIZE, &newer.opts, &b), 0);
	assert_int_equal(gmem_lookup(b, 0, &range), 0);
	assert_int_equal(range.attributes, GMEM_PRIVATE);
	gmem_destroy(b);
	newer.later = 1;
	assert_int_equal(gmem_create(vm, SLOT_SIZE, &newer.opts, &b), -E2BIG);
	/* An older caller has only the size. */
	newer.opts.struct_size = sizeof(size_t);
	assert_int_equal(gmem_create(vm, SLOT_SIZE, &newer.opts, &b), 0);
	assert_int_equal(gmem_lookup(b, 0, &range), 0);
	assert_int_equal(range.attributes, GMEM_SHARED);
	gmem_destroy(b);
	newer.opts.struct_size = 0;
	assert_int_equal(gmem_create(vm, SLOT_SIZE, &newer.opts, &b), -EINVAL);
	b = NULL;
	stop();
}

static void descriptors_are_close_on_exec(void **state)
{
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		assert_int_equal(fcntl(gmem_private_fd(a), F_GETFD), FD_CLOEXEC);
		assert_int_equal(fcntl(gmem_shared_fd(a), F_GETFD), FD_CLOEXEC);
		stop();
		fake_stop();
		fake_start();
	}
}

static void wrong_bindings_are_refused(void **state)
{
	unsigned int before = open_files();

	(void)state;
	start(GMEM_TWO_BACKINGS);
	assert_int_equal(gmem_bind(a, 4, FAKE_GPA + ALL, 1, PAGE, NULL), -EINVAL);
	assert_int_equal(gmem_bind(a, 4, FAKE_GPA + ALL, 0, 3 * SLOT_SIZE, NULL), -EINVAL);
	assert_int_equal(gmem_bind(a, 4, -PAGE, 0, 2 * PAGE, NULL), -EINVAL);
	/* The guest page is taken, the page of the memory is, the slot is. */
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), -ENXIO);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA + SLOT_SIZE, 0, PAGE, NULL), -EEXIST);
	assert_int_equal(gmem_bind(a, 1, FAKE_GPA, 0, PAGE, NULL), -EEXIST);
	assert_int_equal(gmem_bind(b, 2, FAKE_GPA, 0, PAGE, NULL), -EEXIST);
	assert_int_equal(gmem_exclude(vm, FAKE_GPA + SLOT_SIZE, PAGE, NULL), -EEXIST);
	fake_fail(CALL_SLOT, 0, 1, EINVAL);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, PAGE, NULL), -EINVAL);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, PAGE, NULL), 0);
	stop();
	assert_int_equal(open_files(), before);
}

/* Each call that creates a memory fails in turn, and nothing is left over. */
static void memory_is_made_or_nothing_is(void **state)
{
	static const enum fake_call calls[] = {
		CALL_CREATE, CALL_MEMFD, CALL_TRUNCATE, CALL_MMAP, CALL_SLOT, CALL_ATTRIBUTES,
	};
	struct gmem_create_opts opts = GMEM_INIT(struct gmem_create_opts);
	const uint64_t gpa = FAKE_GPA + ALL;
	enum gmem_mechanism mechanism;
	unsigned int before, at, failed = 0;
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	struct gmem *gmem;
	size_t i;
	int r;

	(void)state;
	opts.attributes = GMEM_PRIVATE;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		before = open_files();
		for (i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
			for (at = 0, r = -1; r; at++) {
				fake_fail(calls[i], at, 1, EMFILE);
				r = gmem_create(vm, SLOT_SIZE, &opts, &gmem);
				assert_int_equal(!gmem, r < 0);
				if (!r)
					r = gmem_bind(gmem, 4, gpa, 0, SLOT_SIZE, NULL);
				fake.nr_answers = 0;
				if (r) {
					failed++;
					/*
					 * The library's tables are memory, whatever the kernel
					 * calls it.
					 */
					assert_true(r == -EMFILE || (r == -ENOMEM && calls[i] == CALL_MMAP));
					assert_int_equal(gmem_lookup_gpa(vm, gpa, &range), -ENXIO);
				}
				assert_int_equal(fake.slots[4].used, !r);
				assert_int_equal(fake.vm_private[ALL / PAGE],
						 !r && mechanism == GMEM_TWO_BACKINGS);
				gmem_destroy(gmem);
				assert_int_equal(open_files(), before);
			}
		}
		stop();
		fake_stop();
		fake_start();
	}
	/* Tables, file or files, mapping, slot; and the attributes of the VM. */
	assert_int_equal(failed, (2 + 3 + 1 + 1 + 1) + 2 * (2 + 1 + 1 + 1));
}

static void binding_gives_the_vm_its_attributes(void **state)
{
	(void)state;
	start(GMEM_TWO_BACKINGS);
	assert_int_equal(gmem_convert(a, SLOT_SIZE, 2 * PAGE, GMEM_PRIVATE, NULL, NULL), 0);
	assert_true(fake.vm_private[9]);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA + SLOT_SIZE, NULL), 0);
	assert_false(fake.vm_private[9]);
	fake_fail(CALL_ATTRIBUTES, 0, 1, ENOMEM);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE, NULL), -ENOMEM);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE, NULL), 0);
	assert_true(fake.vm_private[9]);
	assert_false(fake.vm_private[10]);
	stop();
}

static void what_an_unbinding_left_is_not_bound_again(void **state)
{
	(void)state;
	start(GMEM_TWO_BACKINGS);
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, NULL, NULL), 0);
	fake_fail(CALL_ATTRIBUTES, 0, 1, ENOMEM);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA, NULL), 0);
	assert_true(fake.vm_private[0]);
	gmem_destroy(b);
	assert_int_equal(gmem_create(vm, SLOT_SIZE, NULL, &b), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	assert_false(fake.vm_private[0]);
	stop();
}

/* A slot that is not deleted keeps the addresses, unless its VM is dead; the page is gone. */
static void addresses_stay_under_a_slot_that_stays(void **state)
{
	static const int errors[] = { ENOMEM, EPERM, EIO };
	unsigned char pages[SLOT_SIZE / PAGE];
	void *hva;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		start(GMEM_TWO_BACKINGS);
		assert_int_equal(gmem_map(b, NULL, &hva), 0);
		memset(hva, 1, PAGE);
		fake_fail(CALL_SLOT, 0, 1, errors[i]);
		gmem_destroy(b);
		b = NULL;
		/* This fails where nothing is mapped. */
		assert_int_equal(mincore(hva, SLOT_SIZE, pages), errors[i] == EIO ? -1 : 0);
		if (errors[i] != EIO)
			assert_int_equal(pages[0] & 1, 0);
		munmap(hva, SLOT_SIZE);
		/* The library has forgotten it nevertheless. */
		assert_int_equal(gmem_exclude(vm, FAKE_GPA, SLOT_SIZE, NULL), 0);
		stop();
		fake_stop();
		fake_start();
	}
}

const struct CMUnitTest binding_cases[] = {
	CASE(structs_grow_both_ways),
	CASE(descriptors_are_close_on_exec),
	CASE(wrong_bindings_are_refused),
	CASE(memory_is_made_or_nothing_is),
	CASE(binding_gives_the_vm_its_attributes),
	CASE(what_an_unbinding_left_is_not_bound_again),
	CASE(addresses_stay_under_a_slot_that_stays),
	{},
};
