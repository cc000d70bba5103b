// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* Promises of gmem check: which requests are refused, at which page, and what is left as it was. */
#include <errno.h>
#include <string.h>

#include "check.h"

static void pinned_page_is_refused_at_its_offset(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int pipefd[2];

	memset(mem, 'q', SIZE);
	pin_in_pipe(mem + 3 * PAGE, pipefd);
	EXPECT(convert(gmem, 0, 8 * PAGE, GMEM_PRIVATE, GMEM_NONE, &result), -EAGAIN);
	EXPECT(result.where, 3 * PAGE);
	EXPECT(result.step, GMEM_STEP_CONVERT);
	EXPECT(result.left_size, 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(host_read(mem + 2 * PAGE), 'q');
	guest_agree(&vm, 4, 1);
	EXPECT(guest_read(&vm, 4), 'q');

	EXPECT(convert(gmem, 4 * PAGE, 4 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	unpin_pipe(pipefd);
	EXPECT(convert(gmem, 0, 8 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
}

static int let_go(void *arg, uint64_t where, unsigned int attempts)
{
	EXPECT(where, VM_DATA + 3 * PAGE);
	if (attempts == 2)
		unpin_pipe(arg);
	return 0;
}

static void holder_that_lets_go_is_waited_for(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	int pipefd[2];

	pin_in_pipe(mem + 3 * PAGE, pipefd);
	opts.timeout_ms = 20000;
	opts.busy = let_go;
	opts.arg = pipefd;
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE, GMEM_PRIVATE, &opts, &result), 0);
	EXPECT(result.attempts, 2);
}

static void pin_does_not_stop_going_to_shared(void)
{
	int pipefd[2];

	EXPECT(convert(gmem, 8 * PAGE, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), 0);
	pin_in_pipe(mem + 3 * PAGE, pipefd);
	EXPECT(convert(gmem, 0, SIZE, GMEM_SHARED, GMEM_ZERO, NULL), 0);
	unpin_pipe(pipefd);
}

static void request_spans_slots(void)
{
	struct gmem_convert_opts opts = GMEM_CONVERT_OPTS;
	struct gmem *second;
	uint8_t *other;

	/* Two slots of the first memory, turned around, and one of another. */
	gmem_destroy(gmem);
	gmem = vm_memory(&vm, SIZE, GMEM_SHARED, 0, GMEM_NO_GPA, &mem);
	second = vm_memory(&vm, SIZE, GMEM_SHARED, VM_DATA_SLOT, VM_DATA + 8 * PAGE, &other);
	EXPECT(gmem_bind(gmem, 2, VM_DATA, 4 * PAGE, 4 * PAGE, NULL), 0);
	EXPECT(gmem_bind(gmem, 3, VM_DATA + 4 * PAGE, 0, 4 * PAGE, NULL), 0);
	EXPECT(gmem_bind(gmem, 4, VM_DATA + 64 * PAGE, 4 * PAGE, PAGE, NULL), -EEXIST);

	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA + 2 * PAGE, 8 * PAGE, GMEM_PRIVATE, NULL, NULL), 0);
	expect_attributes(0, 4 * PAGE, GMEM_PRIVATE);
	expect_attributes(4 * PAGE, 2 * PAGE, GMEM_SHARED);
	expect_attributes(6 * PAGE, 2 * PAGE, GMEM_PRIVATE);
	guest_write(&vm, 6, 'x');
	guest_agree(&vm, 0, 16);
	opts.to_shared = GMEM_ZERO;
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, 16 * PAGE, GMEM_SHARED, &opts, NULL), 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(host_read(mem + 2 * PAGE), 0);
	guest_write(&vm, 6, 'y');
	EXPECT(host_read(mem + 2 * PAGE), 'y');
	guest_write(&vm, 9, 'z');
	EXPECT(host_read(other + PAGE), 'z');

	gmem_destroy(second);
}

static void failure_in_the_second_slot_changes_nothing(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);
	struct gmem *second;
	int pipefd[2];
	uint8_t *other;

	second = vm_memory(&vm, SIZE, GMEM_SHARED, 2, VM_DATA + SIZE, &other);
	memset(mem, 'f', SIZE);
	pin_in_pipe(other + PAGE, pipefd);
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, 2 * SIZE, GMEM_PRIVATE, NULL, &result), -EAGAIN);
	EXPECT(result.where, VM_DATA + SIZE + PAGE);
	EXPECT(result.left_size, 0);
	expect_attributes(0, SIZE, GMEM_SHARED);
	if (probe->is_atomic || offers(GMEM_SHARED, GMEM_PRESERVE))
		EXPECT(host_read(mem), 'f');
	memset(mem, 'F', SIZE);
	guest_agree(&vm, 0, 1);
	EXPECT(guest_read(&vm, 0), 'F');
	unpin_pipe(pipefd);
	gmem_destroy(second);
}

static void hole_is_refused_where_it_is(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE + PAGE, GMEM_PRIVATE, NULL, &result), -ENXIO);
	EXPECT(result.where, VM_DATA + SIZE);
	EXPECT(result.step, GMEM_STEP_CHECK);
	expect_attributes(0, SIZE, GMEM_SHARED);
}

static void device_memory_is_refused_where_it_is(void)
{
	struct gmem_result result = GMEM_INIT(struct gmem_result);

	EXPECT(gmem_exclude(vm.gmem, VM_DATA + SIZE, PAGE, NULL), 0);
	EXPECT(gmem_convert_gpa(vm.gmem, VM_DATA, SIZE + PAGE, GMEM_PRIVATE, NULL, &result), -EPERM);
	EXPECT(result.where, VM_DATA + SIZE);
	expect_attributes(0, SIZE, GMEM_SHARED);
	EXPECT(gmem_unbind(vm.gmem, VM_DATA + SIZE, NULL), 0);
}

static void wrong_requests_are_refused(void)
{
	EXPECT(convert(gmem, 1, PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, PAGE - 1, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, 0, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, SIZE + PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, -PAGE, 2 * PAGE, GMEM_PRIVATE, GMEM_NONE, NULL), -EINVAL);
	EXPECT(convert(gmem, 0, PAGE, 1, GMEM_NONE, NULL), -EINVAL);
	expect_attributes(0, SIZE, GMEM_SHARED);
}

static const struct promise promises[] = {
	PROMISE("pin", pinned_page_is_refused_at_its_offset, IN_PLACE, 0, N),
	PROMISE("pin", holder_that_lets_go_is_waited_for, IN_PLACE, 0, N),
	PROMISE("pin", pin_does_not_stop_going_to_shared, IN_PLACE, Z, N),
	PROMISE("range", request_spans_slots, ANY, Z, N),
	PROMISE("range", failure_in_the_second_slot_changes_nothing, IN_PLACE, 0, N),
	PROMISE("range", hole_is_refused_where_it_is, ANY, 0, N),
	PROMISE("range", device_memory_is_refused_where_it_is, ANY, 0, N),
	PROMISE("range", wrong_requests_are_refused, ANY, 0, N),
};

const struct promises check_range = { promises, sizeof(promises) / sizeof(promises[0]) };
