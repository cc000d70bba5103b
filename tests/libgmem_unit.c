// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * libgmem's error paths, on a fake KVM with scripted answers: every error at every
 * step, and after each the library's states are the kernel's, listeners are even, and
 * nothing is left open.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <cmocka.h>

#include "fake_kvm.h"
#include "gmem.h"
#include "kvm_abi.h"

#define SW_PROTECTED_VM	1

/* Three slots of two memories, in this order: b[0..7], a[8..15], a[0..7]. */
#define SLOT_SIZE	(8 * PAGE)
#define ALL		(3 * SLOT_SIZE)

static struct gmem_vm *vm;
static struct gmem *a, *b;
/* How often each listener knows each guest page as shared; once at first. */
static struct gmem_listener listeners[2];
static int known[2][FAKE_PAGES];
/* At which guest page which listener refuses, in each direction. */
static int refuser, refuse_private, refuse_shared;
static unsigned int slow_ms;

static int told(struct gmem_listener *listener, const struct gmem_range *range, int refuse_at,
		const char *names, int change)
{
	uint64_t page = (range->gpa - FAKE_GPA) / PAGE, end = page + range->size / PAGE;
	int i = listener - listeners;

	if (i == refuser && (int)page == refuse_at)
		return -EBUSY;
	fake_note(names[i]);
	fake.now_ms += slow_ms;
	for (; page < end; page++)
		known[i][page] += change;
	return 0;
}

static int before_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	return told(listener, range, refuse_private, "PQ", -1);
}

static int after_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	return told(listener, range, refuse_shared, "ST", 1);
}

/* -1 for a direction that it does not refuse. */
static void refuse(int who, int private_at, int shared_at)
{
	refuser = who;
	refuse_private = private_at;
	refuse_shared = shared_at;
}

static void start(enum gmem_mechanism mechanism)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	int i;

	opts.vm_type = SW_PROTECTED_VM;
	opts.mechanism = mechanism;
	assert_int_equal(gmem_vm_init(fake.vm_fd, &opts, &vm), 0);
	assert_int_equal(gmem_create(vm, 2 * SLOT_SIZE, NULL, &a), 0);
	assert_int_equal(gmem_create(vm, SLOT_SIZE, NULL, &b), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE), 0);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE), 0);
	assert_int_equal(gmem_bind(a, 3, FAKE_GPA + 2 * SLOT_SIZE, 0, SLOT_SIZE), 0);
	for (i = 0; i < 2; i++) {
		listeners[i] = GMEM_INIT(struct gmem_listener);
		listeners[i].before_private = before_private;
		listeners[i].after_shared = after_shared;
		assert_int_equal(gmem_add_listener(vm, &listeners[i]), 0);
	}
	for (i = 0; i < FAKE_PAGES; i++)
		known[0][i] = known[1][i] = 1;
	refuse(0, -1, -1);
	slow_ms = 0;
	memset(fake.trace, 0, sizeof(fake.trace));
}

static void stop(void)
{
	gmem_destroy(a);
	gmem_destroy(b);
	gmem_vm_exit(vm);
}

/* What the kernel has for a guest page. */
static bool kernel_private(uint64_t gpa)
{
	uint64_t page = (gpa - FAKE_GPA) / PAGE;

	if (gmem_vm_probe(vm)->mechanism == GMEM_TWO_BACKINGS)
		return fake.vm_private[page];
	if (page < 8)
		return fake_file(gmem_private_fd(b))->is_private[page];
	return fake_file(gmem_private_fd(a))->is_private[page < 16 ? page : page - 16];
}

/* The library is, and the listeners; but for the @nr pages from @page on, where @who refused. */
static void expect_in_step_but(int who, uint64_t page, uint64_t nr)
{
	struct gmem_range range;
	uint64_t at;
	int i;

	for (at = 0; at < ALL / PAGE; at++) {
		assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA + at * PAGE, &range), 0);
		assert_int_equal(range.attributes == GMEM_PRIVATE,
				 kernel_private(FAKE_GPA + at * PAGE));
		for (i = 0; i < 2; i++)
			assert_int_equal(known[i][at], range.attributes == GMEM_SHARED &&
					 !(i == who && at >= page && at - page < nr));
	}
}

static void expect_in_step(void)
{
	expect_in_step_but(-1, 0, 0);
}

static unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

static int setup(void **state)
{
	(void)state;
	fake_start();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	fake_stop();
	return 0;
}

/* ---- Probe ---------------------------------------------------------------- */

