// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/*
 * libFuzzer on how requests are split: the input binds, excludes, converts and makes
 * calls of the kernel fail.  After each conversion the library's states are the
 * kernel's; one that succeeds has changed exactly the pages that it should, and one
 * that fails has changed none unless it says so.
 */
#include <stdlib.h>
#include <string.h>

#include "fake_kvm.h"
#include "gmem.h"

#define NR_MEMORIES	3
#define MEMORY_PAGES	16

static struct gmem_vm *vm;
static struct gmem *memories[NR_MEMORIES];

static void must(bool condition)
{
	if (!condition)
		abort();
}

/* 0 shared, 1 private, -1 nothing is bound there. */
static int kernel_state(uint64_t gpa)
{
	struct gmem_range range;

	if (gmem_lookup_gpa(vm, gpa, &range))
		return -1;
	if (gmem_vm_probe(vm)->mechanism == GMEM_TWO_BACKINGS)
		return fake.vm_private[(gpa - FAKE_GPA) / PAGE];
	return fake_file(gmem_private_fd(range.gmem))->is_private[range.offset / PAGE];
}

static void convert(uint8_t first, uint8_t nr, uint8_t how)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	uint64_t gpa = FAKE_GPA + first % FAKE_PAGES * PAGE, size = nr % FAKE_PAGES * PAGE, at;
	uint64_t attributes = how & 1 ? GMEM_PRIVATE : GMEM_SHARED;
	int before[FAKE_PAGES], r;
	struct gmem_range range;

	for (at = 0; at < FAKE_PAGES; at++)
		before[at] = kernel_state(FAKE_GPA + at * PAGE);
	if (how & 2)
		fake_fail(how & 1 ? CALL_CONVERT : CALL_ATTRIBUTES, how >> 2 & 7, how >> 5 & 3, 12);
	r = gmem_convert_gpa(vm, gpa, size, attributes, NULL, &result);
	fake.nr_answers = 0;

	for (at = 0; at < FAKE_PAGES; at++) {
		uint64_t here = FAKE_GPA + at * PAGE;
		int now = kernel_state(here);

		if (now < 0)
			continue;
		must(!gmem_lookup_gpa(vm, here, &range));
		must((range.attributes == GMEM_PRIVATE) == now);
		if (here < gpa || here >= gpa + size)
			must(now == before[at]);
		else if (!r)
			must(now == (attributes == GMEM_PRIVATE));
		else if (!result.left_size || here < result.left ||
			 here >= result.left + result.left_size)
			must(now == before[at]);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
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

	for (i = 2; i + 5 <= size; i += 5) {
		const uint8_t *op = data + i;
		uint64_t gpa = FAKE_GPA + op[1] % FAKE_PAGES * PAGE;
		uint64_t length = op[2] % MEMORY_PAGES * PAGE;

		/* Nothing outside of what the fake has attributes for. */
		if (gpa + length > FAKE_GPA + FAKE_PAGES * PAGE)
			length = FAKE_GPA + FAKE_PAGES * PAGE - gpa;
		switch (op[0] % 8) {
		case 0:
		case 1:
			gmem_bind(memories[op[3] % NR_MEMORIES], 1 + op[4] % 15, gpa,
				  op[4] % MEMORY_PAGES * PAGE, length);
			break;
		case 2:
			gmem_exclude(vm, gpa, length);
			break;
		case 3:
			gmem_unbind(vm, gpa);
			break;
		default:
			convert(op[1], op[2], op[3]);
			break;
		}
	}

	for (i = 0; i < NR_MEMORIES; i++)
		gmem_destroy(memories[i]);
	gmem_vm_exit(vm);
	fake_stop();
	return 0;
}
