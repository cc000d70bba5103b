// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
#include "unit_vm.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

struct gmem_vm *vm;
struct gmem *a, *b;
struct gmem_listener listeners[2];
int known[2][FAKE_PAGES];
struct picture pictures[2];
/* At which guest page which listener refuses, in each direction. */
static int refuser, refuse_private, refuse_shared;
unsigned int slow_ms;

static int told(struct gmem_listener *listener, const struct gmem_range *range, int refuse_at,
		const char *names, int change)
{
	uint64_t page = (range->gpa - FAKE_GPA) / PAGE, end = page + range->size / PAGE;
	int i = listener - listeners;

	if (i == refuser && (int)page == refuse_at)
		return -EBUSY;
	fake_note(names[i]);
	fake.now_ms += slow_ms;
	if (range->gpa == GMEM_NO_GPA)
		return 0;
	for (; page < end; page++)
		known[i][page] += change;
	return 0;
}

int before_private(struct gmem_listener *listener, const struct gmem_range *range)
{
	return told(listener, range, refuse_private, "PQ", -1);
}

int after_shared(struct gmem_listener *listener, const struct gmem_range *range)
{
	return told(listener, range, refuse_shared, "ST", 1);
}

void refuse(int who, int private_at, int shared_at)
{
	refuser = who;
	refuse_private = private_at;
	refuse_shared = shared_at;
}

void start(enum gmem_mechanism mechanism)
{
	struct gmem_vm_opts opts = GMEM_INIT(struct gmem_vm_opts);
	int i;

	opts.vm_type = SW_PROTECTED_VM;
	opts.mechanism = mechanism;
	assert_int_equal(gmem_vm_init(fake.vm_fd, &opts, &vm), 0);
	assert_int_equal(gmem_create(vm, 2 * SLOT_SIZE, NULL, &a), 0);
	assert_int_equal(gmem_create(vm, SLOT_SIZE, NULL, &b), 0);
	assert_int_equal(gmem_bind(b, 1, FAKE_GPA, 0, SLOT_SIZE, NULL), 0);
	assert_int_equal(gmem_bind(a, 2, FAKE_GPA + SLOT_SIZE, SLOT_SIZE, SLOT_SIZE, NULL), 0);
	assert_int_equal(gmem_bind(a, 3, FAKE_GPA + 2 * SLOT_SIZE, 0, SLOT_SIZE, NULL), 0);
	picture_init(&pictures[0], vm, GMEM_LISTENER_REPLAY, false);
	picture_init(&pictures[1], vm, GMEM_LISTENER_REPLAY | GMEM_LISTENER_GAPS, true);
	assert_int_equal(gmem_add_listener(vm, &pictures[0].listener), 0);
	for (i = 0; i < 2; i++) {
		listeners[i] = GMEM_INIT(struct gmem_listener);
		listeners[i].before_private = before_private;
		listeners[i].after_shared = after_shared;
		assert_int_equal(gmem_add_listener(vm, &listeners[i]), 0);
	}
	assert_int_equal(gmem_add_listener(vm, &pictures[1].listener), 0);
	for (i = 0; i < 2; i++)
		pictures[i].told[0] = '\0';
	for (i = 0; i < FAKE_PAGES; i++)
		known[0][i] = known[1][i] = 1;
	refuse(0, -1, -1);
	slow_ms = 0;
	memset(fake.trace, 0, sizeof(fake.trace));
}

void stop(void)
{
	gmem_destroy(a);
	gmem_destroy(b);
	gmem_vm_exit(vm);
	assert_string_equal(pictures[0].wrong, "");
	assert_string_equal(pictures[1].wrong, "");
}

void renew(void)
{
	stop();
	fake_stop();
	fake_start();
}

void convert_pages(unsigned int page, unsigned int nr, uint64_t attributes)
{
	assert_int_equal(gmem_convert_gpa(vm, FAKE_GPA + page * PAGE, nr * PAGE, attributes,
					  NULL, NULL), 0);
}

int convert_all(uint64_t attributes, struct gmem_result *result)
{
	return gmem_convert_gpa(vm, FAKE_GPA, ALL, attributes, NULL, result);
}

void fail_conversion(int error)
{
	bool two = gmem_vm_probe(vm)->mechanism == GMEM_TWO_BACKINGS;

	fake_fail(two ? CALL_ATTRIBUTES : CALL_CONVERT, 0, 1, error);
}

void mix(void)
{
	convert_pages(2, 2, GMEM_PRIVATE);
	convert_pages(8, 1, GMEM_PRIVATE);
	convert_pages(23, 1, GMEM_PRIVATE);
}

bool kernel_private(uint64_t gpa)
{
	uint64_t page = (gpa - FAKE_GPA) / PAGE;

	if (gmem_vm_probe(vm)->mechanism == GMEM_TWO_BACKINGS)
		return fake.vm_private[page];
	if (page < 8)
		return fake_file(gmem_private_fd(b))->is_private[page];
	return fake_file(gmem_private_fd(a))->is_private[page < 16 ? page : page - 16];
}

void expect_in_step_but(int who, uint64_t page, uint64_t nr)
{
	struct gmem_range range = GMEM_INIT(struct gmem_range);
	uint64_t at;
	int i;

	expect_picture(&pictures[0]);
	expect_picture(&pictures[1]);
	for (at = 0; at < ALL / PAGE; at++) {
		assert_int_equal(gmem_lookup_gpa(vm, FAKE_GPA + at * PAGE, &range), 0);
		assert_int_equal(range.attributes == GMEM_PRIVATE,
				 kernel_private(FAKE_GPA + at * PAGE));
		for (i = 0; i < 2; i++)
			assert_int_equal(known[i][at], range.attributes == GMEM_SHARED &&
					 !(i == who && at >= page && at - page < nr));
	}
}

void expect_in_step(void)
{
	expect_in_step_but(-1, 0, 0);
}

void trace_is(const char *expected)
{
	assert_string_equal(fake.trace, expected);
	memset(fake.trace, 0, sizeof(fake.trace));
}

unsigned int open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int nr = 0;

	while (readdir(dir))
		nr++;
	closedir(dir);
	return nr;
}

int setup(void **state)
{
	(void)state;
	fake_start();
	return 0;
}

int teardown(void **state)
{
	(void)state;
	fake_stop();
	return 0;
}