static struct gmem_probe probe(void)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);
	unsigned int before = open_files();

	assert_int_equal(gmem_probe(fake.vm_fd, SW_PROTECTED_VM, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(open_files(), before);
	return p;
}

static void probe_climbs_down_the_ladder(void **state)
{
	struct gmem_probe p = probe();

	(void)state;
	assert_int_equal(p.mechanism, GMEM_IN_PLACE);
	assert_true(p.is_atomic);
	fake.knows_convert_of_vm = false;
	assert_false(probe().is_atomic);
	fake.knows_policies = false;
	p = probe();
	assert_int_equal(p.mechanism, GMEM_IN_PLACE_PLAIN);
	assert_int_equal(p.to_shared, 7);
	assert_int_equal(p.to_private, 6);
	fake.knows_convert = false;
	p = probe();
	assert_int_equal(p.mechanism, GMEM_TWO_BACKINGS);
	assert_int_equal(p.to_shared, 5);
	assert_int_equal(p.to_private, 4);
	fake.knows_two_backings = false;
	p = probe();
	assert_int_equal(p.mechanism, GMEM_MECHANISM_NONE);
	assert_int_equal(p.attributes, 0);
	assert_int_equal(gmem_vm_init(fake.vm_fd, NULL, &vm), -EOPNOTSUPP);
	assert_null(vm);
}

/* pKVM: neither the old call nor zeros by a hole, whatever the numbers say. */
static void probe_of_a_protected_vm_finds_one_mechanism(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);

	(void)state;
	fake.capability = 0;
	fake.to_private = 6;
	assert_int_equal(gmem_probe(fake.vm_fd, KVM_VM_TYPE_ARM_PROTECTED, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(p.mechanism, GMEM_IN_PLACE);
	assert_int_equal(p.mechanisms, 1u << GMEM_IN_PLACE);
	assert_int_equal(p.to_shared, 7);
	assert_int_equal(p.to_private, 6);
	assert_int_equal(gmem_probe(fake.vm_fd, KVM_VM_TYPE_ARM_PROTECTED, GMEM_IN_PLACE_PLAIN, &p), -EOPNOTSUPP);
	/* The default type of the same machine, of which the file knows no private page. */
	fake.to_shared = fake.to_private = 0;
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(p.mechanism, GMEM_MECHANISM_NONE);
	fake.knows_convert = fake.knows_policies = false;
	assert_int_equal(gmem_probe(fake.vm_fd, KVM_VM_TYPE_ARM_PROTECTED, GMEM_MECHANISM_NONE, &p), 0);
	assert_int_equal(p.mechanism, GMEM_MECHANISM_NONE);
}

static void probe_finds_each_policy_in_each_direction(void **state)
{
	struct gmem_probe p;
	uint32_t bits;

	(void)state;
	/* Without a way back there is nothing to find out, so one policy stays. */
	for (bits = 1; bits < 8; bits++) {
		fake.to_shared = bits;
		fake.to_private = 8 - bits;
		p = probe();
		assert_int_equal(p.mechanism, GMEM_IN_PLACE);
		assert_int_equal(p.to_shared, bits);
		assert_int_equal(p.to_private, 8 - bits);
	}
}

static void capability_that_lies_is_not_believed(void **state)
{
	(void)state;
	fake.knows_convert = fake.knows_policies = fake.knows_two_backings = false;
	assert_int_equal(probe().mechanism, GMEM_MECHANISM_NONE);
	fake.knows_two_backings = true;
	fake.capability = 0;
	assert_int_equal(probe().mechanism, GMEM_MECHANISM_NONE);
}

static void probe_without_a_descriptor_says_so(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);

	(void)state;
	fake_fail(CALL_CREATE, 0, 100, EMFILE);
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), -EMFILE);
	p.struct_size = 0;
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), -EINVAL);
}

/* An error that is no answer of the kernel to a policy: at each call of the trial. */
static void probe_that_cannot_tell_says_so(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);
	unsigned int calls, at, before = open_files();
	int plain;

	(void)state;
	for (plain = 0; plain < 2; plain++) {
		fake.knows_policies = !plain;
		calls = fake.calls[CALL_CONVERT];
		p = probe();
		assert_int_equal(p.mechanism, plain ? GMEM_IN_PLACE_PLAIN : GMEM_IN_PLACE);
		calls = fake.calls[CALL_CONVERT] - calls;
		assert_true(calls > 2);
		for (at = 0; at < calls; at++) {
			fake.nr_answers = 0;
			fake_fail(CALL_CONVERT, at, 1, ENOMEM);
			assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_MECHANISM_NONE, &p), -ENOMEM);
		}
		assert_int_equal(open_files(), before);
	}
}

static void unknown_mechanism_is_refused(void **state)
{
	struct gmem_probe p = GMEM_INIT(struct gmem_probe);

	(void)state;
	assert_int_equal(gmem_probe(fake.vm_fd, 0, GMEM_IN_PLACE + 1, &p), -EINVAL);
	/* A shift by as much is none at all on some machines. */
	assert_int_equal(gmem_probe(fake.vm_fd, 0, 32 + GMEM_TWO_BACKINGS, &p), -EINVAL);
}

/* ---- Structs, memories, slots ---------------------------------------------- */

static void structs_grow_both_ways(void **state)
{
	struct { struct gmem_create_opts opts; uint64_t later; } newer = {
		.opts = { .struct_size = sizeof(newer), .attributes = GMEM_PRIVATE },
	};
	struct gmem_range range;

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

static void listeners_grow_both_ways(void **state)
{
	struct { struct gmem_listener listener; uint64_t later; } newer = {
		.listener = {
			.struct_size = sizeof(newer),
			.before_private = before_private,
			.after_shared = after_shared,
		},
		.later = 1,
	};
	struct gmem_listener *listener = &newer.listener;

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_add_listener(vm, listener), -E2BIG);
	newer.later = 0;
	assert_int_equal(gmem_add_listener(vm, listener), 0);
	assert_int_equal(gmem_add_listener(vm, listener), -EEXIST);
	assert_int_equal(gmem_remove_listener(vm, listener), 0);
	assert_int_equal(gmem_remove_listener(vm, listener), -ENOENT);
	/* An older caller has the functions, and nothing behind them. */
	listener->struct_size = offsetof(struct gmem_listener, arg);
	assert_int_equal(gmem_add_listener(vm, listener), 0);
	assert_int_equal(gmem_remove_listener(vm, listener), 0);
	listener->struct_size = offsetof(struct gmem_listener, after_shared);
	assert_int_equal(gmem_add_listener(vm, listener), -EINVAL);
	listener->struct_size = 0;
	assert_int_equal(gmem_add_listener(vm, listener), -EINVAL);
	/* The others are told as before. */
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	expect_in_step();
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
	assert_int_equal(gmem_bind(a, 4, FAKE_GPA + ALL, 1, PAGE), -EINVAL);
	assert_int_equal(gmem_bind(a, 4, FAKE_GPA + ALL, 0, 3 * SLOT_SIZE), -EINVAL);
	assert_int_equal(gmem_bind(a, 4, -PAGE, 0, 2 * PAGE), -EINVAL);
	/* The guest page is taken, the page of the memory is, the slot is. */
	assert_int_equal(gmem_unbind(vm, FAKE_GPA), 0);
	assert_int_equal(gmem_unbind(vm, FAKE_GPA), -ENXIO);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA + SLOT_SIZE, 0, PAGE), -EEXIST);
	assert_int_equal(gmem_bind(a, 1, FAKE_GPA, 0, PAGE), -EEXIST);
	assert_int_equal(gmem_bind(b, 2, FAKE_GPA, 0, PAGE), -EEXIST);
	assert_int_equal(gmem_exclude(vm, FAKE_GPA + SLOT_SIZE, PAGE), -EEXIST);
	fake_fail(CALL_SLOT, 0, 1, EINVAL);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, PAGE), -EINVAL);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, PAGE), 0);
	stop();
	assert_int_equal(open_files(), before);
}

