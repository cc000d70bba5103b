// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * libFuzzer on how requests are split: the input binds, excludes, converts, and makes
 * system calls fail and a listener refuse.  After each conversion the states of
 * library, kernel and listeners agree; one that succeeds has changed exactly the pages
 * that it should, and one that fails has changed none unless it says so.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_kvm.h"
#include "gmem.h"
#include "libgmem/picture.h"

#define NR_MEMORIES	3
#define MEMORY_PAGES	16
#define HALF		(MEMORY_PAGES / 2 * PAGE)

static struct gmem_vm *vm;
static struct gmem *memories[NR_MEMORIES];
/* They hold what is bound and shared: told before the listener that refuses, and after. */
static struct picture pictures[2];

static void must(bool condition)
{
	if (!condition)
		abort();
}

/* 0 shared, 1 private, -1 nothing is bound there. */
static int kernel_state(uint64_t gpa)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	if (gmem_lookup_gpa(vm, gpa, &range))
		return -1;
	if (gmem_vm_probe(vm)->mechanism == GMEM_TWO_BACKINGS)
		return fake.vm_private[(gpa - FAKE_GPA) / PAGE];
	return fake_file(gmem_private_fd(range.gmem))->is_private[range.offset / PAGE];
}

/* How often the listener knows each guest page as shared; set before each conversion. */
static int known[FAKE_PAGES];
/* It refuses once, at the call when this is 0. */
static int refuse_in;

static int tell(const struct gmem_range *range, int change)
{
	uint64_t page = (range->gpa - FAKE_GPA) / PAGE, end = page + range->size / PAGE;

	if (!refuse_in--)
		return -1;
	for (; range->gpa != GMEM_NO_GPA && page < end; page++)
		known[page] += change;
	return 0;
}

static int before_private(struct gmem_listener *l, const struct gmem_range *range)
{
	(void)l;
	return tell(range, -1);
}

static int after_shared(struct gmem_listener *l, const struct gmem_range *range)
{
	(void)l;
	return tell(range, 1);
}

static struct gmem_listener listener = {
	.struct_size = sizeof(listener),
	.before_private = before_private, .after_shared = after_shared,
};

/* By gpa, or by offset of the memory that is named. */
static void convert(uint8_t first, uint8_t nr, uint8_t how, uint8_t what)
{
	struct gmem *gmem = what & 1 ? memories[(what >> 1) % NR_MEMORIES] : NULL;
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	uint64_t pages = gmem ? MEMORY_PAGES : FAKE_PAGES, base = gmem ? 0 : FAKE_GPA;
	uint64_t start = base + first % pages * PAGE, size = nr % (pages + 1) * PAGE, at, here;
	uint64_t attributes = how & 1 ? GMEM_PRIVATE : GMEM_SHARED;
	bool in_place = gmem_vm_probe(vm)->mechanism != GMEM_TWO_BACKINGS, refused;
	int before[FAKE_PAGES], r;
	struct gmem_range range = GMEM_INIT(struct gmem_range);

	for (at = 0; at < FAKE_PAGES; at++) {
		before[at] = kernel_state(FAKE_GPA + at * PAGE);
		known[at] = before[at] != 1;
	}
	if (how & 2)
		fake_fail(in_place ? CALL_CONVERT : CALL_ATTRIBUTES, how >> 2 & 7, how >> 5 & 3, 12);
	if (what & 8)
		fake_fail(CALL_PUNCH, how >> 2 & 3, 1, 12);
	opts.flags = what & 16 ? GMEM_NO_UNDO : 0;
	refuse_in = what & 32 ? what >> 6 : 1 << 20;
	r = gmem ? gmem_convert(gmem, start, size, attributes, &opts, &result) :
		   gmem_convert_gpa(vm, start, size, attributes, &opts, &result);
	fake.nr_answers = 0;
	refused = refuse_in < 0;
	must(r || (!result.left_size && !result.contents_lost && !result.undo_error));

	for (at = 0; at < FAKE_PAGES; at++) {
		int now = kernel_state(FAKE_GPA + at * PAGE);

		if (now < 0)
			continue;
		must(!gmem_lookup_gpa(vm, FAKE_GPA + at * PAGE, &range));
		must((range.attributes == GMEM_PRIVATE) == now);
		/* Where it has refused it may not know what is shared; otherwise it knows. */
		must(known[at] == !now || (refused && !known[at]));
		here = gmem ? range.offset : range.gpa;
		if ((gmem && range.gmem != gmem) || here < start || here - start >= size)
			must(now == before[at]);
		else if (!r)
			must(now == (attributes == GMEM_PRIVATE));
		else if (!result.left_size || here < result.left ||
			 here - result.left >= result.left_size)
			must(now == before[at]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	struct gmem_bind_opts bind = GMEM_INIT(struct gmem_bind_opts);
	size_t i;

	if (size < 2)
		return 0;
	fake_start();
	fake.knows_convert_of_vm = data[1] & 1;
	opts.vm_type = 1;
	opts.mechanism = 1 + data[0] % 3;
	must(!gmem_vm_init(fake.vm_fd, &opts, &vm));
	for (i = 0; i < NR_MEMORIES; i++)
		must(!gmem_create(vm, MEMORY_PAGES * PAGE, NULL, &memories[i]));
	picture_init(&pictures[0], vm, GMEM_LISTENER_REPLAY, false);
	picture_init(&pictures[1], vm, GMEM_LISTENER_REPLAY | GMEM_LISTENER_GAPS, true);
	must(!gmem_add_listener(vm, &pictures[0].listener));
	must(!gmem_add_listener(vm, &listener));
	must(!gmem_add_listener(vm, &pictures[1].listener));
	/* Start with halves of memories side by side, or most ranges would have gaps. */
	for (i = 0; i < 2 * NR_MEMORIES; i++)
		must(!gmem_bind(memories[i % NR_MEMORIES], 1 + i, FAKE_GPA + i * HALF,
				i < NR_MEMORIES ? HALF : 0, HALF, NULL));

	for (i = 2; i + 5 <= size; i += 5) {
		const uint8_t *op = data + i;
		uint64_t gpa = FAKE_GPA + op[1] % FAKE_PAGES * PAGE;
		uint64_t length = op[2] % MEMORY_PAGES * PAGE;

		/* Nothing outside the pages for which the fake has attributes. */
		if (gpa + length > FAKE_GPA + FAKE_PAGES * PAGE)
			length = FAKE_GPA + FAKE_PAGES * PAGE - gpa;
		switch (op[0] % 8) {
		case 0:
		case 1:
			bind.flags = op[0] & 8 ? GMEM_NO_SLOT : 0;
			gmem_bind(memories[op[3] % NR_MEMORIES], 1 + op[4] % 15, gpa,
				  op[4] % MEMORY_PAGES * PAGE, length, &bind);
			break;
		case 2:
			gmem_exclude(vm, gpa, length, NULL);
			break;
		case 3:
			gmem_unbind(vm, gpa, NULL);
			break;
		default:
			convert(op[1], op[2], op[3], op[4]);
			break;
		}
		must(!*picture_check_but(&pictures[0], 0));
		must(!*picture_check_but(&pictures[1], 0));
	}

	for (i = 0; i < NR_MEMORIES; i++)
		gmem_destroy(memories[i]);
	must(!*picture_check_but(&pictures[0], 0));
	must(!*picture_check_but(&pictures[1], 0));
	gmem_vm_exit(vm);
	fake_stop();
	return 0;
}
