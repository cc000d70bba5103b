// SPDX-License-Identifier: LGPL-2.1-or-later OR MIT
/* How gmem parses the event of a conversion, in lines as trace_pipe has them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "../cli/conversion.c"

#define FIELDS	"vm=4711 ino=12 start=0x4000 size=0x8000 attributes=0x8 policy=2 changed=0x1000 result=-11 " \
		"error_offset=0x5000 error_ino=13 refs=1025 maps=3 pins=1 took_ns=104200 locked_ns=9800"

/* What comes out of the kernel; after the last line a time limit. */
static const char *const *lines;

enum tracefs_result tracefs_read(char *line, size_t size, uint64_t deadline_ns)
{
	(void)deadline_ns;
	if (!*lines)
		return TRACEFS_TIMEOUT;
	snprintf(line, size, "%s", *lines++);
	return TRACEFS_LINE;
}

const char *tracefs_open(const char *event, const char *filter, int process)
{
	(void)event;
	(void)process;
	return filter;
}

void tracefs_close(void)
{
}

double tracefs_seconds(void)
{
	return 0;
}

static void all_fields_are_read(void **state)
{
	struct conversion c;

	(void)state;
	assert_true(conversion_parse("            qemu-4713    [001] ...1.  1234.000009: kvm_gmem_convert: " FIELDS, &c));
	assert_int_equal(c.time_us, 1234000009);
	assert_int_equal(c.thread, 4713);
	assert_string_equal(c.thread_name, "qemu");
	assert_int_equal(c.vm, 4711);
	assert_int_equal(c.ino, 12);
	assert_int_equal(c.start, 0x4000);
	assert_int_equal(c.size, 0x8000);
	assert_int_equal(c.attributes, 8);
	assert_int_equal(c.policy, 2);
	assert_int_equal(c.changed, 0x1000);
	assert_int_equal(c.result, -EAGAIN);
	assert_int_equal(c.error_offset, 0x5000);
	assert_int_equal(c.error_ino, 13);
	assert_int_equal(c.refs, 1025);
	assert_int_equal(c.maps, 3);
	assert_int_equal(c.pins, 1);
	assert_int_equal(c.took_ns, 104200);
	assert_int_equal(c.locked_ns, 9800);
	assert_string_equal(conversion_error(&c), "EAGAIN");
	assert_true(conversion_is_held(&c));
	assert_string_equal(conversion_holders(&c), "references 1025, maps 3, pins 1: looks like a pin");
}

static void names_may_have_anything(void **state)
{
	static const char *const names[] = { "CPU 0/KVM", "a-b [7] 8: ", "vm=1 ino=2", "<...>", "[" };
	struct conversion c;
	char line[512];
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(line, sizeof(line), "%16s-17      [012] d..2. 88.123456: kvm_gmem_convert: " FIELDS, names[i]);
		assert_true(conversion_parse(line, &c));
		assert_string_equal(c.thread_name, names[i]);
		assert_int_equal(c.thread, 17);
		assert_int_equal(c.time_us, 88123456);
		assert_int_equal(c.vm, 4711);
	}
}

static void fields_of_other_kernels_are_no_obstacle(void **state)
{
	struct conversion c;

	(void)state;
	assert_true(conversion_parse("x-1 [000] ..... 1.000000: kvm_gmem_convert: new=7 result=0 vm=5 vmx=6", &c));
	assert_int_equal(c.vm, 5);
	assert_int_equal(c.result, 0);
	assert_int_equal(c.took_ns, 0);
	assert_false(conversion_is_held(&c));
}

static void other_lines_are_passed_over(void **state)
{
	static const char *const some[] = {
		"", "# tracer: nop", "x-1 [000] ..... 1.000000: sched_switch: prev=1",
		": kvm_gmem_convert: vm=1", "x [0] kvm: kvm_gmem_convert: vm=1", "CPU:1 [LOST 17 EVENTS]",
		"CPU:1 [LOST EVENTS]", "x-1 [000] ..... 1.000000: kvm_gmem_convert: " FIELDS, NULL,
	};
	struct conversion c;
	uint64_t lost = 1;

	(void)state;
	lines = some;
	assert_int_equal(conversions_read(&c, &lost, 0), CONVERSIONS_LOST);
	assert_int_equal(lost, 17);
	assert_int_equal(conversions_read(&c, &lost, 0), CONVERSIONS_LOST);
	assert_int_equal(lost, 0);
	assert_int_equal(conversions_read(&c, &lost, 0), CONVERSION);
	assert_int_equal(c.vm, 4711);
	assert_int_equal(conversions_read(&c, &lost, 0), CONVERSIONS_TIMEOUT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(all_fields_are_read),
		cmocka_unit_test(names_may_have_anything),
		cmocka_unit_test(fields_of_other_kernels_are_no_obstacle),
		cmocka_unit_test(other_lines_are_passed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