/* Each call that makes a memory fails in turn, and nothing is left of it. */
static void memory_is_made_or_nothing_is(void **state)
{
	static const enum fake_call calls[] = {
		CALL_CREATE, CALL_MEMFD, CALL_TRUNCATE, CALL_MMAP, CALL_SLOT, CALL_ATTRIBUTES,
	};
	struct gmem_create_opts opts = GMEM_INIT(struct gmem_create_opts);
	const uint64_t gpa = FAKE_GPA + ALL;
	enum gmem_mechanism mechanism;
	unsigned int before, at, failed = 0;
	struct gmem_range range;
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
					r = gmem_bind(gmem, 4, gpa, 0, SLOT_SIZE);
				fake.nr_answers = 0;
				if (r) {
					failed++;
					/* The tables of the library are memory, whatever the kernel calls it. */
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
	assert_int_equal(gmem_unbind(vm, FAKE_GPA + SLOT_SIZE), 0);
	assert_false(fake.vm_private[9]);
	fake_fail(CALL_ATTRIBUTES, 0, 1, ENOMEM);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE), -ENOMEM);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE), 0);
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
	assert_int_equal(gmem_unbind(vm, FAKE_GPA), 0);
	assert_true(fake.vm_private[0]);
	gmem_destroy(b);
	assert_int_equal(gmem_create(vm, SLOT_SIZE, NULL, &b), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE), 0);
	assert_false(fake.vm_private[0]);
	stop();
}

/* A slot that is not given back has the addresses still, unless its VM is dead; the page is gone. */
static void addresses_stay_under_a_slot_that_stays(void **state)
{
	static const int errors[] = { ENOMEM, EPERM, EIO };
	unsigned char pages[SLOT_SIZE / PAGE];
	void *hva;
	int i;

	(void)state;
	for (i = 0; i < 3; i++) {
		start(GMEM_TWO_BACKINGS);
		assert_int_equal(gmem_map(b, &hva), 0);
		memset(hva, 1, PAGE);
		fake_fail(CALL_SLOT, 0, 1, errors[i]);
		gmem_destroy(b);
		b = NULL;
		/* Which fails where nothing is mapped. */
		assert_int_equal(mincore(hva, SLOT_SIZE, pages), errors[i] == EIO ? -1 : 0);
		if (errors[i] != EIO)
			assert_int_equal(pages[0] & 1, 0);
		munmap(hva, SLOT_SIZE);
		/* The library has forgotten it all the same. */
		assert_int_equal(gmem_exclude(vm, FAKE_GPA, SLOT_SIZE), 0);
		stop();
		fake_stop();
		fake_start();
	}
}

/* ---- Conversion ------------------------------------------------------------- */

static void range_is_split_over_slots(void **state)
{
	enum gmem_mechanism mechanism;
	struct gmem_range range;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		/* The last page of b, all of the second slot, the first of the third. */
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 7 * PAGE, 10 * PAGE, GMEM_PRIVATE,
						  NULL, NULL), 0);
		expect_in_step();
		assert_int_equal(gmem_lookup(b, 6 * PAGE, &range), 0);
		assert_int_equal(range.size, PAGE);
		assert_int_equal(gmem_lookup(a, 0, &range), 0);
		assert_int_equal(range.attributes, GMEM_PRIVATE);
		assert_int_equal(range.size, PAGE);
		assert_int_equal(range.gpa, FAKE_GPA + 2 * SLOT_SIZE);
		assert_int_equal(gmem_lookup(a, SLOT_SIZE, &range), 0);
		assert_int_equal(range.size, SLOT_SIZE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, NULL), 0);
		expect_in_step();
		stop();
		fake_stop();
		fake_start();
	}
}

static void wrong_requests_are_refused(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, 0, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 1, PAGE, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, -PAGE, 2 * PAGE, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, PAGE, 1, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert(a, 0, 3 * SLOT_SIZE, GMEM_PRIVATE, NULL, NULL), -EINVAL);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA - PAGE, ALL, GMEM_PRIVATE, NULL, &result), -ENXIO);
	assert_int_equal(result.where, FAKE_GPA - PAGE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL + PAGE, GMEM_PRIVATE, NULL, &result), -ENXIO);
	assert_int_equal(result.where, FAKE_GPA + ALL);
	assert_int_equal(result.step, GMEM_STEP_CHECK);
	assert_int_equal(gmem_exclude(vm, FAKE_GPA + ALL, PAGE), 0);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL + PAGE, GMEM_PRIVATE, NULL, &result), -EPERM);
	assert_int_equal(result.where, FAKE_GPA + ALL);
	assert_string_equal(fake.trace, "");
	expect_in_step();
	stop();
}

/* After a failure: what @result does not name is as it was, the tenth page of the other state. */
static void expect_undone(const struct gmem_result *result, bool to_private)
{
	uint64_t at, gpa;

	for (at = 0; at < ALL / PAGE; at++) {
		gpa = FAKE_GPA + at * PAGE;
		if (result->left_size && gpa >= result->left && gpa - result->left < result->left_size)
			continue;
		assert_int_equal(kernel_private(gpa), (at == 9) == to_private);
	}
}

/*
 * Each error of each call in turn, in either direction; in @how 0 what was converted before
 * goes back, in 1 the first call of the undo fails as well, and 2 is without an undo.
 * Returns how many calls have failed.
 */
static unsigned int every_error_of(enum fake_call call, enum gmem_mechanism mechanism,
				   bool to_private, bool atomic, int how)
{
	static const int errors[] = { EAGAIN, ENOMEM, EFAULT, EIO, EINVAL, EPERM, EHWPOISON };
	unsigned int error, at, failed = 0;
	int r;

	for (error = 0; error < sizeof(errors) / sizeof(errors[0]); error++) {
		for (at = 0, r = -1; r; at++) {
			struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
			struct gmem_result result = GMEM_INIT(struct gmem_result);

			fake.knows_convert_of_vm = atomic;
			start(mechanism);
			/* Some pages have the state already. */
			assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL,
				to_private ? GMEM_SHARED : GMEM_PRIVATE, NULL, NULL), 0);
			assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + 9 * PAGE, PAGE,
				to_private ? GMEM_PRIVATE : GMEM_SHARED, NULL, NULL), 0);
			opts.flags = how == 2 ? GMEM_NO_UNDO : 0;
			fake_fail(call, at, how == 1 ? 2 : 1, errors[error]);
			r = gmem_convert_gpa(vm, FAKE_GPA, ALL,
				to_private ? GMEM_PRIVATE : GMEM_SHARED, &opts, &result);
			expect_in_step();
			if (r) {
				failed++;
				assert_int_equal(r, -errors[error]);
				assert_in_range(result.step, GMEM_STEP_PREPARE, GMEM_STEP_ZERO);
				assert_int_equal(result.step == GMEM_STEP_CONVERT, call != CALL_PUNCH);
				if (how == 0)
					assert_int_equal(result.left_size, 0);
				assert_int_equal(!result.left_size, !result.undo_error);
				expect_undone(&result, to_private);
			} else {
				/* The call that failed is one that costs memory only, or none. */
				assert_int_equal(result.left_size, 0);
				if (result.undiscarded)
					r = 1;
			}
			stop();
			fake_stop();
			fake_start();
		}
	}

	return failed / error;
}

static void every_error_at_every_step(void **state)
{
	int to_private, how;

	(void)state;
	for (to_private = 0; to_private < 2; to_private++) {
		for (how = 0; how < 3; how++) {
			/* In one call, or in one for each slot. */
			assert_int_equal(every_error_of(CALL_CONVERT, GMEM_IN_PLACE, to_private, true, how), 1);
			assert_int_equal(every_error_of(CALL_CONVERT, GMEM_IN_PLACE, to_private, false, how), 3);
			assert_int_equal(every_error_of(CALL_CONVERT, GMEM_IN_PLACE_PLAIN, to_private, false, how), 3);
			assert_int_equal(every_error_of(CALL_ATTRIBUTES, GMEM_TWO_BACKINGS, to_private, false, how), 1);
			/* Zeroing is by changes, of which the second slot has two. */
			assert_int_equal(every_error_of(CALL_PUNCH, GMEM_IN_PLACE, to_private, false, how), 0);
			assert_int_equal(every_error_of(CALL_PUNCH, GMEM_IN_PLACE_PLAIN, to_private, false, how),
					 to_private ? 0 : 4);
			assert_int_equal(every_error_of(CALL_PUNCH, GMEM_TWO_BACKINGS, to_private, false, how),
					 to_private ? 0 : 4);
		}
	}
}

static void undo_that_fails_is_reported_and_remembered(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	fake.knows_convert_of_vm = false;
	start(GMEM_IN_PLACE);
	/* The third slot refuses, then the first does not go back and the second does. */
	fake_fail(CALL_CONVERT, 2, 2, EIO);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EIO);
	assert_int_equal(result.undo_error, -EIO);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, SLOT_SIZE);
	assert_true(result.contents_lost);
	expect_in_step();
	assert_true(kernel_private(FAKE_GPA));
	assert_false(kernel_private(FAKE_GPA + SLOT_SIZE));
	stop();
}

static void undo_can_be_declined(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	fake.knows_convert_of_vm = false;
	start(GMEM_IN_PLACE);
	opts.flags = GMEM_NO_UNDO;
	fake_fail(CALL_CONVERT, 2, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -ENOMEM);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, 2 * SLOT_SIZE);
	expect_in_step();
	stop();
}

static void pinned_page_is_reported_as_the_request_counts(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int atomic;

	(void)state;
	for (atomic = 0; atomic < 2; atomic++) {
		fake.knows_convert_of_vm = atomic;
		start(GMEM_IN_PLACE);
		/* Page 3 of the second slot, which is page 11 of its memory. */
		fake.held[fake_file(gmem_private_fd(a)) - fake.files][11] = true;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EAGAIN);
		assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE + 3 * PAGE);
		expect_in_step();
		assert_int_equal(gmem_convert(a, 8 * PAGE, 8 * PAGE, GMEM_PRIVATE, NULL, &result), -EAGAIN);
		assert_int_equal(result.where, 11 * PAGE);
		assert_int_equal(result.attempts, 1);
		expect_in_step();
		stop();
		fake_stop();
		fake_start();
	}
}

static int never_asked(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	fail_msg("asked for the %u. time", attempts);
	return 0;
}

static void guest_that_has_not_agreed_is_not_asked_again(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int atomic;

	(void)state;
	opts.timeout_ms = 1000;
	opts.busy = never_asked;
	for (atomic = 0; atomic < 2; atomic++) {
		fake.knows_convert_of_vm = atomic;
		fake.to_private = 6;
		start(GMEM_IN_PLACE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
		fake.refused[fake_file(gmem_private_fd(a)) - fake.files][11] = true;
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, &opts, &result), -EPERM);
		assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE + 3 * PAGE);
		assert_int_equal(result.step, GMEM_STEP_CONVERT);
		assert_int_equal(result.attempts, 0);
		assert_int_equal(result.left_size, 0);
		expect_in_step();
		assert_int_equal(gmem_convert(a, 8 * PAGE, 8 * PAGE, GMEM_SHARED, &opts, &result), -EPERM);
		assert_int_equal(result.where, 11 * PAGE);
		assert_int_equal(result.step, GMEM_STEP_CONVERT);
		assert_int_equal(result.attempts, 0);
		expect_in_step();
		/* The other pages do not need it. */
		assert_int_equal(gmem_convert(a, 12 * PAGE, 4 * PAGE, GMEM_SHARED, &opts, &result), 0);
		expect_in_step();
		stop();
		fake_stop();
		fake_start();
	}
}

static void kernel_that_does_not_say_where_is_believed(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int knows;

	(void)state;
	start(GMEM_IN_PLACE);
	for (knows = 0; knows < 2; knows++) {
		fake.knows_error_offset = knows;
		fake_fail(CALL_CONVERT, 0, 1, ENOMEM);
		assert_int_equal(gmem_convert(a, 2 * PAGE, 4 * PAGE, GMEM_PRIVATE, NULL, &result), -ENOMEM);
		assert_int_equal(result.where, (knows ? 5 : 2) * PAGE);
	}
	stop();
}

static void result_without_its_size_is_refused(void **state)
{
	struct gmem_result result = {};

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EINVAL);
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, &result), -EINVAL);
	assert_string_equal(fake.trace, "");
	/* An older caller has only the size. */
	result.struct_size = sizeof(result.struct_size);
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, &result), 0);
	expect_in_step();
	stop();
}

static unsigned int nr_busy;

static int busy(void *arg, uint64_t where, unsigned int attempts)
{
	assert_int_equal(where, FAKE_GPA + 3 * PAGE);
	assert_int_equal(attempts, ++nr_busy);
	if (arg && nr_busy == 3)
		memset(fake.held, 0, sizeof(fake.held));
	return !arg && nr_busy == 3 ? -ETIME : 0;
}

static void holder_is_asked_until_it_lets_go_or_time_is_over(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	bool *held;

	(void)state;
	start(GMEM_IN_PLACE);
	held = &fake.held[fake_file(gmem_private_fd(b)) - fake.files][3];
	*held = true;

	/* Not asked without time. */
	nr_busy = 0;
	opts.busy = busy;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -EAGAIN);
	assert_int_equal(nr_busy, 0);

	/* It gives up. */
	opts.timeout_ms = 10000;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -ETIME);
	assert_int_equal(result.attempts, 3);
	expect_in_step();

	/* It lets go. */
	nr_busy = 0;
	opts.arg = &opts;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), 0);
	assert_int_equal(result.attempts, 3);
	expect_in_step();

	/* Nobody does: over when the time is, and not sooner. */
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, NULL), 0);
	*held = true;
	opts.busy = NULL;
	opts.timeout_ms = 300;
	fake.now_ms = 0;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -EAGAIN);
	assert_int_equal(fake.now_ms, 300);
	assert_in_range(result.attempts, 5, 30);
	expect_in_step();

	/* The time of a listener counts. */
	slow_ms = 400;
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, &opts, &result), -EAGAIN);
	assert_int_equal(result.attempts, 1);
	expect_in_step();
	stop();
}

static void signals_are_no_answer(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	fake_fail(CALL_CONVERT, 0, 1000, EINTR);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	expect_in_step();
	stop();
	fake_stop();
	fake_start();
	start(GMEM_TWO_BACKINGS);
	fake_fail(CALL_PUNCH, 0, 1000, EINTR);
	fake_fail(CALL_ATTRIBUTES, 0, 1000, EINTR);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	expect_in_step();
	stop();
}

static void unsupported_policy_is_refused_beforehand(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_TWO_BACKINGS);
	opts.to_private = GMEM_PRESERVE;
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, &opts, NULL), -EOPNOTSUPP);
	opts.to_private = 3;
	assert_int_equal(gmem_convert(a, 0, PAGE, GMEM_PRIVATE, &opts, NULL), -EINVAL);
	assert_string_equal(fake.trace, "");
	stop();
}

/* ---- Order ------------------------------------------------------------------ */

static void trace_is(const char *expected)
{
	assert_string_equal(fake.trace, expected);
	memset(fake.trace, 0, sizeof(fake.trace));
}

static void order_of_steps_is_the_mechanisms(void **state)
{
	(void)state;
	start(GMEM_IN_PLACE);
	gmem_convert(b, 0, PAGE, GMEM_PRIVATE, NULL, NULL);
	trace_is("PQc");
	gmem_convert(b, 0, PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("cST");
	gmem_convert(b, 0, PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("c");
	stop();

	fake_stop();
	fake_start();
	fake.knows_policies = false;
	start(GMEM_IN_PLACE_PLAIN);
	gmem_convert(b, 0, PAGE, GMEM_PRIVATE, NULL, NULL);
	trace_is("PQc");
	/* Zeros before anyone looks. */
	gmem_convert(b, 0, 2 * PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("pcST");
	assert_int_equal(fake_file(gmem_private_fd(b))->punched[0], 1);
	assert_int_equal(fake_file(gmem_private_fd(b))->punched[1], 0);
	stop();

	fake_stop();
	fake_start();
	start(GMEM_TWO_BACKINGS);
	gmem_convert(b, 0, PAGE, GMEM_PRIVATE, NULL, NULL);
	trace_is("PQap");
	/* The shared half is emptied, and the private half goes last. */
	gmem_convert(b, 0, PAGE, GMEM_SHARED, NULL, NULL);
	trace_is("paSTp");
	assert_int_equal(fake_file(gmem_private_fd(b))->punched[0], 1);
	stop();
}

static void listener_that_refuses_is_undone(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	enum gmem_mechanism mechanism;

	(void)state;
	for (mechanism = GMEM_TWO_BACKINGS; mechanism <= GMEM_IN_PLACE; mechanism++) {
		start(mechanism);
		/* At the second slot, with the first one told. */
		refuse(0, 8, -1);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EBUSY);
		assert_int_equal(result.step, GMEM_STEP_BEFORE_PRIVATE);
		assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE);
		expect_in_step();
		trace_is("PQTS");

		refuse(0, -1, -1);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
		refuse(1, -1, 8);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -EBUSY);
		assert_int_equal(result.step, GMEM_STEP_AFTER_SHARED);
		assert_int_equal(result.left_size, 0);
		expect_in_step();
		assert_true(kernel_private(FAKE_GPA));
		stop();
		fake_stop();
		fake_start();
	}
}

/* All to shared, of which something stays so that should not. */
static int fail_to_shared(uint32_t flags, struct gmem_result *result)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	opts.flags = flags;
	return gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, &opts, result);
}

static void listeners_know_what_stays_shared(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	fake.knows_convert_of_vm = false;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	memset(fake.trace, 0, sizeof(fake.trace));

	/* The third slot refuses, and the first does not go back: nobody was told so far. */
	fake_fail(CALL_CONVERT, 2, 2, EIO);
	assert_int_equal(fail_to_shared(0, &result), -EIO);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, SLOT_SIZE);
	assert_int_equal(result.undo_error, -EIO);
	expect_in_step();
	assert_false(kernel_private(FAKE_GPA));
	trace_is("ccSTc");

	/* A listener refuses, and nothing goes back: all know of all, but for what it refused. */
	refuse(1, -1, 16);
	fake_fail(CALL_CONVERT, 3, 2, EAGAIN);
	assert_int_equal(fail_to_shared(0, &result), -EBUSY);
	assert_int_equal(result.left, FAKE_GPA + SLOT_SIZE);
	assert_int_equal(result.left_size, 2 * SLOT_SIZE);
	assert_int_equal(result.undo_error, -EAGAIN);
	expect_in_step_but(1, 16, 8);
	trace_is("cccSTSQPSTPS");
	stop();
}

static void undo_that_is_declined_is_told(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	memset(fake.trace, 0, sizeof(fake.trace));
	refuse(0, -1, 8);
	assert_int_equal(fail_to_shared(GMEM_NO_UNDO, &result), -EBUSY);
	assert_int_equal(result.step, GMEM_STEP_AFTER_SHARED);
	assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE);
	assert_int_equal(result.left, FAKE_GPA);
	assert_int_equal(result.left_size, ALL);
	expect_in_step_but(0, 8, 8);
	trace_is("cSTTST");
	stop();
}

static void listener_that_does_not_let_go_keeps_it_shared(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int who;

	(void)state;
	for (who = 0; who < 2; who++) {
		start(GMEM_IN_PLACE);
		assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
		memset(fake.trace, 0, sizeof(fake.trace));
		/* It refuses the third slot, and does not give the second back. */
		refuse(who, 8, 16);
		assert_int_equal(fail_to_shared(0, &result), -EBUSY);
		assert_int_equal(result.where, FAKE_GPA + 2 * SLOT_SIZE);
		assert_int_equal(result.left, FAKE_GPA + SLOT_SIZE);
		assert_int_equal(result.left_size, SLOT_SIZE);
		assert_int_equal(result.undo_error, -EBUSY);
		expect_in_step();
		assert_true(kernel_private(FAKE_GPA));
		assert_true(kernel_private(FAKE_GPA + 2 * SLOT_SIZE));
		trace_is(who ? "cSTSTSQPcPc" : "cSTSTQPcQTc");
		stop();
		fake_stop();
		fake_start();
	}
}

static void undo_goes_on_after_a_listener_that_refuses(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_IN_PLACE);
	/* The kernel refuses, and one does not take the first slot again. */
	refuse(1, -1, 0);
	fake_fail(CALL_CONVERT, 0, 1, EIO);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EIO);
	assert_int_equal(result.undo_error, -EBUSY);
	assert_int_equal(result.left_size, 0);
	expect_in_step_but(1, 0, 8);
	stop();

	fake_stop();
	fake_start();
	start(GMEM_IN_PLACE);
	/* The same for one that has refused itself. */
	refuse(1, 8, 0);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), -EBUSY);
	assert_int_equal(result.step, GMEM_STEP_BEFORE_PRIVATE);
	assert_int_equal(result.undo_error, -EBUSY);
	expect_in_step_but(1, 0, 8);
	stop();
}

static void undo_with_two_backings_loses_nothing(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_TWO_BACKINGS);
	/* Two bindings, two calls. */
	fake_fail(CALL_ATTRIBUTES, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert(a, 0, 2 * SLOT_SIZE, GMEM_PRIVATE, NULL, &result), -ENOMEM);
	assert_int_equal(result.left_size, 0);
	assert_false(result.contents_lost);
	expect_in_step();
	trace_is("PQPQaaTSTS");
	stop();
}

static void hole_that_fails_costs_memory_only(void **state)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	(void)state;
	start(GMEM_TWO_BACKINGS);
	fake_fail(CALL_PUNCH, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, &result), 0);
	assert_int_equal(result.undiscarded, SLOT_SIZE);
	expect_in_step();
	/* But zeros have to be zeros. */
	fake_fail(CALL_PUNCH, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_int_equal(result.step, GMEM_STEP_PREPARE);
	expect_in_step();
	stop();

	fake_stop();
	fake_start();
	start(GMEM_IN_PLACE_PLAIN);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_PRIVATE, NULL, NULL), 0);
	/* In place they come first, and the contents go with them. */
	fake_fail(CALL_PUNCH, 1, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_int_equal(result.step, GMEM_STEP_ZERO);
	assert_int_equal(result.where, FAKE_GPA + SLOT_SIZE);
	assert_true(result.contents_lost);
	expect_in_step();
	fake_fail(CALL_PUNCH, 0, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_false(result.contents_lost);
	fake_fail(CALL_CONVERT, 0, 1, ENOMEM);
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), -ENOMEM);
	assert_int_equal(result.step, GMEM_STEP_CONVERT);
	assert_true(result.contents_lost);
	expect_in_step();
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA, ALL, GMEM_SHARED, NULL, &result), 0);
	assert_false(result.contents_lost);
	expect_in_step();
	stop();
}

/* ---- Exits ------------------------------------------------------------------ */

static void exits_become_conversions(void **state)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_MEMORY_FAULT };
	struct memory_fault_exit *fault = (void *)run.padding;

	(void)state;
	start(GMEM_IN_PLACE);
	*fault = (struct memory_fault_exit){
		.flags = KVM_MEMORY_EXIT_FLAG_PRIVATE, .gpa = FAKE_GPA + 0x123, .size = 8,
	};
	assert_int_equal(gmem_handle_exit(vm, &run, -EINTR, NULL, NULL), 1);
	/* No request, though the exit looks like one: the page is gone. */
	assert_int_equal(gmem_handle_exit(vm, &run, -EHWPOISON, NULL, NULL), 1);
	assert_false(kernel_private(FAKE_GPA));
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), 0);
	assert_true(kernel_private(FAKE_GPA));
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), -EALREADY);
	fault->flags = 0;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 0);
	assert_false(kernel_private(FAKE_GPA));
	fault->gpa = FAKE_GPA + ALL;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), -ENXIO);

	run = (struct kvm_run){ .exit_reason = KVM_EXIT_HYPERCALL };
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE;
	run.hypercall.args[0] = FAKE_GPA + SLOT_SIZE;
	run.hypercall.args[1] = 3;
	run.hypercall.args[2] = 1 << 4;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 0);
	assert_int_equal(run.hypercall.ret, 0);
	assert_true(kernel_private(FAKE_GPA + SLOT_SIZE + 2 * PAGE));
	assert_false(kernel_private(FAKE_GPA + SLOT_SIZE + 3 * PAGE));
	run.hypercall.args[1] = 1ull << 60;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), -EINVAL);
	assert_int_equal(run.hypercall.ret, EINVAL);
	/* Whatever the error, KVM takes two of them only. */
	run.hypercall.args[0] = FAKE_GPA + ALL;
	run.hypercall.args[1] = 1;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), -ENXIO);
	assert_int_equal(run.hypercall.ret, EINVAL);
	run.hypercall.args[0] = FAKE_GPA;
	fake_fail(CALL_CONVERT, 0, 1, EAGAIN);
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), -EAGAIN);
	assert_int_equal(run.hypercall.ret, EAGAIN);
	run.hypercall.nr = KVM_HC_MAP_GPA_RANGE + 1;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 1);
	run.exit_reason = KVM_EXIT_HLT;
	assert_int_equal(gmem_handle_exit(vm, &run, 0, NULL, NULL), 1);
	expect_in_step();
	stop();
}

/* ---- Threads ------------------------------------------------------------------ */

static pthread_barrier_t inside;
static volatile bool other_is_done;

static void *convert_another(void *arg)
{
	(void)arg;
	if (gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, NULL))
		abort();
	return NULL;
}

/* While one conversion waits for a holder: others go on, the same range waits. */
static int busy_inside(void *arg, uint64_t where, unsigned int attempts)
{
	struct gmem_range range;
	pthread_t thread;

	(void)arg;
	(void)where;
	if (attempts == 1) {
		pthread_create(&thread, NULL, convert_another, NULL);
		pthread_join(thread, NULL);
		assert_int_equal(gmem_lookup(b, 0, &range), 0);
		pthread_barrier_wait(&inside);
		usleep(50000);
		assert_false(other_is_done);
		memset(fake.held, 0, sizeof(fake.held));
	}
	return 0;
}

static void *convert_the_same(void *arg)
{
	(void)arg;
	pthread_barrier_wait(&inside);
	if (gmem_convert_gpa(vm, FAKE_GPA + 7 * PAGE, 2 * PAGE, GMEM_SHARED, NULL, NULL))
		abort();
	other_is_done = true;
	return NULL;
}

/* A VMM that passes no opts, on pKVM: the guest shares a page and takes it back. */
static void defaults_serve_a_protected_guest(void **state)
{
	struct kvm_run run = { .exit_reason = KVM_EXIT_MEMORY_FAULT };
	struct memory_fault_exit *fault = (void *)run.padding;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem_create_opts create = GMEM_INIT(struct gmem_create_opts);
	struct fake_file *file;
	bool *refused;

	(void)state;
	fake.capability = 0;
	fake.knows_two_backings = false;
	fake.to_private = 6;
	assert_int_equal(gmem_vm_init(fake.vm_fd, NULL, &vm), 0);
	create.attributes = GMEM_PRIVATE;
	assert_int_equal(gmem_create(vm, SLOT_SIZE, &create, &a), 0);
	assert_int_equal(gmem_bind(a, 1, FAKE_GPA, 0, SLOT_SIZE), 0);
	file = fake_file(gmem_private_fd(a));
	refused = &fake.refused[file - fake.files][2];
	*refused = true;
	*fault = (struct memory_fault_exit){ .gpa = FAKE_GPA + 2 * PAGE, .size = PAGE };
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, &result), -EPERM);
	assert_int_equal(result.step, GMEM_STEP_CONVERT);
	assert_int_equal(result.where, FAKE_GPA + 2 * PAGE);
	assert_true(file->is_private[2]);
	*refused = false;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), 0);
	assert_false(file->is_private[2]);
	assert_true(file->is_private[3]);
	fault->flags = KVM_MEMORY_EXIT_FLAG_PRIVATE;
	assert_int_equal(gmem_handle_exit(vm, &run, -EFAULT, NULL, NULL), 0);
	assert_true(file->is_private[2]);
	/* Each is a single call, of the policies that there are. */
	assert_string_equal(fake.trace + strlen(fake.trace) - 2, "cc");
	gmem_destroy(a);
	gmem_vm_exit(vm);
}

static void overlapping_conversions_wait_others_do_not(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	pthread_t thread;

	(void)state;
	start(GMEM_IN_PLACE);
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	pthread_barrier_init(&inside, NULL, 2);
	other_is_done = false;
	pthread_create(&thread, NULL, convert_the_same, NULL);
	opts.timeout_ms = 10000;
	opts.busy = busy_inside;
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(thread, NULL);
	assert_true(other_is_done);
	expect_in_step();
	assert_true(kernel_private(FAKE_GPA + 6 * PAGE));
	assert_false(kernel_private(FAKE_GPA + 7 * PAGE));
	stop();
}

static pthread_t binder, late;

static void *bind_beside(void *arg)
{
	(void)arg;
	if (gmem_exclude(vm, FAKE_GPA + ALL, PAGE))
		abort();
	return NULL;
}

static void *convert_behind(void *arg)
{
	struct gmem_range range;

	(void)arg;
	if (gmem_convert(a, 0, PAGE, GMEM_PRIVATE, NULL, NULL) ||
	    gmem_lookup_gpa(vm, FAKE_GPA + ALL, &range) != -EPERM)
		abort();
	return NULL;
}

static int busy_while_others_come(void *arg, uint64_t where, unsigned int attempts)
{
	(void)arg;
	(void)where;
	if (attempts == 1) {
		pthread_create(&binder, NULL, bind_beside, NULL);
		usleep(50000);
		pthread_create(&late, NULL, convert_behind, NULL);
		usleep(50000);
		memset(fake.held, 0, sizeof(fake.held));
	}
	return 0;
}

/* Conversions that come later let who binds go first, or that would wait for ever. */
static void binding_is_not_overtaken(void **state)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;

	(void)state;
	start(GMEM_IN_PLACE);
	fake.held[fake_file(gmem_private_fd(b)) - fake.files][3] = true;
	opts.timeout_ms = 10000;
	opts.busy = busy_while_others_come;
	assert_int_equal(gmem_convert(b, 0, SLOT_SIZE, GMEM_PRIVATE, &opts, NULL), 0);
	pthread_join(binder, NULL);
	pthread_join(late, NULL);
	expect_in_step();
	stop();
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(probe_climbs_down_the_ladder),
		CASE(probe_of_a_protected_vm_finds_one_mechanism),
		CASE(probe_finds_each_policy_in_each_direction),
		CASE(capability_that_lies_is_not_believed),
		CASE(probe_without_a_descriptor_says_so),
		CASE(probe_that_cannot_tell_says_so),
		CASE(unknown_mechanism_is_refused),
		CASE(structs_grow_both_ways),
		CASE(listeners_grow_both_ways),
		CASE(descriptors_are_close_on_exec),
		CASE(wrong_bindings_are_refused),
		CASE(memory_is_made_or_nothing_is),
		CASE(binding_gives_the_vm_its_attributes),
		CASE(what_an_unbinding_left_is_not_bound_again),
		CASE(addresses_stay_under_a_slot_that_stays),
		CASE(range_is_split_over_slots),
		CASE(wrong_requests_are_refused),
		CASE(every_error_at_every_step),
		CASE(undo_that_fails_is_reported_and_remembered),
		CASE(undo_can_be_declined),
		CASE(pinned_page_is_reported_as_the_request_counts),
		CASE(guest_that_has_not_agreed_is_not_asked_again),
		CASE(kernel_that_does_not_say_where_is_believed),
		CASE(result_without_its_size_is_refused),
		CASE(holder_is_asked_until_it_lets_go_or_time_is_over),
		CASE(signals_are_no_answer),
		CASE(unsupported_policy_is_refused_beforehand),
		CASE(order_of_steps_is_the_mechanisms),
		CASE(listener_that_refuses_is_undone),
		CASE(listeners_know_what_stays_shared),
		CASE(undo_that_is_declined_is_told),
		CASE(listener_that_does_not_let_go_keeps_it_shared),
		CASE(undo_goes_on_after_a_listener_that_refuses),
		CASE(undo_with_two_backings_loses_nothing),
		CASE(hole_that_fails_costs_memory_only),
		CASE(exits_become_conversions),
		CASE(defaults_serve_a_protected_guest),
		CASE(overlapping_conversions_wait_others_do_not),
		CASE(binding_is_not_overtaken),
	};

	return cmocka_run_group_tests_name("libgmem", tests, NULL, NULL);
}
